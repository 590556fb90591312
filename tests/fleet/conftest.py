"""Fixtures of several modules: a fleet, and the certificates of two that have nothing to do with each other.

The certificates are made once, for they are only read.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fleet.fleets import TestFleet
from trtpipe.fleet.keygen import keygen


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[TestFleet]:
    """A scheduler without TLS, and no agents yet."""
    found = TestFleet(tmp_path / "fleet").start()
    yield found
    found.close()


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates") / "fleet"
    keygen(folder)
    return folder


@pytest.fixture(scope="session")
def other_certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates") / "other"
    keygen(folder)
    return folder
