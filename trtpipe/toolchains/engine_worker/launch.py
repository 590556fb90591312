"""Starts the engine worker, reads its events and ends it: the parent's side of `worker.py`.

Every worker has a session of its own, so that Ctrl-C in a terminal reaches only the parent, which decides what to do.
The worker's output and log go to `build.log` in its folder. Several may run at once, each in its own thread; the
calling thread must stay alive until the worker has ended (the worker dies with it). Independent of specs and stores.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

from trtpipe.errors import Interrupted, Problem, StepFailed, ToolchainError, TrtpipeError
from trtpipe.json_values import as_object
from trtpipe.launcher.children import Program, Streams, kill, start
from trtpipe.launcher.environment import environment_of
from trtpipe.plan.worker_messages import (
    WorkerEngine,
    WorkerError,
    WorkerLog,
    WorkerMemory,
    WorkerMessage,
    WorkerNetwork,
    WorkerPhase,
    WorkerResult,
    WorkerStart,
)
from trtpipe.problem_codes import Code
from trtpipe.targets.toolchain import Flavour
from trtpipe.toolchains.engine_worker.driver_echo import without_echo
from trtpipe.toolchains.engine_worker.failure_codes import code_of_failure
from trtpipe.toolchains.engine_worker.messages import message_from
from trtpipe.toolchains.engine_worker.phase_spans import PhaseSpans, phases_wanted
from trtpipe.toolchains.engine_worker.refusals import builder_fact, parser_fact, shown_log
from trtpipe.toolchains.engine_worker.request import MODEL, Asked, WorkerRequest
from trtpipe.toolchains.engine_worker.waiting_workers import WAITING_WORKERS, Wanted
from trtpipe.toolchains.engine_worker.watch import Minding, Supervision, signal_of, tail
from trtpipe.toolchains.engine_worker.worker import ADDR_NO_RANDOMIZE, TUNABLES
from trtpipe.unions import assert_never

WORKER = Path(__file__).with_name("worker.py")
_ASK = 0xFFFFFFFF  # personality(2): tell, change nothing

OnEvent = Callable[[WorkerMessage], None]


def run_worker(
    python: Sequence[str],
    request: WorkerRequest,
    folder: Path,
    supervision: Supervision[WorkerMessage],
) -> WorkerResult:
    """Carry out one request in `folder`, which holds the model, and return the worker's result.

    `python` is the interpreter's command line. When cancelled the worker is asked to stop and has five seconds; when
    killed it has none. Raises StepFailed when TensorRT refuses or dies, ToolchainError when it cannot start,
    Interrupted.
    """
    (folder / "request.json").write_text(json.dumps(request.to_json()))
    with (folder / "build.log").open("ab", buffering=0) as log:
        visible = {**phases_wanted(), **supervision.environment}
        wanted = Wanted.of(python, request.flavour, request.action, request.site, visible)
        child = WAITING_WORKERS.take(wanted, folder) or _start(python, folder, log, visible)
        spans = PhaseSpans(child.pid, request.action)
        needs_driver = request.flavour != "tensorrt_rtx"
        hearing = _Hearing(folder / "build.log", log, supervision.on_event)
        control = supervision.control
        minding = Minding(child, control.cancelled, control.killed, request.builder.time_limit)
        try:
            for event in minding.events():
                message = message_from(event)
                spans.hear(message)
                heard = message if needs_driver else without_echo(message)
                if heard is not None:
                    hearing.hear(heard)
                if hearing.done:
                    break
            code = 0 if hearing.done else minding.wait()
        finally:
            _end(child, waits=not hearing.done)
            spans.end()
    return hearing.outcome(code, minding.ended_because)


def _end(child: subprocess.Popen[bytes], *, waits: bool) -> None:
    """End a worker. One that has said its result is not waited for: it takes a while to give its memory back."""
    if waits:
        kill(child)
    else:
        threading.Thread(target=kill, args=(child,), name="end of a worker", daemon=True).start()


def expect_worker(python: Sequence[str], flavour: Flavour, action: Asked, site: Sequence[str]) -> None:
    """Start a worker for a request that will come soon; it imports TensorRT meanwhile.

    The calling thread must stay alive until the worker has ended.
    """
    WAITING_WORKERS.expect(Wanted.of(python, flavour, action, site, phases_wanted()), _start_waiting)


def _start_waiting(wanted: Wanted) -> subprocess.Popen[bytes]:
    command = Program(WORKER.parent, "waiting").command(wanted.python, "-")
    with _fixed_addresses() as environment:
        streams = Streams(stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        visible = {**environment_of("engine"), **environment, **dict(wanted.environment)}
        return start(command, visible, WORKER.parent, streams)


def _start(
    python: Sequence[str], folder: Path, log: IO[bytes], visible: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    command = Program(WORKER.parent, WORKER.stem).command(python, "request.json")
    try:
        with _fixed_addresses() as environment:
            streams = Streams(stdout=subprocess.PIPE, stderr=log)
            return start(command, {**environment_of("engine"), **environment, **visible}, folder, streams)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ToolchainError(
            Code.INTERPRETER,
            f"cannot start the interpreter '{python[0]}': {reason}",
            "install the toolchain again",
        ) from error


@contextlib.contextmanager
def _fixed_addresses() -> Iterator[dict[str, str]]:
    """Processes started in this context run without address randomisation, so that the worker need not restart itself.

    On Linux the personality belongs to a thread, and a child inherits it; other threads are not affected. Yields the
    environment variables that are needed with it. If the system refuses, the worker reports that.
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


class _Hearing:
    """Collects the worker's messages, and derives the outcome."""

    def __init__(self, path: Path, log: IO[bytes], on_event: OnEvent) -> None:
        self._path, self._log, self._on_event = path, log, on_event
        self._phase = "starting"
        self._error: WorkerError | None = None
        self._result: WorkerResult | None = None

    @property
    def done(self) -> bool:
        """Whether the work is done and all files are written; elsewhere its folder may be in use still."""
        return self._result is not None and self._result.ok and sys.platform == "linux"

    def hear(self, message: WorkerMessage) -> None:
        match message:
            case WorkerLog(severity, text):
                self._log.write(f"[{severity}] {text}\n".encode(errors="replace"))
            case WorkerPhase(name):
                self._phase = name
            case WorkerError():
                self._error = message
            case WorkerResult():
                self._result = message
            case WorkerStart() | WorkerMemory() | WorkerNetwork() | WorkerEngine():
                pass
            case _:
                assert_never(message)
        self._on_event(message)

    def outcome(self, code: int, ended_because: str) -> WorkerResult:
        """The result. Raises the error if there is none."""
        if self._result is not None and self._result.ok:
            return self._result
        if ended_because in ("cancelled", "killed"):
            raise Interrupted(Code.INTERRUPTED, "interrupted")
        if self._error is not None:
            raise self._reported(self._error)
        if ended_because == "timeout":
            raise StepFailed(
                Code.TIMED_OUT,
                f"TensorRT took longer than the time limit while {self._phase}",
                log=tail(self._path),
            )
        raise self._crash(code)

    def _reported(self, error: WorkerError) -> TrtpipeError:
        if error.kind == "cancelled":
            return Interrupted(Code.INTERRUPTED, "interrupted")
        problems = [Problem(code_of_failure(error.kind), error.message, error.remedy)]
        if error.kind == "parse" and error.details:
            problems = [
                Problem(
                    Code.PARSE_FAILED,
                    parser_fact(as_object(detail, "a refusal"), self._path.with_name(MODEL)),
                )
                for detail in error.details
            ]
        elif error.kind == "build" and error.details:
            problems = [Problem(Code.BUILD_FAILED, builder_fact(error.message, self._path.with_name(MODEL)))]
        elif error.kind == "profile" and error.details:
            problems = [Problem(Code.PROFILE_REFUSED, str(detail)) for detail in error.details]
        if error.kind == "environment":
            return ToolchainError(problems)
        return StepFailed(problems, log=shown_log(tail(self._path)))

    def _crash(self, code: int) -> StepFailed:
        name = signal_of(code)
        if name:
            fact = f"TensorRT died of {name} while {self._phase}"
            cause = "it may have run out of memory" if name == "SIGKILL" else ""
            problem = Problem(Code.WORKER_DIED, fact, details=cause)
            return StepFailed(problem, log=tail(self._path))
        return StepFailed(
            Code.WORKER_DIED,
            f"the engine worker ended with code {code} while {self._phase}",
            log=tail(self._path),
        )
