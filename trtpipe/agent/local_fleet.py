"""A fleet on this machine alone: `--executor dask` without an address.

A scheduler in this process and one agent in a process of its own, which uses this project's store. They talk over TLS
with certificates that exist only while the command runs, because other users of the machine can connect to its ports.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from trtpipe.errors import FleetError
from trtpipe.files import temporary_folder
from trtpipe.fleet.certificates import TlsFiles, dask_security, tls_files
from trtpipe.fleet.dask_settings import SCHEDULER, quiet_dask
from trtpipe.fleet.keygen import keygen
from trtpipe.launcher.children import Streams, interpreter_command, kill, start
from trtpipe.problem_codes import Code

if TYPE_CHECKING:
    from distributed import LocalCluster

_ENDING_SECONDS = 10


@contextmanager
def local_fleet(store: Path, lanes: int) -> Iterator[tuple[str, TlsFiles]]:
    """The scheduler's address, and the client's certificates, while the context lasts. Raises FleetError."""
    quiet_dask()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(temporary_folder("fleet")))
        keygen(folder, ("localhost", "127.0.0.1"), 2)
        cluster = stack.enter_context(_scheduler(tls_files(folder, "scheduler")))
        address = str(cluster.scheduler_address)
        stack.enter_context(_agent(address, folder, store, lanes))
        yield address, tls_files(folder, "client")


@contextmanager
def _scheduler(files: TlsFiles) -> Iterator[LocalCluster]:
    import dask
    from distributed import LocalCluster

    with dask.config.set(SCHEDULER):
        cluster = LocalCluster(
            n_workers=0,
            processes=False,
            protocol="tls://",
            host="127.0.0.1",
            dashboard_address=None,
            security=dask_security(files),
            silence_logs=50,
        )
    try:
        yield cluster
    finally:
        cluster.close(timeout=_ENDING_SECONDS)


@contextmanager
def _agent(address: str, folder: Path, store: Path, lanes: int) -> Iterator[None]:
    """An agent of this machine that works in the same store. It ends with this process."""
    command = interpreter_command("trtpipe", "agent", address, "--lanes", str(lanes), "--name", "here")
    environment = {**os.environ, "TRTPIPE_STORE": str(store.absolute())}
    child = start(
        [*command, "--certificates", str(folder), "--with-parent"],
        environment,
        folder,
        Streams(stderr=subprocess.PIPE),
    )
    try:
        yield
        if child.poll():
            said = child.stderr.read().decode(errors="replace").strip() if child.stderr else ""
            raise FleetError(Code.FLEET_UNREACHABLE, f"the agent of this machine ended: {said}")
    finally:
        child.terminate()
        try:
            child.wait(_ENDING_SECONDS)
        except subprocess.TimeoutExpired:
            kill(child)
