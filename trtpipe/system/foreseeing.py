"""What a build would say of cells whose steps are all known: judged by the spec as it stands now, and nothing runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trtpipe.errors import Problem, TrtpipeError, ValidationFailed
from trtpipe.system.delivering import Delivery
from trtpipe.system.planned import Planned
from trtpipe.system.unheard import Unheard

if TYPE_CHECKING:
    from trtpipe.plan.address import Stage
    from trtpipe.plan.graph import Cell


@dataclass(frozen=True, slots=True)
class Foreseen:
    """A cell that a build would not deliver, though none of its steps has to run."""

    cell: str
    problems: tuple[Problem, ...]


def foresee(planned: Planned) -> list[Foreseen]:
    """The cells that would fail.

    Left out are cells with a step that must run first, and those of which something would have to be fetched.
    """
    delivery = Delivery(planned.workspace, planned.specs, Unheard(), planned.targets)
    actions = planned.actions()
    waiting = (cell for cell in planned.plan.cells if cell.name in planned.undelivered)
    known = (cell for cell in waiting if set(cell.steps.values()) <= actions.keys())
    found = []
    for cell in known:
        keys = {stage: actions[one].key for stage, one in cell.steps.items()}
        problems = _problems_of(delivery, cell, keys) if _is_here(planned, keys) else ()
        if problems:
            found.append(Foreseen(cell.name, problems))
    return found


def _is_here(planned: Planned, keys: Mapping[Stage, str]) -> bool:
    """Whether the store on this machine has what a cell is judged by."""
    store = planned.workspace.store
    engine = store.trace(keys["build_engine"])
    return engine is not None and store.has_here(engine.outputs["network.json"])


def _problems_of(delivery: Delivery, cell: Cell, keys: Mapping[Stage, str]) -> tuple[Problem, ...]:
    try:
        delivery.entry_of(cell, keys)
    except ValidationFailed as error:
        return error.problems
    except TrtpipeError:  # a trace that is gone: the build makes it again
        return ()
    return ()
