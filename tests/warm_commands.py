"""Processes of ours without the time that their imports take: forks of a server, one for each of pytest's workers.

Importing takes a command of a test longer than its work does. What a fork runs is what an interpreter of its own would
run, with the arguments, directory, variables and standard streams of a process of its own. The processes that a command
starts for stages are forked as well. A test about what an interpreter does as it starts, imports or ends takes a cold
process instead. Linux only; elsewhere, and where the variables ask for another interpreter, a process is started.
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
AGENT = ROOT / "tests/fleet/pretending_agent.py"
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
    if not is_warm(command, env):
        return subprocess.run(
            command, cwd=cwd, env=dict(env), capture_output=True, text=True, timeout=timeout, check=False
        )
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = _server(env).start(command, cwd, env, (out.fileno(), err.fileno()))
        try:
            code = process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        return subprocess.CompletedProcess(command, code, _text(out), _text(err))


def popen(
    command: Sequence[str], cwd: Path, env: Mapping[str, str], output: IO[bytes]
) -> WarmProcess | subprocess.Popen[bytes]:
    """Start a process with a session of its own, warm if it is ours and that is possible."""
    if is_warm(command, env):
        descriptors = (output.fileno(), output.fileno())
        return _server(env).start(command, cwd, env, descriptors, session=True)
    return subprocess.Popen(
        command, cwd=cwd, env=dict(env), stdin=subprocess.DEVNULL, stdout=output, stderr=output,
        start_new_session=True,
    )  # fmt: skip


def is_warm(command: Sequence[str], env: Mapping[str, str]) -> bool:
    """Whether it is run in a fork."""
    ours = list(command[:1]) == COMMAND[:1] and _main_of(command[1:]) is not None
    return ours and sys.platform == "linux" and env.get("PYTHONPATH") in _SERVED_PATHS


def stage_servers(env: Mapping[str, str]) -> int:
    """How many servers of stages were forked for commands with these variables."""
    return _server(env).stage_servers()


def _server(env: Mapping[str, str]) -> _Server:
    started = tuple(sorted((name, value) for name, value in env.items() if name.startswith(_AT_START)))
    if started not in _SERVERS or _SERVERS[started].gone:
        _SERVERS[started] = _Server(env)
    return _SERVERS[started]


class WarmProcess:
    """A fork of a server: what is used of `subprocess.Popen`."""

    def __init__(self, server: socket.socket, request: Mapping[str, Any], descriptors: Sequence[int]) -> None:
        self._told, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            socket.send_fds(server, [json.dumps(request).encode()], [theirs.fileno(), *descriptors])
        self.args = request["argv"]
        self.returncode: int | None = None
        answer = self._told.recv(_PACKET)
        assert answer, "the server of warm processes ended; it says why on stderr"
        self.pid: int = json.loads(answer)["pid"]

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            if not select.select([self._told], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
            answer = self._told.recv(_PACKET)
            self.returncode = json.loads(answer)["code"] if answer else 1
            self._told.close()
        return self.returncode

    def poll(self) -> int | None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.wait(0)
        return None

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


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
        atexit.register(self.close)

    @property
    def gone(self) -> bool:
        return self._process.poll() is not None

    def start(
        self,
        command: Sequence[str],
        cwd: Path,
        env: Mapping[str, str],
        output: tuple[int, int],
        *,
        session: bool = False,
    ) -> WarmProcess:
        return WarmProcess(self._socket, _request(command, cwd, env, session), output)

    def stage_servers(self) -> int:
        """How many it forked so far."""
        self._socket.send(b"{}")
        return json.loads(self._socket.recv(_PACKET))["stage_servers"]

    def close(self) -> None:
        """End it and what it started."""
        self._socket.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(10)


def _request(
    command: Sequence[str], cwd: Path | None, env: Mapping[str, str], session: bool
) -> dict[str, Any]:
    return {
        "argv": [str(one) for one in command[1:]],
        "cwd": str(cwd or Path.cwd()),
        "env": dict(env),
        "session": session,
    }


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode().replace("\r\n", "\n")


# What follows runs in the server and in its forks.


@dataclass
class _Serving:
    """Forks processes, for the tests and for processes that it forked before, and says how each ended."""

    tests: socket.socket
    ends: dict[int, tuple[int, socket.socket]] = field(default_factory=dict)
    """File descriptors of processes, with their process ids and who is told."""
    stage_servers: int = 0

    def serve(self) -> None:
        """Until the tests have ended; then nothing that was started here is left."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours, theirs:
            while True:
                for one in select.select([self.tests, ours, *self.ends], [], [])[0]:
                    if isinstance(one, int):
                        self._ended(one)
                    elif not self._asked(one, theirs, (self.tests, ours)):
                        return self._end_all()

    def _asked(self, by: socket.socket, forks_ask: socket.socket, private: Sequence[socket.socket]) -> bool:
        packet, descriptors, _, _ = socket.recv_fds(by, _PACKET, 4)
        if not packet:
            return False
        request = json.loads(packet)
        if not request:
            by.send(json.dumps({"stage_servers": self.stage_servers}).encode())
            return True
        told = socket.socket(fileno=descriptors[0])
        self.stage_servers += _STAGE_SERVER in request["argv"]
        pid = os.fork()
        if pid == 0:
            for one in (*private, told, *(told for _, told in self.ends.values())):
                one.close()
            for descriptor in self.ends:
                os.close(descriptor)
            _become(request, descriptors[1:], forks_ask)
        for descriptor in descriptors[1:]:
            os.close(descriptor)
        self.ends[os.pidfd_open(pid)] = pid, told
        _tell(told, {"pid": pid})
        return True

    def _ended(self, descriptor: int) -> None:
        pid, told = self.ends.pop(descriptor)
        os.close(descriptor)
        with told:
            _tell(told, {"code": os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])})

    def _end_all(self) -> None:
        for pid, _ in self.ends.values():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _tell(told: socket.socket, what: Mapping[str, int]) -> None:
    with contextlib.suppress(OSError):  # whoever asked was killed meanwhile
        told.send(json.dumps(what).encode())


def _become(request: Mapping[str, Any], descriptors: Sequence[int], server: socket.socket) -> NoReturn:
    code = 1
    try:
        if request["session"]:
            os.setsid()
        for number, descriptor in enumerate(descriptors[:2], start=1):
            os.dup2(descriptor, number)
            os.close(descriptor)
        os.chdir(request["cwd"])
        _take(request["env"])
        _fork_more(server)
        main = _main_of(request["argv"])
        assert main is not None, request["argv"]
        code = main(*descriptors[2:]) or 0
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


_STAGE_SERVER, _CHILD = "trtpipe.processes.stage_server", "trtpipe.processes.child"


def _main_of(argv: Sequence[str]) -> Callable[..., int | None] | None:
    """What an interpreter with these arguments runs, called with the descriptors that it inherits; None if unknown."""
    match [str(one) for one in argv]:
        case ["-m", "trtpipe", *more]:
            return lambda: _command(str(ROOT / "trtpipe/__main__.py"), *more)
        case [script, *more] if script == str(AGENT) and more[1:2] != ["job"]:
            return lambda: _agent(script, *more)
        case [_, "-m", module, _] if module == _STAGE_SERVER:
            return _serve_stages
        case [_, "-m", module, folder] if module == _CHILD:
            return lambda: _run_stage(folder)
    return None


def _command(*argv: str) -> None:
    from trtpipe.__main__ import main

    sys.argv = list(argv)
    main()


def _agent(*argv: str) -> None:
    from tests.fleet.pretending_agent import main

    sys.argv = list(argv)
    main()


def _serve_stages(descriptor: int) -> None:
    from trtpipe.processes import stage_server

    stage_server.main(descriptor)


def _run_stage(folder: str) -> int:
    from trtpipe.processes import child

    os.environ["TRTPIPE_PARENT"] = str(os.getppid())
    return child.main(folder)


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


def _fork_more(server: socket.socket) -> None:
    """Have the server fork what this process would start an interpreter for: the processes of stages."""

    class Popen(subprocess.Popen[Any]):
        def __new__(cls, command: Any, *args: Any, **how: Any) -> Any:
            if isinstance(command, str) or not {_STAGE_SERVER, _CHILD} & set(map(str, command)):
                return super().__new__(cls)
            with open(os.devnull, "r+b") as nowhere:  # noqa: PTH123
                output = [_descriptor(how[name], nowhere) for name in ("stdout", "stderr")]
                asked = _request(command, how["cwd"], how["env"], how["start_new_session"])
                return WarmProcess(server, asked, [*output, *how["pass_fds"]])

    subprocess.Popen = Popen  # type: ignore[misc]


def _descriptor(stream: int | IO[bytes], nowhere: IO[bytes]) -> int:
    if isinstance(stream, int):
        return nowhere.fileno() if stream == subprocess.DEVNULL else stream
    return stream.fileno()


def _import_all() -> None:
    """All that a command may import, but for what is imported late on purpose."""
    from trtpipe.deferred_imports import defer_imports

    defer_imports()
    import trtpipe

    for module in pkgutil.walk_packages(trtpipe.__path__, "trtpipe."):
        if module.name not in _LEFT_OUT:
            importlib.import_module(module.name)
    with contextlib.suppress(ImportError):
        from trtpipe.fleet.dask_settings import quiet_dask

        quiet_dask()
        importlib.import_module("distributed")


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
