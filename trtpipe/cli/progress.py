"""The progress of a build: a live view on a terminal, plain lines elsewhere, JSON lines on request.

Each kind is an Observer: it receives events from several threads and writes them one at a time.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from typing import TYPE_CHECKING, Protocol

from trtpipe.cli.output import note, printable, say_json
from trtpipe.plan.child_reports import Download
from trtpipe.plan.events import (
    CalibrationProgress,
    ComparisonProgress,
    Event,
    FetchProgress,
    ProgressEvent,
    ReductionProgress,
    SearchProgress,
    StepBlocked,
    StepEvent,
    StepFailure,
    StepFinished,
    StepPlaced,
    StepStarted,
    StepWaiting,
    ToolchainProgress,
    WorkerProgress,
)
from trtpipe.text.events import event_json, event_lines, phase_words
from trtpipe.unions import assert_never

if TYPE_CHECKING:
    from rich.console import RenderableType


class Progress(Protocol):
    """An Observer with a beginning and an end."""

    def emit(self, event: Event) -> None:
        """Handle one event."""

    def __enter__(self) -> Progress: ...

    def __exit__(self, *exc: object) -> None: ...


def open_progress(*, as_json: bool, total: int, began: float) -> Progress:
    """The observer for this kind of output; `began` is the command's start on the monotonic clock."""
    if as_json:
        return JsonProgress(began)
    if sys.stderr.isatty():
        return LiveProgress(total)
    return PlainProgress()


class PlainProgress:
    """Lines on stderr, as events arrive."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def __enter__(self) -> PlainProgress:
        return self

    def __exit__(self, *exc: object) -> None:
        return None

    def emit(self, event: Event) -> None:
        """Write a line for the event."""
        with self._lock:
            for line in event_lines(event):
                note(line)


class JsonProgress:
    """One JSON object a line on stdout: every event, with the seconds since the start."""

    def __init__(self, began: float) -> None:
        self._lock = threading.Lock()
        self._began = began

    def __enter__(self) -> JsonProgress:
        return self

    def __exit__(self, *exc: object) -> None:
        return None

    def emit(self, event: Event) -> None:
        """Write the event."""
        record = {**event_json(event), "at": round(time.monotonic() - self._began, 3)}
        with self._lock:
            say_json(record, indent=None)


class LiveProgress:
    """Running steps, redrawn in place by rich; finished ones scroll above them."""

    def __init__(self, total: int) -> None:
        from rich.console import Console
        from rich.live import Live

        self._lock = threading.Lock()
        self._running: dict[str, tuple[float, str]] = {}
        self._lanes: dict[str, str] = {}
        """Steps on other machines → the machine."""
        self._ended = 0
        self._total = total
        self._console = Console(stderr=True, highlight=False)
        self._live = Live(
            console=self._console, get_renderable=self._draw, refresh_per_second=8, transient=True
        )

    def __enter__(self) -> LiveProgress:
        self._live.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        self._live.__exit__(None, None, None)

    def emit(self, event: Event) -> None:
        """Record the change; the view redraws itself."""
        with self._lock:
            self._follow(event)
        if not isinstance(event, (StepStarted, StepPlaced)):
            for line in event_lines(event):
                with contextlib.suppress(OSError):  # a closed stderr must not stop the build
                    self._console.print(printable(line), markup=False, soft_wrap=True)

    def _follow(self, event: Event) -> None:
        """Events about the whole build are only printed as lines."""
        if isinstance(event, StepEvent):
            self._follow_step(event)
        elif isinstance(event, ProgressEvent):
            self._follow_progress(event)

    def _follow_step(self, event: StepEvent) -> None:
        match event:
            case StepStarted(address):
                self._running[str(address)] = (time.monotonic(), "")
            case StepFinished(address) | StepFailure(address) | StepBlocked(address):
                self._running.pop(str(address), None)
                self._lanes.pop(str(address), None)
                self._ended += 1
            case StepPlaced(address, lane):
                self._lanes[str(address)] = lane
            case StepWaiting():
                pass
            case _:
                assert_never(event)

    def _follow_progress(self, event: ProgressEvent) -> None:
        """A search or download may be no step of a plan; then it begins with its first event."""
        match event:
            case FetchProgress(address, Download(state="end")):
                self._running.pop(str(address), None)
            case FetchProgress(address) | SearchProgress(address):
                self._show(str(address), event, begin=True)
            case ReductionProgress(cell) | ComparisonProgress(cell):
                self._show(cell, event, begin=True)
            case CalibrationProgress(address) | WorkerProgress(address) | ToolchainProgress(address):
                self._show(str(address), event)
            case _:
                assert_never(event)

    def _show(self, name: str, event: ProgressEvent, *, begin: bool = False) -> None:
        words = phase_words(event)
        if words and (begin or name in self._running):
            began = self._running[name][0] if name in self._running else time.monotonic()
            self._running[name] = (began, words)

    def _draw(self) -> RenderableType:
        from rich.spinner import Spinner
        from rich.table import Table

        with self._lock:
            rows = list(self._running.items())
            lanes, ended = dict(self._lanes), self._ended
        view = Table.grid(padding=(0, 1))
        now = time.monotonic()
        shown = ""
        for address, (began, phase) in sorted(rows, key=lambda row: lanes.get(row[0], "")):
            lane = lanes.get(address, "")
            if lane != shown:
                view.add_row("", lane, "", "")
                shown = lane
            view.add_row(Spinner("dots"), f"  {address}" if lane else address, f"{now - began:5.1f} s", phase)
        if self._total:
            view.add_row("", f"{ended} of {self._total} steps", "", "")
        return view


class LazyProgress:
    """Progress for work that is usually nothing: shows nothing before the first event, then the appropriate view."""

    def __init__(self, *, as_json: bool = False) -> None:
        self._as_json = as_json
        self._began = time.monotonic()
        self._open = contextlib.ExitStack()
        self._lock = threading.Lock()
        self._progress: Progress | None = None

    def __enter__(self) -> LazyProgress:
        return self

    def __exit__(self, *exc: object) -> None:
        self._open.close()

    def emit(self, event: Event) -> None:
        """Pass an event on."""
        with self._lock:
            if self._progress is None:
                self._progress = self._open.enter_context(
                    open_progress(as_json=self._as_json, total=0, began=self._began)
                )
        self._progress.emit(event)
