"""The process that stage processes are forked from: `python -m trtpipe.processes.stage_server DESCRIPTOR`.

Importing what stages need takes long, and a build has several stages for each variant, so this
process imports it once. It runs no stage itself and has no threads and no model, so a fork of it is as isolated as a
new process. Linux only; elsewhere each stage starts an interpreter.

The descriptor is a socket of packets, one JSON object each. In: `{"id", "folder"}` runs the task of a folder, `{"kill":
id}` ends it and its child processes. Out: `{"id", "pid"}`, or `{"id", "failed": true}` when forking failed, and `{"id",
"code"}` when it ended, with the exit code as `subprocess` defines it. When the other end of the socket is closed, all
processes end.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
import traceback
import warnings
from typing import Any, NoReturn

from trtpipe.deferred_imports import defer_imports
from trtpipe.processes.child import NO_RESULT

PACKET = 1 << 16
"""Bytes of the largest packet."""
_IMPORTED = (
    "numpy", "onnx", "onnx_ir", "trtpipe.processes.child", "trtpipe.stages.bodies", "trtpipe.networks.parsed_model",
    "trtpipe.precisions.casts.files", "trtpipe.spec.pipeline",
)  # fmt: skip
"""Without onnxruntime: importing it starts a thread, which would not exist in a fork."""

_IMPORTED_WHEN_IDLE = (
    "trtpipe.frontends.onnx", "trtpipe.legalization.legalize", "trtpipe.precisions.fp32", "numpy.random",
    "trtpipe.runners.validation.validate", "trtpipe.runners.comparison.readback_run", "trtpipe.precisions.fp16",
)  # fmt: skip
"""What most builds need too, one after the other while nothing is asked for: the first stage need not wait for it."""

_COLLECTED_EACH = (100_000, 50, 50)
"""As the command's own process: see `trtpipe.__main__`."""


def main(descriptor: int) -> NoReturn:
    """Serve until the other end of the socket is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides when a step stops
    gc.set_threshold(*_COLLECTED_EACH)
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")  # as the command's own process
    defer_imports()
    for name in _IMPORTED:
        importlib.import_module(name)
    gc.freeze()  # a collection writes to the objects that it visits, which would copy their pages in each fork
    with socket.socket(fileno=descriptor) as requests:
        _Server(requests).serve()
    sys.exit(0)


class _Server:
    """Forks stage processes and waits for their end."""

    def __init__(self, requests: socket.socket) -> None:
        self._requests = requests
        self._children: dict[int, int] = {}
        # select() does not return when a child ends. Python writes each signal's number into this pipe, which
        # wakes it up; SIGCHLD needs a handler for that, even one that does nothing.
        self._awake, wake = os.pipe()
        os.set_blocking(self._awake, False)
        os.set_blocking(wake, False)
        signal.set_wakeup_fd(wake)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def serve(self) -> None:
        """Serve until the other end is closed, then end every process that was started here."""
        idle = list(_IMPORTED_WHEN_IDLE)
        while True:
            ready, _, _ = select.select([self._requests.fileno(), self._awake], [], [], 0 if idle else None)
            if not ready:
                importlib.import_module(idle.pop(0))
                gc.freeze()
                continue
            if self._awake in ready:
                with contextlib.suppress(BlockingIOError):
                    os.read(self._awake, PACKET)
                self._reap()
            if self._requests.fileno() in ready:
                packet = self._requests.recv(PACKET)
                if not packet:
                    break
                self._answer(json.loads(packet))
        for pid in self._children:
            _end(pid)

    def _answer(self, request: dict[str, Any]) -> None:
        if "kill" in request:
            for pid in [pid for pid, one in self._children.items() if one == request["kill"]]:
                _end(pid)
            return
        number = request["id"]
        try:
            pid = self._fork(request["folder"])
        except OSError:
            self._tell({"id": number, "failed": True})
            return
        self._children[pid] = number
        self._tell({"id": number, "pid": pid})

    def _fork(self, folder: str) -> int:
        server = os.getpid()
        with warnings.catch_warnings():
            # Python warns about threads, but they are OpenBLAS's, which stops them before a fork and restarts them.
            warnings.simplefilter("ignore", DeprecationWarning)
            pid = os.fork()
        if pid == 0:
            self._become(folder, server)
        return pid

    def _become(self, folder: str, server: int) -> NoReturn:
        """Turn this fork into the process of one stage."""
        code = NO_RESULT  # until the log is open; opening it fails on a full disk
        try:
            # The pipe is the server's: a fork must not write its own signals into it.
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.setsid()
            os.chdir(folder)
            log = os.open("child.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
            os.dup2(log, 1)
            os.dup2(log, 2)
            self._requests.close()
            os.environ["TRTPIPE_PARENT"] = str(server)
            code = 1
            from trtpipe.processes.child import main as run

            code = run(".")
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
        except BaseException:
            traceback.print_exc()
        finally:
            with contextlib.suppress(OSError, ValueError):
                sys.stdout.flush()
                sys.stderr.flush()
            # Not sys.exit: a fork must not run the clean-up that the server registered for its own exit.
            os._exit(code)

    def _reap(self) -> None:
        while self._children:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            number = self._children.pop(pid, None)
            if number is not None:
                self._tell({"id": number, "code": os.waitstatus_to_exitcode(status)})

    def _tell(self, answer: dict[str, Any]) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._requests.send(json.dumps(answer).encode())


def _end(pid: int) -> None:
    """End a stage's process and its child processes; it may not have its own process group yet."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


if __name__ == "__main__":
    main(int(sys.argv[1]))
