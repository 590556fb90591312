"""Runs actions on this machine, a few at a time, each in processes of its own.

For each action: hold its key's lock, look once more whether somebody else has just done it, run it in a scratch
directory, put its files into the store, then record the trace. What is interrupted leaves nothing but a scratch
directory that the next build sweeps. How a stage is run is `perform`'s business.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from trtpipe.errors import Interrupted
from trtpipe.plan.events import StepWaiting
from trtpipe.plan.graph import Action
from trtpipe.plan.ports import ActionResult, Observer, Performed, Store
from trtpipe.plan.trace import Trace


@dataclass(frozen=True, slots=True)
class Control:
    """How a running action hears that it must stop: politely first, then at once."""

    cancelled: threading.Event = field(default_factory=threading.Event)
    killed: threading.Event = field(default_factory=threading.Event)

    def check(self) -> None:
        """Raises Interrupted when the build is being stopped."""
        if self.cancelled.is_set():
            raise Interrupted("interrupted")


Perform = Callable[[Action, Path, Control], ActionResult]
"""Runs one action in a scratch directory; raises StepFailed or another TrtpipeError."""


class LocalExecutor:
    """A pool of threads, each waiting for the processes of one action."""

    def __init__(
        self,
        store: Store,
        perform: Perform,
        *,
        jobs: int,
        observer: Observer,
        forced: Collection[str] = (),
        trusted: Callable[[Trace], bool] = lambda trace: True,
    ) -> None:
        self._store = store
        self._perform = perform
        self._observer = observer
        self._forced = frozenset(forced)
        self._trusted = trusted
        self._control = Control()
        self._pool = ThreadPoolExecutor(max_workers=jobs, thread_name_prefix="action")

    def submit(self, action: Action) -> Future[Performed]:
        """Run an action and store what it yields."""
        return self._pool.submit(self._run, action)

    def cancel(self, *, now: bool = False) -> None:
        """Stop what runs and forget what waits."""
        if now:
            self._control.killed.set()
        if not self._control.cancelled.is_set():
            self._control.cancelled.set()
            self._pool.shutdown(wait=False, cancel_futures=True)

    def close(self) -> None:
        """Wait for what runs."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _run(self, action: Action) -> Performed:
        self._control.check()
        waited = False

        def waiting() -> None:
            nonlocal waited
            self._control.check()
            if not waited:
                self._observer.emit(StepWaiting(action.address))
            waited = True

        with self._store.lock(action.key, waiting):
            if action.address not in self._forced or waited:
                trace = self._store.trace(action.key)
                if trace and self._trusted(trace) and all(map(self._store.has, trace.outputs.values())):
                    return Performed(trace, ran=False)
            return Performed(self._do(action))

    def _do(self, action: Action) -> Trace:
        began = time.perf_counter()
        with self._store.scratch() as scratch:
            result = self._perform(action, scratch, self._control)
            self._control.check()
            outputs = {name: self._store.put(path) for name, path in sorted(result.files.items())}
        trace = Trace(
            action.key,
            action.address,
            action.fingerprint.record(),
            outputs,
            result.summary,
            time.perf_counter() - began,
        )
        self._store.record(trace)
        return trace
