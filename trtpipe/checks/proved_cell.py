"""Plans and proves the cell that a command is about, so that its steps can be brought up to date."""

from __future__ import annotations

from collections.abc import Sequence

from trtpipe.building.planned import Planned, make_plan
from trtpipe.checks.check import prove_before_building
from trtpipe.errors import PlanError, SpecError
from trtpipe.plan.address import Address, Stage
from trtpipe.plan.graph import Cell
from trtpipe.plan.ports import Observer
from trtpipe.problem_codes import Code
from trtpipe.workspace.workspace import open_workspace


def planned_variant(
    name: str, observer: Observer, *, specs: Sequence[str] = (), offline: bool = False
) -> tuple[Planned, Cell]:
    """The plan of a cell (`digits/int8@ada`, or `digits/int8` for any of its targets), and the cell.

    Raises SpecError, also for everything that `check` rejects.
    """
    planned = make_plan(open_workspace(specs, (_glob(name),)))
    cells = planned.plan.cells
    if len({(cell.pipeline, cell.variant) for cell in cells}) > 1:
        raise SpecError(Code.AMBIGUOUS_NAME, f"{name!r} matches cells of several variants", _name_one(cells))
    prove_before_building(planned, offline=offline, observer=observer)
    return planned, cells[0]


def planned_cell(name: str, specs: Sequence[str]) -> tuple[Planned, Cell]:
    """The plan of exactly one cell, and the cell. Nothing is proved. Raises SpecError and what a plan raises."""
    planned = make_plan(open_workspace(specs, (_glob(name),)))
    cells = planned.plan.cells
    if len(cells) > 1:
        raise SpecError(Code.AMBIGUOUS_NAME, f"{name!r} matches several cells", _name_one(cells))
    return planned, cells[0]


def step_of(cell: Cell, stage: Stage) -> Address:
    """The address of a cell's step. Raises PlanError when it has none."""
    if stage not in cell.steps:
        raise PlanError(Code.NO_SUCH_STEP, f"{cell.name} has no step {stage}")
    return cell.steps[stage]


def _glob(name: str) -> str:
    return name if "@" in name else f"{name}@*"


def _name_one(cells: Sequence[Cell]) -> str:
    return "name one of " + ", ".join(cell.name for cell in cells)
