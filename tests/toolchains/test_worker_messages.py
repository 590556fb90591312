"""Lines that no worker of this version writes are refused, and named; `tests/text` has all that it does write."""

from __future__ import annotations

import pytest

from trtpipe.json_values import Malformed
from trtpipe.plan.child_reports import Download, SampleCount
from trtpipe.toolchains.engine_worker.messages import message_from


@pytest.mark.parametrize(
    ("record", "told"),
    [
        ({"event": "sing"}, "the worker has no event 'sing'"),
        ({"name": "build"}, "event is missing"),
        ({"event": "log", "severity": 3, "message": "no"}, "severity is not a text"),
        ({"event": "memory", "rss": True, "peak": None}, "rss is not an integer"),
        ({"event": "result", "ok": "yes"}, "ok is neither true nor false"),
    ],
)
def test_what_is_no_message_is_refused(record, told):
    with pytest.raises(Malformed, match=told):
        message_from(record)


@pytest.mark.parametrize("state", ["begin", "progress", "retry", "end"])
def test_the_report_of_a_download_comes_back_as_it_was(state):
    report = Download(state, "https://a.b/net.onnx", 1, None, "it broke off" if state == "retry" else "")

    assert Download.from_json(report.to_json()) == report


def test_the_count_of_samples_comes_back_as_it_was():
    assert SampleCount.from_json(SampleCount(1, 2, 0).to_json()) == SampleCount(1, 2, 0)


def test_a_download_in_an_unknown_state_is_refused():
    with pytest.raises(Malformed, match="the state of a download"):
        Download.from_json({"state": "paused", "file": "x", "bytes": 0, "total": None})
