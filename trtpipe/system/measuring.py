"""Brings one step of a plan up to date, with those before it, outside of a build."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from trtpipe.digests import Digest
from trtpipe.errors import PlanError, SpecError
from trtpipe.executors.local import LocalExecutor
from trtpipe.lockfile import choices_in, load_lock
from trtpipe.plan.graph import Cell, Plan, Stage, action_of
from trtpipe.plan.ports import Observer
from trtpipe.plan.trace import Trace
from trtpipe.system.building import Planned, make_plan
from trtpipe.system.checking import prove_before_building
from trtpipe.system.performing import Performer
from trtpipe.system.workspace import open_workspace


@dataclass(frozen=True, slots=True)
class UpToDate:
    """A step that is up to date."""

    trace: Trace
    outputs: Mapping[str, Mapping[str, Digest]]
    """What every step up to it yielded, by address."""
    performer: Performer


def planned_cell(name: str, observer: Observer, *, offline: bool = False) -> tuple[Planned, Cell]:
    """The plan of a cell (`digits/int8@ada`, or `digits/int8` for any of its targets), and the cell.

    What `check` refuses is refused. Raises SpecError.
    """
    glob = name if "@" in name else f"{name}@*"
    planned = make_plan(open_workspace((), (glob,)))
    cells = planned.plan.cells
    if len({(cell.pipeline, cell.variant) for cell in cells}) > 1:
        listed = ", ".join(cell.name for cell in cells)
        raise SpecError(f"{name!r} means cells of several variants", f"name one of {listed}")
    prove_before_building(planned, offline=offline, observer=observer)
    return planned, cells[0]


def brought_up_to_date(
    planned: Planned, cell: Cell, stage: Stage, observer: Observer, *, offline: bool = False
) -> UpToDate:
    """A cell's step, run if need be as a build would run it. Raises what a build raises."""
    store = planned.workspace.store
    store.open()
    locked = choices_in(load_lock(planned.workspace.lockfile).every_entry())
    performer = Performer(store, observer, planned.workspace.state.digest, offline, locked=locked)
    executor = LocalExecutor(store, performer, jobs=1, observer=observer)
    outputs: dict[str, Mapping[str, Digest]] = {}
    trace: Trace | None = None
    try:
        for address in _ancestors(planned.plan, cell.steps[stage]):
            trace = executor.submit(action_of(planned.plan.steps[address], outputs)).result().trace
            outputs[address] = trace.outputs
    except KeyboardInterrupt:
        executor.cancel(now=True)
        raise
    finally:
        executor.close()
    planned.workspace.state.save()
    if trace is None:
        raise PlanError(f"{cell.name} has no step {stage}")
    return UpToDate(trace, outputs, performer)


def _ancestors(plan: Plan, address: str) -> list[str]:
    """A step and all that it needs, in the plan's order."""
    wanted, pending = {address}, [address]
    while pending:
        for up in plan.steps[pending.pop()].upstream():
            if up not in wanted:
                wanted.add(up)
                pending.append(up)
    return [one for one in plan.steps if one in wanted]
