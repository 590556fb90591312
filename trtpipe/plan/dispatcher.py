"""Gives actions to an executor, a few at a time, and runs each only once among all processes that share the store.

It stands between the scheduler, which decides when an action runs, and the executor, which decides how. An action's key
is locked while it runs. A process that had to wait for the lock checks again whether the work has been done meanwhile.
Independent of plans.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from trtpipe.plan.control import Control
from trtpipe.plan.events import StepWaiting
from trtpipe.plan.graph import Action, Outputs
from trtpipe.plan.ports import Executor, Observer, Performed, Store
from trtpipe.plan.trace import Trace
from trtpipe.timings import span, waited_since


class Dispatcher:
    """A thread pool that locks, runs and records each action."""

    def __init__(
        self,
        store: Store,
        executor: Executor,
        *,
        jobs: int,
        observer: Observer,
        believed: Callable[[Trace], bool] = lambda trace: True,
    ) -> None:
        """`believed` decides whether a trace in the store may be used instead of running its action."""
        self._store = store
        self._executor = executor
        self._observer = observer
        self._believed = believed
        self.control = Control()
        self._pool = ThreadPoolExecutor(max_workers=jobs, thread_name_prefix="action")

    def submit(self, action: Action, *, anew: bool = False) -> Future[Performed]:
        """Run an action. The future raises StepFailed, Interrupted or another TrtpipeError.

        With `anew`, a result in the store is not used, unless another build has produced it just now.
        """
        return self._pool.submit(self._run, action, anew, time.monotonic())

    def has(self, outputs: Outputs) -> bool:
        """Whether the store still has all of these artifacts."""
        return all(map(self._store.has, outputs.values()))

    def cancel(self, *, now: bool = False) -> None:
        """Stops running actions, gracefully or at once, and discards waiting ones."""
        if now:
            self.control.killed.set()
        if not self.control.cancelled.is_set():
            self.control.cancelled.set()
            self._pool.shutdown(wait=False, cancel_futures=True)

    def close(self) -> None:
        """Waits for running actions."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _run(self, action: Action, anew: bool, asked: float) -> Performed:
        self.control.check()
        waited_since(asked, str(action.address))

        def tell() -> None:
            self._observer.emit(StepWaiting(action.address))

        def execute() -> Trace:
            return self._executor.execute(action, self.control)

        known = None if anew else self._known
        with span(str(action.address), "step"):
            return run_once(action, execute, self._store, self.control, Lookup(known, self._known), tell)

    def _known(self, action: Action) -> Trace | None:
        trace = self._store.trace(action.key)
        # The store may have lost artifacts that the trace still names.
        return trace if trace and self._believed(trace) and self.has(trace.outputs) else None


@dataclass(frozen=True, slots=True)
class Lookup:
    """Finds a result that can be used instead of executing an action, or None."""

    known: Callable[[Action], Trace | None] | None
    """None where the action must run whatever is known."""
    just_done: Callable[[Action], Trace | None]
    """After waiting for another build's lock."""


def run_once(
    action: Action,
    execute: Callable[[], Trace],
    store: Store,
    control: Control,
    past: Lookup,
    waits: Callable[[], None] = lambda: None,
) -> Performed:
    """Executes an action under its key's lock, unless its result is already known by then.

    `waits` is called once when waiting for another build's lock begins.
    """
    waited = False

    def waiting() -> None:
        nonlocal waited
        control.check()
        if not waited:
            waits()
        waited = True

    with store.lock(action.key, waiting):
        # Whoever held the lock has most likely just done this action: its result is new enough even for a
        # forced step.
        find = past.just_done if waited else past.known
        trace = find(action) if find is not None else None
        return Performed(trace, ran=False) if trace is not None else Performed(execute())
