"""Runs the steps of one cell as a build would, and finds those that fail: for `debug repro` and `debug reduce`.

Failures leave no trace in the store, so a failed step is run again to see its failure; its inputs are there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from trtpipe.building.on_fleet import jobs_of
from trtpipe.building.performer import Terms
from trtpipe.building.planned import FleetFor, Planned, on_this_machine
from trtpipe.building.steps import Steps
from trtpipe.checks.proved_cell import planned_cell
from trtpipe.errors import ModelError, SpecError, StepFailed, TrtpipeError
from trtpipe.plan.address import Address, Stage
from trtpipe.plan.graph import Action, Cell
from trtpipe.plan.ports import Observer
from trtpipe.plan.scheduler import Done, Failed

_OF_THE_STEP = (StepFailed, ModelError, SpecError)
"""Errors of a step's own work, as opposed to a missing toolchain or store."""


@dataclass(frozen=True, slots=True)
class Failing:
    """A step that failed, and its error."""

    action: Action
    error: TrtpipeError


@dataclass
class CellSteps:
    """A cell's steps, and the results of those that were run."""

    planned: Planned
    cell: Cell
    steps: Steps
    observer: Observer
    scratch: Path
    failed: dict[Address, Failing] = field(default_factory=dict)

    def run(self, *stages: Stage) -> Failing | None:
        """Run the cell's steps of these stages and all that they need; returns the first failure.

        Steps that depend on a failed one are skipped. Raises errors that are not a step's failure (no toolchain, no
        store).
        """
        wanted = [self.cell.steps[one] for one in stages if one in self.cell.steps]
        for address, result in self.steps.bring(wanted, keep_going=True).items():
            if isinstance(result, Failed):
                if not isinstance(result.error, _OF_THE_STEP):
                    raise result.error
                self.failed[address] = Failing(self.steps.action(address), result.error)
        return next(iter(self.failed.values()), None)

    def action(self, stage: Stage) -> Action | None:
        """The action of a stage's step; None when there is no such step, or its inputs are not known."""
        address = self.cell.steps.get(stage)
        if address is None:
            return None
        before = self.planned.plan.steps[address].upstream()
        known = all(isinstance(self.steps.results.get(up), Done) for up in before)
        return self.steps.action(address) if known else None


@contextmanager
def open_cell(
    name: str, specs: Sequence[str], observer: Observer, fleet_for: FleetFor = on_this_machine
) -> Iterator[CellSteps]:
    """The steps of exactly one cell, while the context lasts; nothing has run yet.

    Raises SpecError and what a plan raises. Nothing is checked beforehand, so that what `check` would refuse fails here
    too.
    """
    planned, cell = planned_cell(name, specs)
    with ExitStack() as stack:
        fleet = stack.enter_context(fleet_for(planned))
        steps = stack.enter_context(planned.steps(observer, Terms(jobs=jobs_of(fleet), fleet=fleet)))
        yield CellSteps(planned, cell, steps, observer, stack.enter_context(steps.store.scratch()))
    planned.workspace.state.save()
