"""Events for the parent process, and the one exception that ends the work. Independent of CUDA and TensorRT."""

from __future__ import annotations

import json
import os
import re
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import ModuleType

    import tensorrt

_WRAPPED = re.compile(r"^(?:\w+::\w+: )?Error Code \d+: [^(]*\((.*)\)$", re.DOTALL)
_SOURCE = re.compile(r" In \S+ at \S+:\d+$|^\[\S+\.(?:cpp|h|cu)\b[^]]*\] ")


class Failure(Exception):
    """An exception that ends the work and becomes an error event."""

    def __init__(self, kind: str, message: str, remedy: str = "", details: list[str] | None = None) -> None:
        super().__init__(message)
        self.kind, self.message, self.remedy, self.details = kind, message, remedy, details or []


class Stop:
    """The reason to stop the work, if any: set by a signal or a limit, checked between runs."""

    reason = ""

    def on_signal(self, *_: object) -> None:
        """Cancel the work, unless it is being stopped already."""
        self.reason = self.reason or "cancelled"

    def check(self) -> None:
        """Raises Failure if there is a reason to stop."""
        if self.reason == "timeout":
            raise Failure("timeout", "the time limit was reached", "raise the time limit")
        if self.reason:
            raise Failure("cancelled", "cancelled")


class Events:
    """Writes events, whole lines only, whichever thread sends them."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._lock = threading.Lock()
        self.phase = "starting"

    def send(self, event: str, **fields: object) -> None:
        """Write an event."""
        view = memoryview(json.dumps({"event": event, **fields}).encode() + b"\n")
        with self._lock:
            try:
                while view:
                    view = view[os.write(self._fd, view) :]
            except OSError:
                os._exit(4)  # the reader has closed the pipe

    def begin(self, name: str) -> None:
        """Announce a phase of the work, so that a crash can be attributed to it."""
        self.phase = name
        self.send("phase", name=name)

    def fail(self, failure: Failure) -> None:
        """Send the error event for what ended the work."""
        fields = {"message": failure.message, "remedy": failure.remedy, "details": failure.details}
        self.send("error", kind=failure.kind, **fields)


class Spoken:
    """Messages of TensorRT's logger. Its errors are the reasons for failures that TensorRT's calls do not give."""

    def __init__(self) -> None:
        self._errors: list[str] = []

    def hear(self, severity: str, message: str) -> None:
        """Handle one message of the logger."""
        if severity in ("ERROR", "INTERNAL_ERROR"):
            self._errors.append(plain_message(message))

    def take_errors(self) -> list[str]:
        """The errors since the last call, each once."""
        errors, self._errors = list(dict.fromkeys(self._errors)), []
        return errors

    def because(self) -> str:
        """`: ` and the first error since the last call, or nothing."""
        errors = self.take_errors()
        return f": {errors[0]}" if errors else ""


def plain_message(message: str) -> str:
    """TensorRT's sentence without its wrapping and without NVIDIA's source lines."""
    text = _SOURCE.sub("", message.strip())
    wrapped = _WRAPPED.match(text)
    return _SOURCE.sub("", wrapped[1] if wrapped else text).strip()


def new_logger(trt: ModuleType, events: Events, spoken: Spoken) -> tensorrt.ILogger:
    """The process's one logger (TensorRT sends the messages of a second one to the first)."""
    base: Any = trt.ILogger
    verbose = trt.ILogger.VERBOSE

    class Logger(base):  # type: ignore[misc]
        def log(self, severity: tensorrt.ILogger.Severity, message: str) -> None:
            if severity != verbose:
                spoken.hear(severity.name, message)
                events.send("log", severity=severity.name, message=message)

    return Logger()
