"""The steps of one cell, run as a build would, and which of them fail: what `debug repro` and `reduce` start from.

Failures leave no trace in the store, so a failed step is run again to see its failure; what it takes is there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from trtpipe.digests import Digest
from trtpipe.errors import ModelError, Problem, SpecError, StepFailed, TrtpipeError
from trtpipe.executors.local import LocalExecutor
from trtpipe.lockfile import choices_in, load_lock
from trtpipe.plan.graph import Action, Cell, Stage, action_of
from trtpipe.plan.ports import Observer
from trtpipe.system.building import Planned, make_plan
from trtpipe.system.performing import Performer
from trtpipe.system.workspace import open_workspace

_OF_THE_STEP = (StepFailed, ModelError, SpecError)
"""What a step's own work ends in; a toolchain or a store that is missing is another matter."""


@dataclass(frozen=True, slots=True)
class Failing:
    """A step that failed, and how."""

    action: Action
    error: TrtpipeError


@dataclass
class CellSteps:
    """A cell's steps, as far as they were run."""

    planned: Planned
    cell: Cell
    performer: Performer
    observer: Observer
    scratch: Path
    outputs: dict[str, Mapping[str, Digest]] = field(default_factory=dict)
    failed: dict[str, Failing] = field(default_factory=dict)

    def run(self, *stages: Stage) -> Failing | None:
        """Run what the cell's steps of these stages need, and them; the first failure of all that ran.

        What stands behind a failed step is left out. Raises what is no failure of a step (no toolchain, no store).
        """
        executor = LocalExecutor(self.performer.store, self.performer, jobs=1, observer=self.observer)
        try:
            for address in self._needed([self.cell.steps[one] for one in stages if one in self.cell.steps]):
                self._run(executor, address)
        except KeyboardInterrupt:
            executor.cancel(now=True)
            raise
        finally:
            executor.close()
        return next(iter(self.failed.values()), None)

    def action(self, stage: Stage) -> Action | None:
        """The action of a stage's step; None when it has none, or when what it takes is not known."""
        address = self.cell.steps.get(stage, "")
        step = self.planned.plan.steps.get(address)
        if step is None or any(up not in self.outputs for up in step.upstream()):
            return None
        return action_of(step, self.outputs)

    def _run(self, executor: LocalExecutor, address: str) -> None:
        step = self.planned.plan.steps[address]
        if address in self.outputs or address in self.failed:
            return
        if any(up not in self.outputs for up in step.upstream()):
            return
        action = action_of(step, self.outputs)
        try:
            self.outputs[address] = executor.submit(action).result().trace.outputs
        except _OF_THE_STEP as error:
            self.failed[address] = Failing(action, error)

    def _needed(self, wanted: Sequence[str]) -> list[str]:
        steps, found, pending = self.planned.plan.steps, set(wanted), list(wanted)
        while pending:
            for up in steps[pending.pop()].upstream():
                if up not in found:
                    found.add(up)
                    pending.append(up)
        return [address for address in steps if address in found]


@contextmanager
def open_cell(name: str, specs: Sequence[str], observer: Observer) -> Iterator[CellSteps]:
    """The steps of exactly one cell, while the context lasts; nothing has run yet.

    Raises SpecError and what a plan raises. Nothing is proved beforehand: what `check` would refuse is to fail here,
    too.
    """
    planned = make_plan(open_workspace(specs, (name if "@" in name else f"{name}@*",)))
    cell = _one_cell(planned, name)
    store = planned.workspace.store
    store.open()
    locked = choices_in(load_lock(planned.workspace.lockfile).every_entry())
    performer = Performer(store, observer, planned.workspace.state.digest, locked=locked)
    with store.scratch() as scratch:
        yield CellSteps(planned, cell, performer, observer, scratch)
    planned.workspace.state.save()


def _one_cell(planned: Planned, name: str) -> Cell:
    cells = planned.plan.cells
    if len(cells) > 1:
        listed = ", ".join(cell.name for cell in cells)
        raise SpecError(Problem(f"{name!r} means several cells", f"name one of {listed}"))
    return cells[0]
