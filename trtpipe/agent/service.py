"""Runs an agent: a dask worker that answers for this machine, connected to a scheduler until it is told to end.

The worker runs in this process without dask's nanny, with dask's memory limit and work stealing out of play: work is
bound to this agent by its client, and runs in child processes that trtpipe watches itself. The worker has many more
threads than lanes, because a thread only waits for a child process, and who may work is decided by `AgentLanes`.
When the scheduler goes away, what runs is stopped, and the agent tries to reach the scheduler again.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from trtpipe.agent.lanes import AgentLanes
from trtpipe.agent.leases import lease_folder
from trtpipe.agent.machine import labels_here
from trtpipe.agent.performing import FleetAgent
from trtpipe.agent.store import AgentStore
from trtpipe.building.searches.evaluators import IDLE_SECONDS, Evaluators
from trtpipe.errors import FleetError
from trtpipe.fleet import entry
from trtpipe.fleet.dask_settings import LOOPBACK, WORKER, quiet_dask
from trtpipe.fleet.labels import Exchange
from trtpipe.fleet.places import FleetAddress, bracketed
from trtpipe.fleet.schemes import wrong_scheme
from trtpipe.problem_codes import Code
from trtpipe.stores.layered import LayeredStore
from trtpipe.stores.local import LocalStore
from trtpipe.stores.marks import store_id

if TYPE_CHECKING:
    from distributed import Worker

    from trtpipe.fleet.certificates import TlsFiles

_THREADS = 64
_LOOK_SECONDS = 0.5
_STARTING_SECONDS = 10.0
_AGAIN_SECONDS = (1.0, 2.0, 5.0, 10.0)

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class AgentOptions:
    """The options of `trtpipe agent`."""

    address: FleetAddress
    name: str
    lanes: int
    one: bool = False
    installs: bool = True
    host: str = ""
    """The name or address under which clients reach this machine; found out if empty."""


@dataclass
class AgentService:
    """One agent of this process."""

    options: AgentOptions
    kept: AgentStore
    files: TlsFiles | None
    folder: Path
    """An empty directory for dask's own files."""
    say: Say

    @property
    def store(self) -> LocalStore:
        """The store that work is done in."""
        return self.kept.store

    async def run(self) -> None:
        """Serve until a signal arrives, or until the one piece of work is done. Raises FleetError."""
        quiet_dask()
        ended = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, ended.set)
        collecting = asyncio.create_task(self.kept.keep_small(self.say))
        failures = 0
        while not ended.is_set():
            failures = await self._try(ended, failures)
        collecting.cancel()

    async def _try(self, ended: asyncio.Event, failures: int) -> int:
        """Connect and serve; after a failure waits a while. Returns how often in a row it has failed by now."""
        try:
            await self._connected(ended)
            return 0
        except (OSError, TimeoutError, asyncio.TimeoutError, RuntimeError) as error:
            wrong = await asyncio.to_thread(wrong_scheme, self.options.address)
            if wrong is not None:
                raise wrong from error
            if isinstance(error, RuntimeError):  # dask's worker did not start, and nobody knows why
                raise
            if self.options.one and failures:
                raise self._unreachable(error) from error
            if not failures:
                self.say(
                    f"no scheduler answers at {self.options.address} ({error}); trying again until one does"
                )
        pause = _AGAIN_SECONDS[min(failures, len(_AGAIN_SECONDS) - 1)]
        with contextlib.suppress(TimeoutError, asyncio.TimeoutError):
            await asyncio.wait_for(ended.wait(), pause)
        return failures + 1

    def _unreachable(self, error: Exception) -> FleetError:
        return FleetError(
            Code.FLEET_UNREACHABLE,
            f"no scheduler answers at {self.options.address}: {error}",
            "start one there: trtpipe fleet scheduler",
        )

    async def _connected(self, ended: asyncio.Event) -> None:
        """One connection to the scheduler, until it breaks or the agent ends."""
        worker = self._worker()
        agent = FleetAgent(
            labels_here(
                self.options.name,
                self.options.lanes,
                Exchange(),
                installs=self.options.installs,
                one=self.options.one,
            ),
            self.store,
            AgentLanes(self.options.lanes, lease_folder()),
            worker.log_event,
            Evaluators(self.options.lanes),
        )
        entry.serve(agent)
        async with contextlib.AsyncExitStack() as stack:
            stack.callback(agent.evaluators.dismiss)
            stack.callback(agent.stop_all)  # what began while the worker was being closed
            exchange = await self._objects(stack)
            agent.known = replace(agent.known, exchange=exchange)
            await worker
            stack.push_async_callback(worker.close, nanny=False, timeout=5)
            # Before that: closing waits for the worker's threads, half a minute when the scheduler is gone, and they
            # wait for what runs, which keeps its GPU meanwhile.
            stack.callback(agent.stop_all)
            self.say(f"{self.options.name} serves {self.options.address}")
            watching = _Watch(worker, agent)
            while not ended.is_set() and worker.status.name in ("running", "paused"):
                watching.stop_forgotten()
                agent.evaluators.dismiss(IDLE_SECONDS)
                if self.options.one and watching.is_over():
                    ended.set()
                with contextlib.suppress(TimeoutError, asyncio.TimeoutError):
                    await asyncio.wait_for(ended.wait(), _LOOK_SECONDS)
        if not ended.is_set():
            self.say(f"the scheduler {self.options.address} is gone; what ran for it was stopped")

    def _worker(self) -> Worker:
        import dask
        from distributed import Worker

        from trtpipe.fleet.certificates import dask_security

        dask.config.set(WORKER)
        return Worker(
            str(self.options.address),
            nthreads=_THREADS,
            name=f"{self.options.name}-{secrets.token_hex(4)}",
            memory_limit=0,
            local_directory=str(self.folder),
            security=None if self.files is None else dask_security(self.files),
            host=None if self.files is not None or not self._is_local() else "127.0.0.1",
            contact_address=None,
            dashboard=False,
            dashboard_address=LOOPBACK,
            heartbeat_interval="2s",
            death_timeout=_STARTING_SECONDS,
        )

    def _is_local(self) -> bool:
        from trtpipe.fleet.places import is_loopback

        return is_loopback(self.options.address.host)

    async def _objects(self, stack: contextlib.AsyncExitStack) -> Exchange:
        """Serve this machine's artifacts to clients, and say where."""
        from trtpipe.fleet.certificates import ssl_contexts
        from trtpipe.fleet.object_server import ObjectServer

        token = "" if self.files is not None else secrets.token_hex(16)
        context = ssl_contexts(self.files).server if self.files is not None else None
        server = ObjectServer(self.store, context=context, token=token or None)
        port = await server.start("127.0.0.1" if self._is_local() and self.files is None else "")
        stack.push_async_callback(server.stop)
        host = self.options.host or _own_address(self.options.address)
        remote = self.store.remote.shown if isinstance(self.store, LayeredStore) and self.store.remote else ""
        return Exchange(
            f"{bracketed(host)}:{port}",
            token,
            store_id(self.store.root),
            str(self.store.root.resolve()),
            remote,
        )


@dataclass
class _Watch:
    """Notices what dask does not tell running work: that its client has gone, or has taken the result."""

    worker: Worker
    agent: FleetAgent

    def stop_forgotten(self) -> None:
        """Stop work whose client is gone or no longer wants it."""
        for identity in self.agent.identities():
            task = self.worker.state.tasks.get(f"trtpipe-{identity}")
            if task is None or task.state in ("cancelled", "released", "forgotten"):
                self.agent.stop(identity, True)

    def is_over(self) -> bool:
        """Whether the one piece of work is done, and its client has taken the result."""
        kept = any(name.startswith("trtpipe-") for name in map(str, self.worker.state.tasks))
        return self.agent.taken > 0 and not kept and not self.agent.identities()


def _own_address(scheduler: FleetAddress) -> str:
    """This machine's address on the way to the scheduler; no packet is sent to find out."""
    from trtpipe.fleet.places import is_loopback

    if is_loopback(scheduler.host):
        return "127.0.0.1"
    family = socket.AF_INET6 if scheduler.host.startswith("[") else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect((scheduler.host.strip("[]"), scheduler.port))
        return str(probe.getsockname()[0])
