"""A server of its own for each test, a project beside it, and none of the machine's proxies and credentials."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fetch.remote_project import Project
from tests.fetch.servers import Server, running

_FOREIGN = ("AWS_", "GOOGLE_", "HF_", "HUGGING", "TRTPIPE_")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if importlib.util.find_spec("tensorrt_rtx") is None:
        for item in items:
            if item.get_closest_marker("engine") and Path(__file__).parent in item.path.parents:
                item.add_marker(pytest.mark.skip(reason="not run: needs a tensorrt_rtx wheel"))


@pytest.fixture(autouse=True)
def only_here(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(_FOREIGN) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


@pytest.fixture
def server() -> Iterator[Server]:
    with running() as state:
        yield state


@pytest.fixture
def project(tmp_path: Path) -> Project:
    (tmp_path / "project").mkdir()
    return Project(tmp_path / "project")
