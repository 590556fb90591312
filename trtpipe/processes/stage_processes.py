"""Starts the processes of stages: forks of one server where possible, else a new interpreter for each.

A server belongs to this process and its environment, and ends with it. If the server died or cannot be started, the
stage runs in an interpreter of its own instead.
"""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Protocol

from trtpipe.launcher.children import Streams, interpreter_command, kill, start
from trtpipe.processes.stage_server import PACKET

_STARTING_SECONDS = 120.0
_SERVED = frozenset({"import", "transform", "calibrate", "quantize", "parse", "validate", "readback", "fit"})
"""Stages that need what the server imports."""


class StageProcess(Protocol):
    """A stage's process, as seen by the code that monitors it."""

    def poll(self, seconds: float = 0.0) -> int | None:
        """Its exit code, or None if it still runs after this time; the negative signal number if a signal ended it."""

    def end(self) -> None:
        """End it and its child processes, if it still runs."""


def start_stage(stage: str, folder: Path, environment: Mapping[str, str]) -> StageProcess:
    """Run the task of a folder in a process; its output goes to `child.log` there. Raises OSError."""
    served = stage in _SERVED and sys.platform == "linux"
    fork = _SERVERS.fork(folder, environment) if served else None
    return fork or _Interpreter.start(folder, environment)


def start_server(environment: Mapping[str, str]) -> None:
    """Start what stages are forked from, ahead of the first stage: it imports while its caller still plans.

    Harmless when no stage follows, and when the first one needs another environment: then it gets a server of its own.
    """
    if sys.platform == "linux":
        _SERVERS.prepare(environment)


@dataclass(frozen=True, slots=True)
class _Interpreter:
    """A stage in a new interpreter."""

    child: subprocess.Popen[bytes]

    @classmethod
    def start(cls, folder: Path, environment: Mapping[str, str]) -> _Interpreter:
        with (folder / "child.log").open("wb") as log:
            command = interpreter_command("trtpipe.processes.child", ".")
            child = start(command, environment, folder, Streams(stdout=log, stderr=log))
        return cls(child)

    def poll(self, seconds: float = 0.0) -> int | None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.child.wait(seconds)
        return None

    def end(self) -> None:
        kill(self.child)


@dataclass(slots=True)
class _Fork:
    """A stage in a fork of the server."""

    server: _Server
    number: int
    told: threading.Event = field(default_factory=threading.Event)
    """That it runs, or that it does not."""
    ended: threading.Event = field(default_factory=threading.Event)
    runs: bool = False
    code: int | None = None

    def poll(self, seconds: float = 0.0) -> int | None:
        return self.code if self.ended.wait(seconds) else None

    def end(self) -> None:
        if not self.ended.is_set():
            self.server.ask({"kill": self.number})
            self.ended.wait()


class _Server:
    """The parent's side of a server."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.environment = dict(environment)
        self._asked, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._forks: dict[int, _Fork] = {}
        self._numbers = count(1)
        self._lock = threading.Lock()
        self.gone = False
        with theirs:
            command = interpreter_command("trtpipe.processes.stage_server", str(theirs.fileno()))
            self._process = start(command, environment, inherited=[theirs.fileno()])
        threading.Thread(target=self._listen, name="stage server", daemon=True).start()

    @property
    def idle(self) -> bool:
        """Whether none of the processes that it forked is running."""
        with self._lock:
            return not self._forks

    def fork(self, folder: Path) -> _Fork | None:
        """A process for the task of a folder, or None when the server cannot fork one."""
        with self._lock:
            fork = _Fork(self, next(self._numbers))
            self._forks[fork.number] = fork
        if not self.ask({"id": fork.number, "folder": str(folder.absolute())}):
            self._forget(fork)
            return None
        if not fork.told.wait(_STARTING_SECONDS) or not fork.runs:
            self._forget(fork)
            return None
        return fork

    def ask(self, request: Mapping[str, object]) -> bool:
        """Send one packet; returns whether it was sent."""
        packet = json.dumps(request).encode()
        if len(packet) > PACKET:
            return False
        try:
            self._asked.send(packet)
        except OSError:
            return False
        return True

    def close(self) -> None:
        """Shut the server down."""
        with contextlib.suppress(OSError):
            self._asked.shutdown(socket.SHUT_RDWR)

    def _forget(self, fork: _Fork) -> None:
        with self._lock:
            self._forks.pop(fork.number, None)

    def _listen(self) -> None:
        while packet := self._received():
            answer = json.loads(packet)
            with self._lock:
                fork = self._forks.get(answer["id"])
            if fork is None:
                continue
            if "code" in answer:
                self._finish(fork, answer["code"])
            else:
                fork.runs = "pid" in answer
                fork.told.set()
        self.gone = True
        self._asked.close()
        code = self._process.wait()
        for fork in list(self._forks.values()):
            self._finish(fork, code or 1)

    def _received(self) -> bytes:
        try:
            return self._asked.recv(PACKET)
        except OSError:
            return b""

    def _finish(self, fork: _Fork, code: int) -> None:
        self._forget(fork)
        fork.code = code
        fork.ended.set()
        fork.told.set()


class _Servers:
    """This process's current server, if there is one."""

    def __init__(self) -> None:
        self._server: _Server | None = None
        self._starting = threading.Lock()

    def fork(self, folder: Path, environment: Mapping[str, str]) -> _Fork | None:
        """A process for the task of a folder, or None when none can be forked with that environment."""
        with self._starting:
            server = self._fitting(environment)
        return server.fork(folder) if server is not None else None

    def prepare(self, environment: Mapping[str, str]) -> None:
        """Start the server for an environment, if there is none and one can be started."""
        with self._starting:
            self._fitting(environment)

    def _fitting(self, environment: Mapping[str, str]) -> _Server | None:
        """The server for this environment. A server for another environment is not shut down while its forks run."""
        server = self._server
        if server is not None and not server.gone:
            if server.environment == environment:
                return server
            if not server.idle:
                return None
            server.close()
        try:
            self._server = _Server(environment)
        except OSError:
            return None
        return self._server


_SERVERS = _Servers()
