"""Machines that `fleet start` can log in to: real SSH servers on loopback, each with a home and real processes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncssh

from tests.fleet.fleets import ROOT


@dataclass
class SshHost:
    """One machine. Its user may log in with `client_key`; the shell of its commands is a real one."""

    name: str
    home: Path
    client_key: asyncssh.SSHKey
    port: int = 0
    key: asyncssh.SSHKey = field(default_factory=lambda: asyncssh.generate_private_key("ssh-ed25519"))
    pids: list[int] = field(default_factory=list)
    """The process group of every command that was run."""
    commands: list[str] = field(default_factory=list)
    _connections: list[asyncssh.SSHServerConnection] = field(default_factory=list)
    _server: asyncssh.SSHAcceptor | None = None

    @property
    def known(self) -> str:
        """Its line for known_hosts."""
        return f"[127.0.0.1]:{self.port} {self.key.export_public_key().decode().strip()}\n"

    async def serve(self) -> None:
        self.home.mkdir(parents=True, exist_ok=True)
        authorized = self.client_key.export_public_key().decode()
        host = self

        class Server(asyncssh.SSHServer):
            def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
                host._connections.append(conn)

        self._server = await asyncssh.listen(
            "127.0.0.1",
            0,
            server_factory=Server,
            server_host_keys=[self.key],
            authorized_client_keys=asyncssh.import_authorized_keys(authorized),
            process_factory=self._run,
            sftp_factory=lambda channel: asyncssh.SFTPServer(channel, chroot=os.fsencode(self.home)),
            encoding=None,
        )
        self.port = self._server.get_port()

    async def _run(self, process: asyncssh.SSHServerProcess[bytes]) -> None:
        """As sshd does: the command's input is closed when the connection is gone, and nothing else happens to it."""
        assert process.command is not None
        self.commands.append(process.command)
        environment = {
            **os.environ,
            "HOME": str(self.home),
            "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
            "XDG_CACHE_HOME": str(self.home / "cache"),
            "XDG_CONFIG_HOME": str(self.home / "config"),
        }
        environment.pop("TRTPIPE_STORE", None)
        child = await asyncio.create_subprocess_exec(
            "/bin/sh",
            "-c",
            process.command,
            cwd=self.home,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self.pids.append(child.pid)
        assert child.stdin is not None
        tasks = [
            asyncio.create_task(self._feed(process, child)),
            asyncio.create_task(self._show(process, child)),
        ]
        code = await child.wait()
        await tasks[1]
        tasks[0].cancel()
        with contextlib.suppress(Exception):  # the connection may be gone
            process.exit(code & 0xFF)

    async def _feed(
        self, process: asyncssh.SSHServerProcess[bytes], child: asyncio.subprocess.Process
    ) -> None:
        assert child.stdin is not None
        with contextlib.suppress(OSError, asyncssh.Error):
            while piece := await process.stdin.read(4096):
                child.stdin.write(piece)
        child.stdin.close()

    async def _show(
        self, process: asyncssh.SSHServerProcess[bytes], child: asyncio.subprocess.Process
    ) -> None:
        assert child.stdout is not None
        while piece := await child.stdout.read(4096):
            with contextlib.suppress(OSError, asyncssh.Error):
                process.stdout.write(piece)

    def drop(self) -> None:
        """Break every connection."""
        for one in self._connections:
            one.abort()
        self._connections.clear()

    async def close(self) -> None:
        self.drop()
        if self._server is not None:
            self._server.close()


class SshHosts:
    """Several machines, served by a thread."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.client_key = asyncssh.generate_private_key("ssh-ed25519")
        self.hosts: dict[str, SshHost] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        ssh = self.home / ".ssh"
        ssh.mkdir(parents=True)
        self.identity = ssh / "id_test"
        self.client_key.write_private_key(str(self.identity))

    @property
    def home(self) -> Path:
        """The home of whoever runs `fleet start`."""
        return self.folder / "home"

    def add(self, name: str, *, lets_in: bool = True, is_known: bool = True) -> SshHost:
        key = self.client_key if lets_in else asyncssh.generate_private_key("ssh-ed25519")
        host = self.hosts[name] = SshHost(name, self.folder / name, key)
        self._do(host.serve())
        shown = host.known if is_known else host.known.replace(_public(host.key), _public(self.client_key))
        with (self.home / ".ssh" / "known_hosts").open("a") as known:
            known.write(shown)
        return host

    def drop(self, name: str) -> None:
        self._loop.call_soon_threadsafe(self.hosts[name].drop)

    def close(self) -> None:
        for one in self.hosts.values():
            self._do(one.close())
            for pid in one.pids:
                with contextlib.suppress(OSError):
                    os.killpg(pid, 9)
        self._do(_settled())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def _do(self, what: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(what, self._loop).result(30)


async def _settled() -> None:
    """Wait until the commands' tasks have ended."""
    others = [one for one in asyncio.all_tasks() if one is not asyncio.current_task()]
    if others:
        await asyncio.wait(others, timeout=10)


def _public(key: asyncssh.SSHKey) -> str:
    return key.export_public_key().decode().split()[1]


@contextlib.contextmanager
def ssh_hosts(folder: Path) -> Iterator[SshHosts]:
    hosts = SshHosts(folder)
    try:
        yield hosts
    finally:
        hosts.close()
