"""`build --frozen`: cells are compared with the lockfile as they complete, and delivered together.

Results are compared, not the versions that made them: packages of other versions that yield the same bytes are only
reported. Nothing is delivered unless everything matches the lockfile. Results still go to the store, which is a cache
and therefore never wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from trtpipe.errors import TrtpipeError
from trtpipe.lockfile import Lock
from trtpipe.lockfile.comparison import Difference, between, mismatch
from trtpipe.plan.address import Address, Stage
from trtpipe.plan.graph import Cell
from trtpipe.workspace.held_steps import MEASURING, Held, agreement_events, apart, refuse_other_result

if TYPE_CHECKING:
    from trtpipe.building.outcome import Outcome
    from trtpipe.delivery.cells import Delivery

REBUILT_OTHERWISE = (
    "`trtpipe build --check` shows how they differ; `trtpipe build` writes the results of this machine"
)


@dataclass(slots=True)
class KeptTo:
    """The lockfile that a build must match, and the cells that match it so far."""

    lock: Lock
    delivery: Delivery
    held: list[tuple[Cell, Mapping[Stage, str], bool]] = field(default_factory=list)
    steps: dict[Address, Held] = field(default_factory=dict)
    """The results of steps that are in the lockfile."""
    excused: list[Difference] = field(default_factory=list)
    """Measurements that differ because of other packages or another kind of processor."""

    def hold(self, held: Held | None) -> None:
        """Compare a finished step with the lockfile. Raises ResultDiffers."""
        if held is not None:
            refuse_other_result(held)
            self.steps[held.address] = held

    def take(self, cell: Cell, keys: Mapping[Stage, str], *, built: bool) -> None:
        """Compare a complete cell with the lockfile. Raises LockMismatch, ValidationFailed, StoreError."""
        entry = self.delivery.entry_of(cell, keys)
        found = between(cell.name, self.lock.cells.get(cell.name, {}), entry)
        measured = [self.steps.get(address) for stage, address in cell.steps.items() if stage in MEASURING]
        differences, excused = apart(found, measured)
        if differences:
            raise mismatch(differences, REBUILT_OTHERWISE)
        self.excused += excused
        self.held.append((cell, keys, built))

    def deliver(self, outcome: Outcome) -> list[tuple[Cell, Mapping[Stage, str]]]:
        """Deliver every cell if all match the lockfile, and return them; otherwise report them as not built."""
        if outcome.failures or outcome.blocked:
            outcome.blocked += [cell.name for cell, _, _ in self.held]
            return []
        delivered = [
            (cell, keys) for cell, keys, built in self.held if self._deliver(outcome, cell, keys, built)
        ]
        for event in agreement_events(self.steps.values(), self.excused):
            self.delivery.observer.emit(event)
        return delivered

    def _deliver(self, outcome: Outcome, cell: Cell, keys: Mapping[Stage, str], built: bool) -> bool:
        try:
            changed = self.delivery.deliver(cell, keys, built=built)
        except TrtpipeError as error:
            outcome.failures.append((cell.name, error))
            return False
        outcome.count(cell.name, ran=built, changed=changed)
        return True
