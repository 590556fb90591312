"""The phases of an engine worker as spans of time, for `build --profile`: its own, and TensorRT's.

A phase is timed when its message arrives. TensorRT's phases are all told only while something is recorded.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from trtpipe.plan.worker_messages import WorkerMessage, WorkerPhase, WorkerResult, WorkerStart
from trtpipe.timings import Span, current_recording

_EVERY_PHASE = "TRTPIPE_EVERY_PHASE"
"""The worker looks for it by this name."""


def phases_wanted() -> Mapping[str, str]:
    """The variables of a worker all of whose phases are to be told."""
    return {_EVERY_PHASE: "1"} if current_recording() is not None else {}


@dataclass(slots=True)
class PhaseSpans:
    """Follows one worker; `process` is its id."""

    process: int
    action: str
    _own: tuple[str, float] = field(default_factory=lambda: ("start the process", time.monotonic()))
    """The worker's own phase, and when it began."""
    _open: dict[str, float] = field(default_factory=dict)
    """TensorRT's phases that have not ended."""

    def hear(self, message: WorkerMessage) -> None:
        """A message of the worker has arrived."""
        match message:
            case WorkerStart():
                self._begin("read the request")
            case WorkerPhase(name, None, _, _, "start") if not self._open and name.islower():
                self._begin(name)
            case WorkerPhase(name, state="start"):
                self._open[name] = time.monotonic()
            case WorkerPhase(name, state="finish") if name in self._open:
                self._add(name, "tensorrt", self._open.pop(name))
            case WorkerResult():
                self._begin("end the process")
            case _:
                pass

    def end(self) -> None:
        """The worker has ended."""
        self._begin("")
        recording = current_recording()
        if recording is not None:
            recording.processes[self.process] = f"TensorRT worker: {self.action}"

    def _begin(self, name: str) -> None:
        before, began = self._own
        self._add(before, "worker", began)
        self._own = (name, time.monotonic())

    def _add(self, name: str, kind: str, began: float) -> None:
        recording = current_recording()
        if recording is not None:
            lane = "worker" if kind == "worker" else "TensorRT"
            recording.add(Span(name, kind, began, time.monotonic() - began, self.process, lane))
