"""Processes of ours without the time that their imports take: forks of a server, one for each of pytest's workers.

Importing takes a command of a test longer than its work does. What a fork runs is what an interpreter of its own would
run, with the arguments, directory, variables and standard streams of a process of its own. The processes that a command
starts for stages are forked as well. A test about what an interpreter does as it starts, imports or ends takes a cold
process instead. Linux only; elsewhere, and where the variables ask for another interpreter, a process is started.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).resolve().parents[1]
COMMAND = [sys.executable, "-m", "trtpipe"]
AGENT = ROOT / "tests/fleet/pretending_agent.py"
_PROGRAM = Path(__file__).with_name("warm_server.py")
PACKET = 1 << 17
_AT_START = ("PYTHON", "LD_", "LC_", "LANG", "TZ", "OMP_", "OPENBLAS_", "MKL_", "MALLOC_", "GLIBC_", "TMPDIR")
"""Variables that are read as an interpreter or a library starts begin so: a server of other ones cannot stand in."""
STAGE_SERVER, CHILD = "trtpipe.processes.stage_server", "trtpipe.processes.child"
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


@contextlib.contextmanager
def warm_stages() -> Iterator[None]:
    """The processes of stages that the test itself starts are forks, where that is possible."""
    real = subprocess.Popen
    if sys.platform == "linux":
        subprocess.Popen = forking(lambda env: _server({**env, "PYTHONPATH": str(ROOT)})._socket)  # type: ignore[misc]
    try:
        yield
    finally:
        subprocess.Popen = real  # type: ignore[misc]


def is_warm(command: Sequence[str], env: Mapping[str, str]) -> bool:
    """Whether it is run in a fork."""
    ours = list(command[:1]) == COMMAND[:1] and main_of(command[1:]) is not None
    return ours and sys.platform == "linux" and env.get("PYTHONPATH") in _SERVED_PATHS


def main_of(argv: Sequence[str]) -> Callable[..., int | None] | None:
    """What an interpreter with these arguments runs, called with the descriptors that it inherits; None if unknown."""
    match [str(one) for one in argv]:
        case ["-m", "trtpipe", *more]:
            return lambda: _command(str(ROOT / "trtpipe/__main__.py"), *more)
        case [script, *more] if script == str(AGENT) and more[1:2] != ["job"]:
            return lambda: _agent(script, *more)
        case [_, "-m", module, _] if module == STAGE_SERVER:
            return _serve_stages
        case [_, "-m", module, folder] if module == CHILD:
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
        answer = self._told.recv(PACKET)
        assert answer, "the server of warm processes ended; it says why on stderr"
        self.pid: int = json.loads(answer)["pid"]

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            if not select.select([self._told], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
            answer = self._told.recv(PACKET)
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
                [sys.executable, str(_PROGRAM), str(theirs.fileno())],
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
        return json.loads(self._socket.recv(PACKET))["stage_servers"]

    def close(self) -> None:
        """End it and what it started."""
        self._socket.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(10)


def forking(server_for: Callable[[Mapping[str, str]], socket.socket]) -> type[subprocess.Popen[Any]]:
    """A `Popen` that has a server fork the processes of stages."""

    class Popen(subprocess.Popen[Any]):
        def __new__(cls, command: Any, *args: Any, **how: Any) -> Any:
            if isinstance(command, str) or not {STAGE_SERVER, CHILD} & set(map(str, command)):
                return super().__new__(cls)
            with open(os.devnull, "r+b") as nowhere:  # noqa: PTH123
                output = [_descriptor(how[name], nowhere) for name in ("stdout", "stderr")]
                asked = _request(command, how["cwd"], how["env"], how["start_new_session"])
                return WarmProcess(server_for(how["env"]), asked, [*output, *how["pass_fds"]])

    return Popen


def _descriptor(stream: int | IO[bytes], nowhere: IO[bytes]) -> int:
    if isinstance(stream, int):
        return nowhere.fileno() if stream == subprocess.DEVNULL else stream
    return stream.fileno()


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
