"""Engines of a build that are proved on the GPUs of a fleet while the build goes on: what a build needs of that.

How an engine is run and its proof written is in `app/prove/build_proofs.py`; here the cell is judged again with its
proof.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from trtpipe.building.outcome import Outcome
from trtpipe.building.silent import Unheard
from trtpipe.delivery.cells import Delivery
from trtpipe.delivery.failing_inputs import told
from trtpipe.errors import TrtpipeError, ValidationFailed
from trtpipe.plan.address import Stage
from trtpipe.plan.graph import Cell


@dataclass(frozen=True, slots=True)
class Run:
    """The end of one run: the proof is beside the engine, or there is an error."""

    cell: Cell
    error: TrtpipeError | None = None
    """Why the engine failed on the GPU."""
    kept: Sequence[Path] = ()
    """The inputs on which a threshold was missed."""


class Proving(Protocol):
    """Runs engines elsewhere, each as soon as it is delivered."""

    def why_not_run(self, cell: Cell) -> str:
        """Why a cell's engine has no proof at the moment."""

    def begin(self, cell: Cell) -> None:
        """A cell was delivered; its engine is run, unless no machine can or it is proved already."""

    def ended(self) -> Iterator[Run]:
        """The runs that have ended since the last call."""

    def wait(self, interrupted: Callable[[], int]) -> Iterator[Run]:
        """The other runs, each when it ends; after Ctrl-C none."""


@dataclass(slots=True)
class ProvedCells:
    """The delivered cells of a build whose engines are being proved."""

    delivery: Delivery
    outcome: Outcome
    proving: Proving | None
    keys: dict[str, Mapping[Stage, str]] = field(default_factory=dict)

    def begin(self, cell: Cell, keys: Mapping[Stage, str]) -> None:
        """A cell was delivered."""
        if self.proving is not None:
            self.keys[cell.name] = keys
            self.proving.begin(cell)

    def take_ended(self) -> None:
        """Judge cells again whose engines have run meanwhile."""
        for run in self.proving.ended() if self.proving is not None else ():
            self._take(run)

    def wait(self, interrupted: Callable[[], int]) -> None:
        """Wait for the other engines, and judge their cells again."""
        for run in self.proving.wait(interrupted) if self.proving is not None else ():
            self._take(run)

    def _take(self, run: Run) -> None:
        """Write manifest and lockfile entry with the proof; a cell that misses a threshold is taken back."""
        cell, root = run.cell, self.delivery.workspace.root
        try:
            if run.error is not None:
                raise run.error
            quietly = replace(self.delivery, observer=Unheard())  # that it is delivered was told before
            quietly.deliver(cell, self.keys[cell.name], built=False)
        except TrtpipeError as error:
            failure = error
            if isinstance(error, ValidationFailed):
                failure = ValidationFailed(told(error.problems, run.kept, root))
            self.outcome.failures.append((cell.name, failure))
            self.outcome.discount(cell.name)
            self.delivery.withdraw(cell)
