"""The certificates of two fleets that have nothing to do with each other; made once, for they are only read."""

from __future__ import annotations

from pathlib import Path

import pytest

from trtpipe.fleet.keygen import keygen


@pytest.fixture(scope="session")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates") / "fleet"
    keygen(folder)
    return folder


@pytest.fixture(scope="session")
def other_fleet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates") / "other"
    keygen(folder)
    return folder
