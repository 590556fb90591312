"""Fetches many things from a remote at a time, before they are requested one by one.

For a plan's traces this happens level by level, before the decisions; for the files of cells that are delivered without
running a step, before the build.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from trtpipe.delivery.cells import DELIVERED
from trtpipe.digests import Digest
from trtpipe.plan.address import Address
from trtpipe.plan.decisions import Decision, Restore, UpToDate
from trtpipe.plan.graph import Outputs, Plan, action_of
from trtpipe.stores.local import LocalStore
from trtpipe.stores.state import ProjectState


def prefetch_traces(plan: Plan, store: LocalStore, state: ProjectState) -> None:
    """Fetch the traces that a remote has for a plan's steps. A step's key is known only once its inputs are."""
    if not store.is_shared:
        return
    known: dict[Address, Outputs] = {}
    waiting = dict(plan.steps)
    while True:
        ready = {
            address: action_of(step, known).key
            for address, step in waiting.items()
            if all(up in known for up in step.upstream())
        }
        if not ready:
            return
        for address in ready:
            del waiting[address]
        store.prefetch(key for address, key in ready.items() if state.last_outputs(address, key) is None)
        known |= _found(ready, store, state)


def prefetch_files(
    plan: Plan, decisions: Mapping[Address, Decision], cells: Collection[str], store: LocalStore
) -> None:
    """Fetch the artifacts that are delivered with `cells`, for those whose steps are all known."""
    if not store.is_shared:
        return
    wanted: list[Digest] = []
    for cell in (cell for cell in plan.cells if cell.name in cells):
        known = {stage: decisions[address] for stage, address in cell.steps.items()}
        for stage, one in known.items():
            if all(isinstance(other, (UpToDate, Restore)) for other in known.values()):
                assert isinstance(one, (UpToDate, Restore))
                names = DELIVERED.get(stage, ())
                wanted += [digest for name, digest in one.outputs.items() if name in names]
    store.pull(wanted, strict=False)


def _found(ready: Mapping[Address, str], store: LocalStore, state: ProjectState) -> dict[Address, Outputs]:
    found: dict[Address, Outputs] = {}
    for address, key in ready.items():
        outputs = state.last_outputs(address, key)
        trace = store.trace(key) if outputs is None else None
        if outputs is not None or trace is not None:
            found[address] = outputs if outputs is not None else trace.outputs  # type: ignore[union-attr]
    return found
