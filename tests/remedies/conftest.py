"""A place for each row."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import warm_commands
from tests.remedies.remedy_places import Place, listen


@pytest.fixture(autouse=True)
def stages() -> Iterator[None]:
    with warm_commands.warm_stages():
        yield


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Place:
    monkeypatch.chdir(tmp_path)
    for name in ("TRTPIPE_STORE", "TRTPIPE_TOOLCHAINS", "TRTPIPE_REMOTE_MODE", "GITHUB_ACTIONS"):
        monkeypatch.delenv(name, raising=False)
    made = Place(tmp_path, monkeypatch, test=request.module.__name__.rpartition(".")[2])
    listen(made)
    return made
