"""What tests of running engines share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.runners.engine_bench import STAND_IN, Bench


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """Engines without a GPU."""
    return Bench(tmp_path, [str(STAND_IN / "engines"), str(STAND_IN / "no_gpu")])
