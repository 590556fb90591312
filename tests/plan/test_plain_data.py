"""What crosses a process or a disk as JSON comes back the same, and damage is refused."""

from __future__ import annotations

import pytest

from trtpipe.digests import digest_bytes
from trtpipe.json_values import Malformed
from trtpipe.plan.child_reports import Download, SampleCount
from trtpipe.plan.trace import Trace


@pytest.mark.parametrize(
    "one",
    [
        Download("begin", "net.onnx", 0, None, ""),
        Download("progress", "net.onnx", 3, 10, ""),
        Download("retry", "net.onnx", 3, 10, "it broke off"),
        SampleCount(3, 10, 1),
    ],
    ids=str,
)
def test_a_childs_report_comes_back(one):
    assert type(one).from_json(one.to_json()) == one


def test_a_download_in_an_unknown_state_is_refused():
    record = Download("begin", "net.onnx", 0, None, "").to_json()

    with pytest.raises(Malformed, match="the state of a download is an unknown one"):
        Download.from_json({**record, "state": "dreaming"})


TRACE = Trace("k", "net:import", {"stage": "import"}, {"m.onnx": digest_bytes(b"m")}, {"n": 1}, 1.5)


def test_a_trace_comes_back():
    assert Trace.from_json(TRACE.to_json()) == TRACE
    assert (TRACE.stage, Trace("k", "", {}, {}).stage) == ("import", "")


@pytest.mark.parametrize("damage", [{"schema": 2}, {"outputs": {"m.onnx": "x"}}], ids=str)
def test_a_damaged_trace_is_refused(damage):
    with pytest.raises(ValueError, match=r"."):
        Trace.from_json({**TRACE.to_json(), **damage})
