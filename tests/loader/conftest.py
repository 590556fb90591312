"""Every test of the loader may have a project directory of its own, and stands in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.loader.spec_workspace import Workspace


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.chdir(tmp_path)
    return Workspace(tmp_path)
