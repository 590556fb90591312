"""Asks a remote for a plan's traces level by level, many at a time, before the decisions ask for them one by one."""

from __future__ import annotations

from collections.abc import Mapping

from trtpipe.deciding import Outputs
from trtpipe.plan.graph import Plan, action_of
from trtpipe.stores.local import LocalStore
from trtpipe.stores.state import ProjectState


def prefetch_traces(plan: Plan, store: LocalStore, state: ProjectState) -> None:
    """Have the traces here that a remote holds for the steps of a plan. A key is known once its inputs are."""
    if not store.is_shared:
        return
    known: dict[str, Outputs] = {}
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


def _found(ready: Mapping[str, str], store: LocalStore, state: ProjectState) -> dict[str, Outputs]:
    found: dict[str, Outputs] = {}
    for address, key in ready.items():
        outputs = state.last_outputs(address, key)
        trace = store.trace(key) if outputs is None else None
        if outputs is not None or trace is not None:
            found[address] = outputs if outputs is not None else trace.outputs  # type: ignore[union-attr]
    return found
