"""Starts the engine worker, listens to it, ends it: the parent's side of `worker.py`.

Every worker has a session of its own, so that Ctrl-C in a terminal reaches only the parent, which decides. What
the worker prints and logs goes to `build.log` in its folder. Several may run at once, each in its own thread; the
thread that calls must stay until the worker is gone (the worker dies with it). Knows nothing of specs and stores.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from trtpipe.errors import Interrupted, Problem, StepFailed, ToolchainError, TrtpipeError
from trtpipe.toolchains.worker import ADDR_NO_RANDOMIZE, TUNABLES

WORKER = Path(__file__).with_name("worker.py")
_RUN = "import sys; sys.path.append(sys.argv.pop(2)); from {name} import main; main()"
"""Imported, the worker is read from kept bytecode where the interpreter has it; a script is compiled every time."""
GRACE_SECONDS = 5.0
_POLL_SECONDS = 0.05
_ASK = 0xFFFFFFFF  # personality(2): tell, change nothing
_LINE_BYTES = 4 << 20  # the longest event: the result of a network with thousands of inputs
_QUEUED_EVENTS = 256
_TAIL_BYTES = 4000
_PASSED_ON = ("PATH", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "SYSTEMROOT")

OnEvent = Callable[[Mapping[str, Any]], None]


def run_worker(
    python: Sequence[str],
    request: Mapping[str, Any],
    folder: Path,
    *,
    on_event: OnEvent,
    cancelled: threading.Event,
    killed: threading.Event,
) -> Mapping[str, Any]:
    """Carry out one request in `folder`, which holds the model, and return the worker's `result` event.

    `python` is the interpreter's command line; `request` is described in `worker.py`. On `cancelled` the worker
    is asked to stop and has five seconds; on `killed` it has none. Raises StepFailed when TensorRT refuses or
    dies, ToolchainError when it cannot start, Interrupted.
    """
    (folder / "request.json").write_text(json.dumps({**request, "parent": _parent_of(python)}))
    with (folder / "build.log").open("ab", buffering=0) as log:
        child = _start(python, folder, log)
        hearing = _Hearing(folder / "build.log", log, on_event)
        minding = _Minding(child, cancelled, killed, request.get("time_limit"))
        try:
            for event in _events(child, minding):
                hearing.hear(event)
            code = minding.wait()
        finally:
            _kill(child)
    return hearing.outcome(code, minding.ended_because)


def scrubbed_environment(source: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The few variables that a build may see; NVIDIA_TF32_OVERRIDE, for one, changes engines."""
    return {name: source[name] for name in _PASSED_ON if name in source} | {"LANG": "C.UTF-8"}


def _parent_of(python: Sequence[str]) -> int | None:
    """Our process id, when the worker is our direct child (a wrapper, say of a container, hides us)."""
    return os.getpid() if len(python) == 1 else None


def _start(python: Sequence[str], folder: Path, log: IO[bytes]) -> subprocess.Popen[bytes]:
    flags, worker_folder = 0, str(WORKER.parent)
    if sys.platform == "win32":
        flags = subprocess.CREATE_NEW_PROCESS_GROUP
    try:
        with _fixed_addresses() as environment:
            return subprocess.Popen(
                [
                    *python,
                    "-I",
                    "-S",
                    "-B",
                    "-c",
                    _RUN.format(name=WORKER.stem),
                    "request.json",
                    worker_folder,
                ],
                cwd=folder,
                env=scrubbed_environment() | environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
                creationflags=flags,
            )
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ToolchainError(
            f"cannot start the interpreter '{python[0]}': {reason}", "install the toolchain again"
        ) from error


@contextlib.contextmanager
def _fixed_addresses() -> Iterator[dict[str, str]]:
    """What is started meanwhile runs without address randomisation, as the worker would otherwise start twice for.

    Linux keeps the personality by thread, and a child inherits its thread's; nothing else in this process changes.
    Gives the variables that belong to it; where the system refuses, the worker says so.
    """
    personality = ctypes.CDLL(None).personality if sys.platform.startswith("linux") else None
    before = personality(_ASK) if personality else -1
    if personality is None:
        yield {}
        return
    switched_off = before != -1 and personality(before | ADDR_NO_RANDOMIZE) != -1
    try:
        yield {"GLIBC_TUNABLES": TUNABLES}
    finally:
        if switched_off:
            personality(before)


def _events(child: subprocess.Popen[bytes], minding: _Minding) -> Iterator[dict[str, Any]]:
    """The worker's events as they come; ends with the worker."""
    lines: queue.Queue[bytes | None] = queue.Queue(_QUEUED_EVENTS)
    reader = threading.Thread(target=_read_lines, args=(child, lines), name="worker-events", daemon=True)
    reader.start()
    while True:
        minding.check()
        try:
            line = lines.get(timeout=_POLL_SECONDS)
        except queue.Empty:
            continue
        if line is None:
            return
        with contextlib.suppress(ValueError):  # the last line of a worker that died while writing
            event = json.loads(line)
            if isinstance(event, dict) and "event" in event:
                yield event


def _read_lines(child: subprocess.Popen[bytes], lines: queue.Queue[bytes | None]) -> None:
    assert child.stdout is not None
    with child.stdout as stream:
        while line := stream.readline(_LINE_BYTES):
            lines.put(line)
    lines.put(None)


@dataclass
class _Minding:
    """Ends a worker that should stop: politely first, then at once."""

    child: subprocess.Popen[bytes]
    cancelled: threading.Event
    killed: threading.Event
    time_limit: float | None
    ended_because: str = ""
    _kill_at: float | None = None
    _began: float = field(default_factory=time.monotonic)

    def check(self) -> None:
        """To be called often."""
        now = time.monotonic()
        if self.killed.is_set():
            self._end("killed")
        elif self.cancelled.is_set() and self._kill_at is None:
            self.ended_because = "cancelled"
            self._kill_at = now + GRACE_SECONDS
            _interrupt(self.child)
        elif self._kill_at is not None and now > self._kill_at:
            self._end("cancelled")
        elif self.time_limit and now - self._began > self.time_limit + GRACE_SECONDS:
            self._end("timeout")

    def wait(self) -> int:
        """The exit code, once the worker has closed its output."""
        while self.child.poll() is None:
            self.check()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.child.wait(timeout=_POLL_SECONDS)
        return self.child.returncode

    def _end(self, reason: str) -> None:
        self.ended_because = self.ended_because or reason
        _kill(self.child)


def _interrupt(child: subprocess.Popen[bytes]) -> None:
    if sys.platform == "win32":
        child.terminate()
    else:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGINT)


def _kill(child: subprocess.Popen[bytes]) -> None:
    """The worker and whatever it started; nothing when it has ended."""
    if child.poll() is not None:
        return
    if sys.platform == "win32":
        child.kill()
    else:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
    child.wait()


class _Hearing:
    """What the worker has said so far, and what it comes to."""

    def __init__(self, path: Path, log: IO[bytes], on_event: OnEvent) -> None:
        self._path, self._log, self._on_event = path, log, on_event
        self._phase = "starting"
        self._error: Mapping[str, Any] | None = None
        self._result: Mapping[str, Any] | None = None

    def hear(self, event: dict[str, Any]) -> None:
        kind = event["event"]
        if kind == "log":
            self._log.write(f"[{event['severity']}] {event['message']}\n".encode(errors="replace"))
        elif kind == "phase":
            self._phase = event["name"]
        elif kind == "error":
            self._error = event
        elif kind == "result":
            self._result = event
        self._on_event(event)

    def outcome(self, code: int, ended_because: str) -> Mapping[str, Any]:
        """The result. Raises what stood in its way."""
        if self._result is not None and self._result.get("ok"):
            return self._result
        if ended_because in ("cancelled", "killed"):
            raise Interrupted("interrupted")
        if self._error is not None:
            raise self._reported(self._error)
        if ended_because == "timeout":
            raise StepFailed(
                f"TensorRT took longer than the time limit while {self._phase}", log=self._tail()
            )
        raise self._crash(code)

    def _reported(self, error: Mapping[str, Any]) -> TrtpipeError:
        kind, details = error["kind"], error["details"]
        if kind == "cancelled":
            return Interrupted("interrupted")
        problems = [Problem(error["message"], error["remedy"])]
        if kind == "parse" and details:
            problems = [Problem(_parser_fact(detail)) for detail in details]
        elif kind == "profile" and details:
            problems = [Problem(str(detail)) for detail in details]
        if kind == "environment":
            return ToolchainError(problems)
        return StepFailed(problems, log=self._tail())

    def _crash(self, code: int) -> StepFailed:
        number = -code if code < 0 else code - 128  # a wrapper adds 128
        if number in {item.value for item in signal.Signals}:
            name = signal.Signals(number).name
            remedy = "it may have run out of memory" if name == "SIGKILL" else ""
            return StepFailed(f"TensorRT died of {name} while {self._phase}", remedy, log=self._tail())
        return StepFailed(f"the engine worker ended with code {code} while {self._phase}", log=self._tail())

    def _tail(self) -> str:
        """The end of build.log."""
        with self._path.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - _TAIL_BYTES))
            return file.read().decode(errors="replace")


def _parser_fact(detail: Mapping[str, Any]) -> str:
    """One refusal of the parser: which node, which operator, why."""
    if detail["node"] is None and not detail["name"]:
        return str(detail["reason"])
    inside = f" in {', '.join(detail['functions'])}" if detail["functions"] else ""
    name = f"'{detail['name']}'" if detail["name"] else f"number {detail['node']}"
    return f"node {name} ({detail['op']}){inside}: {detail['reason']}"
