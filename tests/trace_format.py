"""Holds a profile against Chrome's trace format, as far as trtpipe writes it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

_NEEDED = {
    "X": {"name", "cat", "ph", "ts", "dur", "pid", "tid"},
    "b": {"name", "cat", "ph", "ts", "id", "pid", "tid"},
    "e": {"name", "cat", "ph", "ts", "id", "pid", "tid"},
    "M": {"name", "ph", "pid", "tid", "args"},
}


def refuse_misfits(profile: Mapping[str, Any]) -> None:
    """Raises AssertionError unless every event is one of the format, and every span that begins ends."""
    assert profile["displayTimeUnit"] in ("ms", "ns")
    open_ends: Counter[tuple[str, int]] = Counter()
    for event in profile["traceEvents"]:
        assert event.keys() == _NEEDED[event["ph"]], event
        assert isinstance(event["pid"], int)
        assert isinstance(event["tid"], int)
        if event["ph"] == "M":
            assert event["name"] in ("process_name", "thread_name")
            assert isinstance(event["args"]["name"], str)
            continue
        assert event["ts"] >= 0, event
        assert event.get("dur", 0) >= 0, event
        open_ends[event["cat"], event.get("id", -1)] += {"b": 1, "e": -1, "X": 0}[event["ph"]]
    assert not any(open_ends.values())
