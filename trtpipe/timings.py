"""What a command did when: spans of time by process and thread, for `build --profile`.

A command records only if it was told to; `span` costs next to nothing otherwise. Every child process of a stage records
its own spans and hands them over with its result. Clocks agree, because the monotonic clock is that of the machine.
Times are seconds.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

_MOST_SPANS = 100_000
_MICROS = 1e6
WAIT = "wait"
"""The kind of spans in which nothing is done."""


@dataclass(frozen=True, slots=True)
class Span:
    """Work from `began` on, in a thread of a process."""

    name: str
    kind: str
    """What it is a part of: `build`, `step`, `stage`, `worker`, `tensorrt`, `store`, `wait` or `report`."""
    began: float
    seconds: float
    process: int
    lane: str
    """The thread's name."""

    def to_json(self) -> list[Any]:
        """As plain data, to hand to another process."""
        return [self.name, self.kind, self.began, self.seconds, self.process, self.lane]

    @classmethod
    def from_json(cls, data: Sequence[Any]) -> Span:
        """The span read back. Raises TypeError or ValueError when it is none."""
        name, kind, began, seconds, process, lane = data
        return cls(str(name), str(kind), float(began), float(seconds), int(process), str(lane))


@dataclass(slots=True)
class Recording:
    """Spans as they end; several threads may add some."""

    began: float = field(default_factory=time.monotonic)
    spans: list[Span] = field(default_factory=list)
    left_out: int = 0
    """How many were not kept, because there are too many."""
    processes: dict[int, str] = field(default_factory=dict)
    """Process id → what runs in it."""
    remarks: list[str] = field(default_factory=list)
    """What the spans do not show."""

    def add(self, span: Span) -> None:
        """Add a span that has ended."""
        if len(self.spans) < _MOST_SPANS:
            self.spans.append(span)
        else:
            self.left_out += 1

    def chrome(self) -> dict[str, Any]:
        """The spans in Chrome's trace format, times in microseconds since the recording began."""
        left_out = [f"{self.left_out} spans are left out"] if self.left_out else []
        lanes: dict[tuple[int, str], int] = {}
        events: list[dict[str, Any]] = []
        for span in sorted(self.spans, key=lambda one: (one.began, -one.seconds)):
            thread = lanes.setdefault((span.process, span.lane), len(lanes) + 1)
            begin, length = round((span.began - self.began) * _MICROS, 1), round(span.seconds * _MICROS, 1)
            place = {"name": span.name, "cat": span.kind, "pid": span.process, "tid": thread}
            if span.kind == WAIT:  # several wait at a time, which complete events of one thread cannot say
                ends = {**place, "id": len(events)}
                events += [
                    {**ends, "ph": "b", "ts": begin},
                    {**ends, "ph": "e", "ts": round(begin + length, 1)},
                ]
            else:
                events.append({**place, "ph": "X", "ts": begin, "dur": length})
        named = [
            {"name": "process_name", "ph": "M", "pid": process, "tid": 0, "args": {"name": name}}
            for process, name in sorted(self.processes.items())
        ]
        threads = [
            {"name": "thread_name", "ph": "M", "pid": process, "tid": thread, "args": {"name": lane}}
            for (process, lane), thread in lanes.items()
        ]
        return {
            "traceEvents": [*named, *threads, *events],
            "displayTimeUnit": "ms",
            "otherData": {"remarks": [*self.remarks, *left_out]},
        }


_recording: Recording | None = None


def start_recording(name: str) -> Recording:
    """Record from now on; `name` says what this process does."""
    global _recording  # noqa: PLW0603 - one for the process: spans are everywhere
    _recording = Recording()
    _recording.processes[os.getpid()] = name
    return _recording


def stop_recording() -> None:
    """Record no longer."""
    global _recording  # noqa: PLW0603
    _recording = None


def current_recording() -> Recording | None:
    """What is recorded at the moment; None when nothing is."""
    return _recording


@contextlib.contextmanager
def span(name: str, kind: str) -> Iterator[None]:
    """Record what is done in this context, if anything is recorded."""
    recording = _recording
    if recording is None:
        yield
        return
    began = time.monotonic()
    try:
        yield
    finally:
        lane = threading.current_thread().name
        recording.add(Span(name, kind, began, time.monotonic() - began, os.getpid(), lane))


def waited_since(began: float, name: str) -> None:
    """Record that something had to wait until now."""
    if _recording is not None:
        _recording.add(Span(name, WAIT, began, time.monotonic() - began, os.getpid(), "waiting"))


def add_foreign(spans: Sequence[Sequence[Any]], name: str) -> None:
    """Add what another process recorded; `name` says what it did."""
    recording = _recording
    if recording is None:
        return
    for data in spans:
        one = Span.from_json(data)
        recording.processes[one.process] = name
        recording.add(one)
