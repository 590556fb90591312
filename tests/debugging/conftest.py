"""A project whose engine TensorRT refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.debugging.failing_models import dilated_pooling, make_project


@pytest.fixture(scope="module")
def refused(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a pooling that the parser refuses; tests write beside it, not into it."""
    return make_project(tmp_path_factory.mktemp("refused") / "project", dilated_pooling())
