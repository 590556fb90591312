"""Runs actions on this machine, each in processes of its own.

An action runs in a scratch directory; its files are put into the store, then its trace is recorded. An interrupted
action leaves only a scratch directory, which the next build removes. How a stage is run is decided by the `perform`
function that is passed in.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from trtpipe.digests import Digest
from trtpipe.plan.control import Control
from trtpipe.plan.graph import Action
from trtpipe.plan.ports import ActionResult, Store
from trtpipe.plan.trace import Trace
from trtpipe.timings import span

Perform = Callable[[Action, Path, Control], ActionResult]
"""Runs one action in a scratch directory; raises StepFailed or another TrtpipeError."""


@dataclass(frozen=True, slots=True)
class LocalExecutor:
    """Runs an action in the thread that asks for it, which waits for the action's processes."""

    store: Store
    perform: Perform

    def execute(self, action: Action, control: Control) -> Trace:
        """Run an action, store what it yields and record its trace."""
        return carry_out(action, self.perform, self.store, control)


def carry_out(
    action: Action, perform: Perform, store: Store, control: Control, folder: Path | None = None
) -> Trace:
    """Perform an action in a scratch directory, store what it yields and record its trace.

    That directory is `folder` if it is given: one on the store's file system, which its owner removes. Raises
    Interrupted when `control` says so, StoreError, and what performing raises.
    """
    began = time.perf_counter()
    with store.scratch() if folder is None else nullcontext(folder) as scratch:
        result = perform(action, scratch, control)
        control.check()
        seconds = time.perf_counter() - began

        def trace_of(outputs: Mapping[str, Digest]) -> Trace:
            record = action.fingerprint.record()
            return Trace(action.key, str(action.address), record, outputs, result.summary, seconds)

        with span("put the outputs and the trace into the store", "store"):
            return store.keep(result.files, trace_of)
