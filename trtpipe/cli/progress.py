"""What a build shows while it runs: a live view on a terminal, plain lines elsewhere, JSON lines on demand.

Each is an Observer: it hears events from several threads and writes them one at a time.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from trtpipe.cli.output import note, printable, say_json
from trtpipe.shapes import format_size

if TYPE_CHECKING:
    from rich.console import RenderableType

Event = Mapping[str, Any]


class Progress(Protocol):
    """An Observer with a beginning and an end."""

    def emit(self, event: Event) -> None:
        """Hear one event."""

    def __enter__(self) -> Progress: ...

    def __exit__(self, *exc: object) -> None: ...


def open_progress(*, as_json: bool, total: int, began: float) -> Progress:
    """The observer that fits where the output goes; `began` is when the command did, by the monotonic clock."""
    if as_json:
        return JsonProgress(began)
    if sys.stderr.isatty():
        return LiveProgress(total)
    return PlainProgress()


def _lines_of(event: Event) -> list[str]:
    """What an event says in plain lines; most say nothing."""
    address = event.get("address", "")
    match event["event"]:
        case "start":
            return [f"start    {address}{_because(event)}"]
        case "done" if event["ran"]:
            return [f"done     {address} in {event['seconds']:.1f} s"]
        case "failed":
            return [f"FAILED   {address}"]
        case "waiting":
            return [f"wait     {address}: the same work is under way already"]
        case "delivered":
            word = "built   " if event["built"] else "restored"
            return [f"{word} {event['cell']} ({event['about']})"]
        case "graded":
            return [f"checked  {event['name']}: {event['grade'] or 'not run'}"]
        case "warning" | "fetch" | "calibrate" | "evaluated":
            return _told(event)
    return []


def _told(event: Event) -> list[str]:
    """What is said of a step while it runs: a warning, a download that begins or is tried again, a search's phase, a
    calibration that goes on from where an interrupted one was."""
    match event["event"], event.get("state"):
        case "warning", _:
            return [f"warning: {event['text']}"]
        case "fetch", "begin":
            return [f"fetch    {event['file']}{_amount(event)}"]
        case "fetch", "retry":
            return [f"retry    {event['file']}: {event['text']}"]
        case "evaluated", _ if event["begins"]:
            return [f"{event.get('what', 'search'):8} {event['address']}: {event['phase']}"]
        case "calibrate", _ if event["resumed"] and event["done"] == event["resumed"]:
            return [f"resume   {event['address']}: {event['done']} of {event['total']} samples are done"]
    return []


def _amount(event: Event) -> str:
    """How much of a file is there: ` (3 MiB of 45 MiB)`."""
    done, total = event["bytes"], event["total"]
    shown = " of ".join(format_size(size) for size in (done, total) if size)
    return f" ({shown})" if shown else ""


def _samples(event: Event) -> str:
    return f"{event['done']} of {event['total']} samples"


def _because(event: Event) -> str:
    reason = event.get("reason") or {}
    changed = [change["field"] for change in reason.get("changes", ())]
    if changed:
        return ": changed " + ", ".join(changed[:3]) + (" …" if len(changed) > 3 else "")
    return ""


class PlainProgress:
    """Lines on stderr, as they come."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def __enter__(self) -> PlainProgress:
        return self

    def __exit__(self, *exc: object) -> None:
        return None

    def emit(self, event: Event) -> None:
        """Write what the event says."""
        with self._lock:
            for line in _lines_of(event):
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
        record = {**event, "at": round(time.monotonic() - self._began, 3)}
        with self._lock:
            say_json(record, indent=None)


class LiveProgress:
    """What runs now, redrawn in place by rich; what ended scrolls above it."""

    def __init__(self, total: int) -> None:
        from rich.console import Console
        from rich.live import Live

        self._lock = threading.Lock()
        self._running: dict[str, tuple[float, str]] = {}
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
        """Note what changed; the view redraws itself."""
        with self._lock:
            self._follow(event)
        if event["event"] != "start":
            for line in _lines_of(event):
                with contextlib.suppress(OSError):  # nobody has to listen
                    self._console.print(printable(line), markup=False, soft_wrap=True)

    def _follow(self, event: Event) -> None:
        address = event.get("address", "")
        match event["event"]:
            case "start":
                self._running[address] = (time.monotonic(), "")
            case "worker_phase" if address in self._running:
                self._running[address] = (self._running[address][0], event["name"])
            case "calibrate" if address in self._running:
                self._running[address] = (self._running[address][0], _samples(event))
            case "evaluated":
                began = self._running[address][0] if address in self._running else time.monotonic()
                self._running[address] = (began, f"{event['phase']}, {event['asked']} evaluations")
            case "fetch" if event["state"] == "end":
                self._running.pop(address, None)
            case "fetch":
                began = self._running[address][0] if address in self._running else time.monotonic()
                self._running[address] = (began, event["file"].rsplit("/", 1)[-1] + _amount(event))
            case "done" | "failed" | "blocked":
                self._running.pop(address, None)
                self._ended += 1

    def _draw(self) -> RenderableType:
        from rich.spinner import Spinner
        from rich.table import Table

        with self._lock:
            rows = list(self._running.items())
            ended = self._ended
        view = Table.grid(padding=(0, 1))
        now = time.monotonic()
        for address, (began, phase) in rows:
            view.add_row(Spinner("dots"), address, f"{now - began:5.1f} s", phase)
        if self._total:
            view.add_row("", f"{ended} of {self._total} steps", "", "")
        return view


class LazyProgress:
    """What is shown of work that is mostly none: nothing at all before the first event, and then what fits."""

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
