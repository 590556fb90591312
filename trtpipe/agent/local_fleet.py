"""A fleet on this machine alone: `--executor dask` without an address.

A scheduler in this process and one agent in a process of its own, which uses this project's store. They talk over TLS
with certificates that exist only while the command runs, because other users of the machine can connect to its ports.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from trtpipe.errors import FleetError, Problem
from trtpipe.files import temporary_folder
from trtpipe.fleet.certificates import TlsFiles, dask_security, tls_files
from trtpipe.fleet.dask_settings import (
    DASHBOARD,
    SCHEDULER,
    announce_dashboard,
    has_dashboard,
    quiet_dask,
)
from trtpipe.fleet.keygen import keygen
from trtpipe.fleet.starter import opening
from trtpipe.launcher.children import Streams, interpreter_command, kill, start
from trtpipe.problem_codes import Code

if TYPE_CHECKING:
    from distributed import LocalCluster

_STARTING_SECONDS = 60.0
_ENDING_SECONDS = 10
_LOOK_SECONDS = 0.05
_MOST_SAID = 2000


@contextmanager
def local_fleet(store: Path, lanes: int) -> Iterator[tuple[str, TlsFiles]]:
    """The scheduler's address, and the client's certificates, while the context lasts. Raises FleetError."""
    quiet_dask()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(temporary_folder("fleet")))
        keygen(folder, ("localhost", "127.0.0.1"), 2)
        cluster = stack.enter_context(_scheduler(tls_files(folder, "scheduler")))
        address = str(cluster.scheduler_address)
        agent = stack.enter_context(_agent(address, folder, store, lanes))
        agent.wait_until(lambda: bool(cluster.scheduler.workers))
        stack.enter_context(agent.needed())
        yield address, tls_files(folder, "client")


@contextmanager
def _scheduler(files: TlsFiles) -> Iterator[LocalCluster]:
    import dask
    from distributed import LocalCluster

    shows = has_dashboard()
    with dask.config.set(SCHEDULER):
        cluster = LocalCluster(
            n_workers=0,
            processes=False,
            protocol="tls://",
            host="127.0.0.1",
            dashboard_address=DASHBOARD if shows else None,
            security=dask_security(files),
            silence_logs=50,
        )
    if shows:
        announce_dashboard(cluster.scheduler)
    try:
        yield cluster
    finally:
        cluster.close(timeout=_ENDING_SECONDS)


@dataclass(frozen=True, slots=True)
class _LocalAgent:
    """The agent's process."""

    child: subprocess.Popen[bytes]
    log: Path

    def wait_until(self, joined: Callable[[], bool]) -> None:
        """Wait until the agent is connected. Raises FleetError when it ends instead, with its own last words."""
        ends = time.monotonic() + _STARTING_SECONDS
        while not joined():
            if self.child.poll() is not None or time.monotonic() > ends:
                raise self.error("did not start")
            time.sleep(_LOOK_SECONDS)

    @contextmanager
    def needed(self) -> Iterator[None]:
        """Raises FleetError when the agent has ended meanwhile, also in place of another one that follows from that."""
        try:
            yield
        except FleetError as error:
            if self.child.poll() is not None:
                raise self.error("ended") from error
            raise
        if self.child.poll() is not None:
            raise self.error("ended")

    def error(self, what: str) -> FleetError:
        """The error of an agent that did something, with what it said."""
        said = self.log.read_text(errors="replace").strip()
        return FleetError(
            Problem(Code.FLEET_UNREACHABLE, f"the agent of this machine {what}", details=said[-_MOST_SAID:])
        )


@contextmanager
def _agent(address: str, folder: Path, store: Path, lanes: int) -> Iterator[_LocalAgent]:
    """An agent of this machine that works in the same store. It ends as those of `fleet start` do, and with us."""
    command = interpreter_command("trtpipe", "agent", address, "--lanes", str(lanes), "--name", "here")
    environment = {**os.environ, "TRTPIPE_STORE": str(store.absolute())}
    log = folder / "agent.log"
    with log.open("wb") as stream:
        child = start(
            [*command, "--certificates", str(folder), "--with-starter"],
            environment,
            folder,
            Streams(stdin=subprocess.PIPE, stderr=stream),
        )
    try:
        _say(child, opening({}, silence=0))
        yield _LocalAgent(child, log)
    finally:
        _end(child)


def _say(child: subprocess.Popen[bytes], line: bytes) -> None:
    assert child.stdin is not None, "it is a pipe"
    with suppress(OSError):  # it has ended already, and its log says why
        child.stdin.write(line)
        child.stdin.flush()


def _end(child: subprocess.Popen[bytes]) -> None:
    """End the agent by the end of its input; if it does not by itself, at once."""
    assert child.stdin is not None, "it is a pipe"
    with suppress(OSError):
        child.stdin.close()
    try:
        child.wait(_ENDING_SECONDS)
    except subprocess.TimeoutExpired:
        kill(child)
