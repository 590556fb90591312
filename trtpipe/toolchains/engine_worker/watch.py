"""Reads the events of a child process, and ends it: first by asking it to stop, then by killing it.

A child has a session of its own, so that Ctrl-C in a terminal reaches only the parent, which decides what to do.
Independent of what the child does.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

from trtpipe.json_values import Json
from trtpipe.launcher.children import interrupt, kill
from trtpipe.plan.control import Control

Event = TypeVar("Event")

GRACE_SECONDS = 5.0
_POLL_SECONDS = 0.05
_LINE_BYTES = 4 << 20  # the most bytes of an event: a result for a network with thousands of inputs
_QUEUED_EVENTS = 256
_TAIL_BYTES = 4000


@dataclass(frozen=True, slots=True)
class Supervision(Generic[Event]):
    """Who hears a running child, how it is stopped, and which GPU it sees."""

    on_event: Callable[[Event], None] = lambda event: None
    control: Control = field(default_factory=Control)
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables of its own, as `detect.only_visible` makes them."""


@dataclass
class Minding:
    """Ends a child that should stop; `ended_because` is `cancelled`, `killed` or `timeout` once it has."""

    child: subprocess.Popen[bytes]
    cancelled: threading.Event
    killed: threading.Event
    time_limit: float | None
    ended_because: str = ""
    _kill_at: float | None = None
    _began: float = field(default_factory=time.monotonic)

    def check(self) -> None:
        """Check whether the child must stop; call this often."""
        now = time.monotonic()
        if self.killed.is_set():
            self._end("killed")
        elif self.cancelled.is_set() and self._kill_at is None:
            self.ended_because = "cancelled"
            self._kill_at = now + GRACE_SECONDS
            interrupt(self.child)
        elif self._kill_at is not None and now > self._kill_at:
            self._end("cancelled")
        elif self.time_limit and now - self._began > self.time_limit + GRACE_SECONDS:
            self._end("timeout")

    def events(self) -> Iterator[dict[str, Json]]:
        """The child's events as they arrive; ends with the child."""
        lines: queue.Queue[bytes | None] = queue.Queue(_QUEUED_EVENTS)
        reader = threading.Thread(
            target=_read_lines, args=(self.child, lines), name="child-events", daemon=True
        )
        reader.start()
        while True:
            self.check()
            try:
                line = lines.get(timeout=_POLL_SECONDS)
            except queue.Empty:
                continue
            if line is None:
                return
            with contextlib.suppress(ValueError):  # the last line of a child that died while writing
                event = json.loads(line)
                if isinstance(event, dict) and "event" in event:
                    yield event

    def wait(self) -> int:
        """The exit code, once the child has closed its output."""
        while self.child.poll() is None:
            self.check()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.child.wait(timeout=_POLL_SECONDS)
        return self.child.returncode

    def _end(self, reason: str) -> None:
        self.ended_because = self.ended_because or reason
        kill(self.child)


def _read_lines(child: subprocess.Popen[bytes], lines: queue.Queue[bytes | None]) -> None:
    assert child.stdout is not None
    with child.stdout as stream:
        while line := stream.readline(_LINE_BYTES):
            lines.put(line)
    lines.put(None)


def signal_of(code: int) -> str:
    """The name of the signal in an exit code, or empty; wrappers report signals as 128 + number."""
    number = -code if code < 0 else code - 128
    return signal.Signals(number).name if number in {item.value for item in signal.Signals} else ""


def tail(path: Path) -> str:
    """The end of a log."""
    with path.open("rb") as file:
        file.seek(0, os.SEEK_END)
        file.seek(max(0, file.tell() - _TAIL_BYTES))
        return file.read().decode(errors="replace")
