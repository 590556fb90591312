"""A server of its own for each test, and none of the machine's proxies and credentials."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from servers import Server, running

_FOREIGN = ("AWS_", "GOOGLE_", "HF_", "HUGGING", "TRTPIPE_")


@pytest.fixture(autouse=True)
def only_here(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    for name in list(os.environ):
        if name.startswith(_FOREIGN) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


@pytest.fixture
def server() -> Iterator[Server]:
    with running() as state:
        yield state
