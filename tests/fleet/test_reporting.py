"""Reports of an agent: sent together, in their order, and none after the answer."""

from __future__ import annotations

import time
from typing import Any

import pytest

from trtpipe.agent import reporting
from trtpipe.agent.reporting import Reporting


class Messages:
    """What was sent to the topic `client`."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []

    def __call__(self, topic: str, message: dict[str, Any]) -> None:
        assert topic == "client"
        self.sent.append(message)

    def wait_for(self, count: int) -> None:
        ends = time.monotonic() + 20
        while len(self.sent) < count:
            assert time.monotonic() < ends, self.sent
            time.sleep(0.01)


@pytest.fixture
def messages() -> Messages:
    return Messages()


def reports(*names: str) -> list[dict[str, Any]]:
    return [{"kind": name} for name in names]


def test_reports_that_come_together_are_one_message(messages: Messages, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(reporting, "_SECONDS", 0.05)
    asked = Reporting("r", "client", messages)
    for name in ("a", "b", "c"):
        asked.add({"kind": name})
    messages.wait_for(1)
    asked.add({"kind": "d"})
    messages.wait_for(2)

    assert messages.sent[0] == {"id": "r", "reports": reports("a", "b", "c")}
    assert messages.sent[1] == {"id": "r", "reports": reports("d")}


def test_what_is_left_goes_with_the_answer_and_nothing_after_it(
    messages: Messages, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(reporting, "_SECONDS", 0.05)
    asked = Reporting("r", "client", messages)
    asked.add({"kind": "a"})
    asked.answer("done")
    time.sleep(0.15)

    assert messages.sent == [{"id": "r", "reports": reports("a"), "answer": "done"}]


def test_nothing_is_sent_where_nobody_listens(messages: Messages):
    asked = Reporting("r", "", messages)
    asked.add({"kind": "a"})
    asked.answer("done")

    assert not messages.sent
