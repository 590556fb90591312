"""The `trtpipe` command in a process that has imported it before: a fork of a server, one for each of pytest's workers.

Importing takes a command of a test longer than its work does. What a fork runs is `trtpipe.__main__.main`, with the
arguments, directory, variables and standard streams of a process of its own, and the server that it would start for
its stages is forked as well. A test about what an interpreter does as it starts, imports or ends takes a cold process
instead. Linux only; elsewhere, and where the variables ask for another interpreter, `run` starts a process.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import pkgutil
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import IO, Any, NoReturn

ROOT = Path(__file__).resolve().parents[1]
COMMAND = [sys.executable, "-m", "trtpipe"]
_PACKET = 1 << 17
_AT_START = ("PYTHON", "LD_", "LC_", "LANG", "TZ", "OMP_", "OPENBLAS_", "MKL_", "MALLOC_", "GLIBC_", "TMPDIR")
"""Variables that are read as an interpreter or a library starts begin so: a server of other ones cannot stand in."""
_LEFT_OUT = ("trtpipe.__main__", "trtpipe.calibration.calibrators.measurement.counts")
"""What is no module to import, and what imports onnxruntime: that starts threads, which a fork would not have."""
_SERVED_PATHS: set[str] = set()
_SERVERS: dict[tuple[tuple[str, str], ...], _Server] = {}


def serve_for(*paths: Path) -> None:
    """Say which PYTHONPATH is worth a server: one that many commands have."""
    _SERVED_PATHS.add(os.pathsep.join(map(str, paths)))


def run(
    command: Sequence[str], cwd: Path, env: Mapping[str, str], timeout: float = 300
) -> subprocess.CompletedProcess[str]:
    """Run a command, warm if it is ours and that is possible. Raises subprocess.TimeoutExpired."""
    if is_warm(command, env):
        return _server(env).run(command, cwd, env, timeout)
    return subprocess.run(
        command, cwd=cwd, env=dict(env), capture_output=True, text=True, timeout=timeout, check=False
    )


def is_warm(command: Sequence[str], env: Mapping[str, str]) -> bool:
    """Whether it is run in a fork."""
    ours = list(command[: len(COMMAND)]) == COMMAND
    return ours and sys.platform == "linux" and env.get("PYTHONPATH") in _SERVED_PATHS


def stage_servers(env: Mapping[str, str]) -> int:
    """How many servers of stages were forked for commands with these variables."""
    return _server(env).stage_servers


def _server(env: Mapping[str, str]) -> _Server:
    started = tuple(sorted((name, value) for name, value in env.items() if name.startswith(_AT_START)))
    if started not in _SERVERS or _SERVERS[started].gone:
        _SERVERS[started] = _Server(env)
    return _SERVERS[started]


class _Server:
    """The tests' side of a server."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, __file__, str(theirs.fileno())],
                env=dict(env),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # Ctrl-C in a terminal is pytest's
            )
        self.stage_servers = 0
        """How many were forked so far."""
        atexit.register(self.close)

    @property
    def gone(self) -> bool:
        return self._process.poll() is not None

    def run(
        self, command: Sequence[str], cwd: Path, env: Mapping[str, str], timeout: float
    ) -> subprocess.CompletedProcess[str]:
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            request = {"argv": command[len(COMMAND) :], "cwd": str(cwd), "env": dict(env)}
            socket.send_fds(self._socket, [json.dumps(request).encode()], [out.fileno(), err.fileno()])
            code = self._code(command, timeout)
            return subprocess.CompletedProcess(command, code, _text(out), _text(err))

    def _code(self, command: Sequence[str], timeout: float) -> int:
        if not select.select([self._socket], [], [], timeout)[0]:
            self.close()
            raise subprocess.TimeoutExpired(command, timeout)
        answer = self._socket.recv(_PACKET)
        assert answer, "the server of warm commands ended; it says why on stderr"
        ended = json.loads(answer)
        self.stage_servers = ended["stage_servers"]
        return ended["code"]

    def close(self) -> None:
        """End it and what it started."""
        self._socket.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(10)


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode().replace("\r\n", "\n")


# What follows runs in the server and in its forks.


@dataclass
class _Serving:
    """Forks commands, and for a command the server of its stages, and says how each ended."""

    tests: socket.socket
    ends: dict[int, tuple[int, socket.socket]] = field(default_factory=dict)
    """File descriptors of processes, with their process ids and who is told."""
    commands: set[socket.socket] = field(default_factory=set)
    """Where each command asks for the server of its stages."""
    stage_servers: int = 0
    """How many were forked."""

    def serve(self) -> None:
        """Until the tests have ended; then nothing that was started here is left."""
        while True:
            ready, _, _ = select.select([self.tests, *self.commands, *self.ends], [], [])
            for one in ready:
                if isinstance(one, int):
                    self._ended(one)
                elif one in self.commands:
                    self._serve_stages(one)
                elif not self._command():
                    return self._end_all()

    def _command(self) -> bool:
        packet, files, _, _ = socket.recv_fds(self.tests, _PACKET, 2)
        if not packet:
            return False
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._fork(self.tests, lambda: _run_command(json.loads(packet), files, theirs))
        theirs.close()
        for file in files:
            os.close(file)
        self.commands.add(ours)
        return True

    def _serve_stages(self, command: socket.socket) -> None:
        try:
            packet, files, _, _ = socket.recv_fds(command, _PACKET, 1)
        except ConnectionResetError:  # it ended, and did not wait for the server of its stages
            packet, files = b"", []
        if not packet:
            self.commands.discard(command)
            command.close()
            return
        request = json.loads(packet)
        pid = self._fork(command, lambda: _run_stage_server(request["env"], files[0]))
        os.close(files[0])
        self.stage_servers += 1
        with contextlib.suppress(OSError):  # it was killed meanwhile
            command.send(json.dumps({"pid": pid}).encode())

    def _fork(self, told: socket.socket, body: Callable[[], NoReturn]) -> int:
        pid = os.fork()
        if pid == 0:
            for one in (self.tests, *self.commands):
                one.close()
            for descriptor in self.ends:
                os.close(descriptor)
            _become(body)
        self.ends[os.pidfd_open(pid)] = pid, told
        return pid

    def _ended(self, descriptor: int) -> None:
        pid, told = self.ends.pop(descriptor)
        os.close(descriptor)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        with contextlib.suppress(OSError):  # a command that ended before the server of its stages
            told.send(json.dumps({"code": code, "stage_servers": self.stage_servers}).encode())

    def _end_all(self) -> None:
        for pid, _ in self.ends.values():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _become(body: Callable[[], NoReturn]) -> NoReturn:
    code = 1
    try:
        body()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.flush()
        os._exit(code)


def _run_command(request: dict[str, Any], files: Sequence[int], server: socket.socket) -> NoReturn:
    os.dup2(files[0], 1)
    os.dup2(files[1], 2)
    for file in files:
        os.close(file)
    os.chdir(request["cwd"])
    _take(request["env"])
    sys.argv = [str(ROOT / "trtpipe/__main__.py"), *request["argv"]]
    _fork_stage_servers(server)
    from trtpipe.__main__ import main

    main()


def _take(env: Mapping[str, str]) -> None:
    """Be what a process that begins now with these variables is, where modules look as they are imported."""
    import trtpipe
    from trtpipe import permissions
    from trtpipe.stores import scratches

    for name in os.environ.keys() - env.keys():
        del os.environ[name]
    os.environ.update(env)
    importlib.reload(trtpipe)  # it sets a variable of ONNX Runtime's
    scratches._STARTED = time.time()
    permissions.forget_grants()
    permissions.grant(filter(None, env.get(permissions._GRANTED, "").split(",")))


def _fork_stage_servers(server: socket.socket) -> None:
    """Have the server fork what this process would start an interpreter for: the server of stages."""

    class Popen(subprocess.Popen[Any]):
        def __new__(cls, command: Sequence[str], *args: Any, **more: Any) -> Any:
            if "trtpipe.processes.stage_server" not in command:
                return super().__new__(cls)
            socket.send_fds(server, [json.dumps({"env": dict(more["env"])}).encode()], list(more["pass_fds"]))
            return _StageServer(server, json.loads(server.recv(_PACKET))["pid"])

    subprocess.Popen = Popen  # type: ignore[misc]


@dataclass
class _StageServer:
    """What is asked of the process that was started."""

    server: socket.socket
    pid: int

    def wait(self) -> int:
        return json.loads(self.server.recv(_PACKET) or '{"code": 1}')["code"]


def _run_stage_server(env: Mapping[str, str], descriptor: int) -> NoReturn:
    os.setsid()
    with open(os.devnull, "r+b") as nowhere:  # noqa: PTH123
        os.dup2(nowhere.fileno(), 2)
    _take(env)
    from trtpipe.processes import stage_server

    stage_server.main(descriptor)


def _import_all() -> None:
    """All that a command may import, but for what is imported late on purpose."""
    from trtpipe.deferred_imports import defer_imports

    defer_imports()
    import trtpipe

    for module in pkgutil.walk_packages(trtpipe.__path__, "trtpipe."):
        if module.name not in _LEFT_OUT:
            importlib.import_module(module.name)


def _put_together() -> None:
    """Have typer make the command line once: it makes it of all functions anew whenever it is called."""
    import typer.main

    from trtpipe.cli.main import app

    typer.main.get_command = cache(typer.main.get_command)
    typer.main.get_command(app)


def _main(descriptor: int) -> None:
    sys.path.remove(str(Path(__file__).parent))
    _import_all()
    _put_together()
    gc.freeze()
    with socket.socket(fileno=descriptor) as tests:
        _Serving(tests).serve()


if __name__ == "__main__":
    _main(int(sys.argv[1]))
