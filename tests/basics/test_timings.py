"""What a command did when, in Chrome's trace format."""

from __future__ import annotations

import json
import os

import pytest

from tests.trace_format import refuse_misfits
from trtpipe.timings import Span, add_foreign, span, start_recording, stop_recording, waited_since


@pytest.fixture
def recording():
    yield start_recording("a test")
    stop_recording()


def test_spans_nest_and_name_their_process(recording):
    with span("outer", "build"), span("inner", "step"):
        pass

    made = recording.chrome()
    inner, outer = (
        next(one for one in made["traceEvents"] if one["name"] == name) for name in ("inner", "outer")
    )

    refuse_misfits(json.loads(json.dumps(made)))
    assert outer["ts"] <= inner["ts"]
    assert inner["ts"] + inner["dur"] <= outer["ts"] + outer["dur"] + 0.2
    assert {one["args"]["name"] for one in made["traceEvents"] if one["name"] == "process_name"} == {"a test"}


def test_a_span_ends_with_an_error_too(recording):
    with pytest.raises(ValueError, match="wrong"), span("work", "step"):
        raise ValueError("wrong")

    assert [one.name for one in recording.spans] == ["work"]


def test_other_processes_and_waiting_are_told_apart(recording):
    add_foreign([Span("read", "stage", recording.began, 0.5, 7, "MainThread").to_json()], "stage: import")
    waited_since(recording.began, "net:import")
    waited_since(recording.began, "net/fp16:quantize")

    made = recording.chrome()

    refuse_misfits(made)
    assert {one["pid"] for one in made["traceEvents"]} == {7, os.getpid()}
    assert sorted(one["ph"] for one in made["traceEvents"] if one.get("cat") == "wait") == [
        "b",
        "b",
        "e",
        "e",
    ]


def test_nothing_is_recorded_unless_asked_for():
    with span("work", "step"):
        pass
    waited_since(0.0, "net:import")
    add_foreign([], "nothing")

    assert start_recording("now").spans == []
    stop_recording()
