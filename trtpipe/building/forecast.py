"""What a build would do for each cell. A cell whose steps all have results is judged by the current spec.

Nothing runs. What a plan says about steps is in `plan/decisions.py`; for a cell it is one of four:

    up to date       its files are in place and stay as they are
    to be delivered  its files come from the store
    would fail       no step must run, and a measurement misses a limit: nothing is delivered
    open             a step must or may run first, or the measurements are not on this machine
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from trtpipe.building.planned import Planned, runs
from trtpipe.building.silent import Unheard
from trtpipe.delivery.cells import Delivery
from trtpipe.errors import Problem, TrtpipeError, ValidationFailed
from trtpipe.plan.decisions import Restore, UpToDate

CellPromise: TypeAlias = Literal["up to date", "to be delivered", "would fail", "open"]

if TYPE_CHECKING:
    from trtpipe.plan.address import Address, Stage
    from trtpipe.plan.graph import Cell


@dataclass(frozen=True, slots=True)
class Foreseen:
    """The predicted result for one cell."""

    cell: str
    promise: CellPromise
    problems: tuple[Problem, ...] = ()
    """Of a cell that would fail: why."""


def foresee(planned: Planned) -> list[Foreseen]:
    """The prediction for every cell of the plan, in its order."""
    delivery = Delivery(planned.workspace, planned.specs, Unheard(), planned.targets)
    unsettled = set(runs(planned))
    return [_of(cell, planned, delivery, unsettled) for cell in planned.plan.cells]


def _of(
    cell: Cell,
    planned: Planned,
    delivery: Delivery,
    unsettled: Set[Address],
) -> Foreseen:
    if cell.name not in planned.undelivered:
        return Foreseen(cell.name, "up to date")
    if unsettled & set(cell.steps.values()):
        return Foreseen(cell.name, "open")
    found = {stage: planned.decisions[address] for stage, address in cell.steps.items()}
    keys = {stage: one.key for stage, one in found.items() if isinstance(one, (UpToDate, Restore))}
    if not _is_here(planned, keys):
        return Foreseen(cell.name, "open")
    problems = _problems_of(delivery, cell, keys)
    return Foreseen(cell.name, "would fail" if problems else "to be delivered", problems)


def _is_here(planned: Planned, keys: Mapping[Stage, str]) -> bool:
    """Whether the measurements that a cell is judged by are in the store on this machine."""
    store = planned.workspace.store
    engine = store.trace(keys["build_engine"])
    return engine is not None and store.has_here(engine.outputs["network.json"])


def _problems_of(delivery: Delivery, cell: Cell, keys: Mapping[Stage, str]) -> tuple[Problem, ...]:
    try:
        delivery.entry_of(cell, keys)
    except ValidationFailed as error:
        return error.problems
    except TrtpipeError:  # the trace is no longer in the store, so the build will run the step again
        return ()
    return ()
