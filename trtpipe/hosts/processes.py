"""Starts a process on this machine or, over SSH, on another one, and ends it with its context.

The host's key is always held against your known_hosts; nothing switches that off.
"""

from __future__ import annotations

import asyncio
import getpass
import os
import shlex
import subprocess
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from trtpipe.errors import FleetError
from trtpipe.fleet.extras import missing_package
from trtpipe.hosts.launches import SENT_TO, Launch
from trtpipe.launcher.children import Streams, kill, start
from trtpipe.problem_codes import Code

if TYPE_CHECKING:
    import asyncssh

_CONNECT_SECONDS = 20
_ALIVE_SECONDS = 15
_CLOSED_SECONDS = 5
_PORT = 22
_KNOWN_HOSTS = (Path("~/.ssh/known_hosts"), Path("/etc/ssh/ssh_known_hosts"))


class _Input(Protocol):
    def write(self, data: bytes, /) -> None: ...
    def write_eof(self) -> None: ...


class _Output(Protocol):
    async def read(self, n: int = -1, /) -> bytes: ...


class Process(Protocol):
    """A process, wherever it runs; standard output and standard error are one stream."""

    @property
    def stdin(self) -> _Input | None:
        """Its standard input."""

    @property
    def stdout(self) -> _Output | None:
        """Its output."""

    @property
    def returncode(self) -> int | None:
        """Its exit code, once it has ended; negative for a signal."""

    def terminate(self) -> None:
        """Ask it to end."""

    def kill(self) -> None:
        """End it."""


@asynccontextmanager
async def started(launch: Launch) -> AsyncIterator[Process]:
    """A process that runs until the context ends. Raises FleetError when it cannot be started."""
    if launch.host is None:
        with _local(launch.words) as process:
            yield process
        return
    async with _connected(launch) as connection:
        if launch.files:
            await _send(connection, launch)
        async with connection.create_process(
            launch.command, encoding=None, stderr=subprocess.STDOUT
        ) as remote:
            yield remote


@dataclass(frozen=True, slots=True)
class _Child:
    """A child of this process in the form that asyncssh gives to remote ones."""

    child: subprocess.Popen[bytes]

    @property
    def stdin(self) -> _Child:
        """Its standard input."""
        return self

    @property
    def stdout(self) -> _Child:
        """Its output."""
        return self

    @property
    def returncode(self) -> int | None:
        """Its exit code, once it has ended."""
        return self.child.poll()

    def write(self, data: bytes, /) -> None:
        """Write to its standard input. Raises OSError."""
        assert self.child.stdin is not None, "it is a pipe"
        self.child.stdin.write(data)
        self.child.stdin.flush()

    def write_eof(self) -> None:
        """Close its standard input. Raises OSError."""
        assert self.child.stdin is not None, "it is a pipe"
        self.child.stdin.close()

    async def read(self, n: int = -1, /) -> bytes:
        """What it prints next; nothing at the end."""
        assert self.child.stdout is not None, "it is a pipe"
        return await asyncio.to_thread(os.read, self.child.stdout.fileno(), n)

    def terminate(self) -> None:
        """Ask it to end."""
        self.child.terminate()

    def kill(self) -> None:
        """End it, and what it started."""
        kill(self.child)


@contextmanager
def _local(words: Sequence[str]) -> Iterator[_Child]:
    streams = Streams(subprocess.PIPE, subprocess.PIPE, subprocess.STDOUT)
    child = start(words, dict(os.environ), streams=streams)
    try:
        yield _Child(child)
        with suppress(subprocess.TimeoutExpired):
            child.wait(_CLOSED_SECONDS)  # its output ended just now
    finally:
        kill(child)


@asynccontextmanager
async def _connected(launch: Launch) -> AsyncIterator[asyncssh.SSHClientConnection]:
    try:
        import asyncssh
    except ImportError as error:
        raise missing_package("asyncssh") from error

    try:
        connection = await asyncssh.connect(launch.address, **_options(launch))
    except (
        OSError,
        asyncssh.Error,
        ValueError,
    ) as error:  # ValueError: a key or known_hosts that cannot be read
        raise _unreachable(launch, error) from error
    async with connection:
        yield connection


def _options(launch: Launch) -> dict[str, Any]:
    host = launch.host
    assert host is not None, "a process on this machine needs no connection"
    found: dict[str, Any] = {
        "known_hosts": b"\n".join(_read(one.expanduser()) for one in _KNOWN_HOSTS),
        "connect_timeout": _CONNECT_SECONDS,
        "login_timeout": _CONNECT_SECONDS,
        "keepalive_interval": _ALIVE_SECONDS,
        "agent_forwarding": False,
    }
    if host.port is not None:
        found["port"] = host.port
    if host.user is not None:
        found["username"] = host.user
    if host.identity is not None:
        found["client_keys"] = [str(Path(host.identity).expanduser())]
    return found


def _read(path: Path) -> bytes:
    return path.read_bytes() if path.is_file() else b""


def _unreachable(launch: Launch, error: Exception) -> FleetError:
    import asyncssh

    said = (str(error).splitlines() or [type(error).__name__])[0]
    if isinstance(error, asyncssh.HostKeyNotVerifiable):
        return FleetError(
            Code.HOST_FAILED,
            f"the SSH key that {launch.address} shows is not the one in ~/.ssh/known_hosts: {said}",
            f"connect once with `{_by_hand(launch)}` and compare the key; if the machine was set up anew, first remove "
            f"its old key with `ssh-keygen -R {shlex.quote(_known_as(launch))}`",
        )
    if isinstance(error, asyncssh.PermissionDenied):
        user = (launch.host.user if launch.host is not None else None) or getpass.getuser()
        return FleetError(
            Code.HOST_FAILED,
            f"{launch.address} does not let {user} log in: {said}",
            "name your key in fleet.yaml (identity), add it to ssh-agent, or copy it there with `ssh-copy-id`",
        )
    return FleetError(Code.HOST_FAILED, f"{launch.place} cannot be reached over SSH: {said}")


def _by_hand(launch: Launch) -> str:
    """The command that logs in to a host."""
    host = launch.host
    assert host is not None, "a process on this machine needs no connection"
    port = ["-p", str(host.port)] if host.port is not None else []
    return shlex.join(["ssh", *port, f"{host.user}@{launch.address}" if host.user else launch.address])


def _known_as(launch: Launch) -> str:
    """How known_hosts names a host."""
    port = launch.host.port if launch.host is not None else None
    return launch.address if port in (None, _PORT) else f"[{launch.address}]:{port}"


async def _send(connection: asyncssh.SSHClientConnection, launch: Launch) -> None:
    """Copy certificates and keys to a host, readable by its user alone. Raises FleetError."""
    import asyncssh

    private = asyncssh.SFTPAttrs(permissions=0o600)
    try:
        async with connection.start_sftp_client() as sftp:
            await sftp.makedirs(SENT_TO, exist_ok=True)
            await sftp.chmod(SENT_TO, 0o700)
            for path in launch.files:
                target = f"{SENT_TO}/{path.name}"
                async with sftp.open(f"{target}.new", "wb", attrs=private) as file:
                    await file.chmod(0o600)
                    await file.write(path.read_bytes())
                await sftp.posix_rename(f"{target}.new", target)
    except (OSError, asyncssh.Error) as error:
        raise FleetError(
            Code.HOST_FAILED, f"the certificates cannot be copied to {launch.place}: {error}"
        ) from error
