"""The outcome of a build: cells, failures and steps, filled in while it runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from trtpipe.errors import TrtpipeError
from trtpipe.fleet.records import Placed
from trtpipe.lockfile import Entry


@dataclass(slots=True)
class Outcome:
    """The outcome of a build."""

    built: list[str] = field(default_factory=list)
    """Cells whose engine was built now."""
    restored: list[str] = field(default_factory=list)
    """Cells whose files came from the store."""
    fresh: list[str] = field(default_factory=list)
    failures: list[tuple[str, TrtpipeError]] = field(default_factory=list)
    """Step address or cell → why."""
    blocked: list[str] = field(default_factory=list)
    lock_changed: bool = False
    locked: Mapping[str, Entry] = field(default_factory=dict)
    """The lockfile's cells as they were before."""
    steps: dict[str, tuple[str, float | None]] = field(default_factory=dict)
    """The result of each step that was reached, and its seconds if it ran."""
    placed: tuple[Placed, ...] = ()
    """Where and when machines of a fleet ran steps."""

    def discount(self, cell: str) -> None:
        """Note that a delivered cell was taken back."""
        for names in (self.built, self.restored, self.fresh):
            if cell in names:
                names.remove(cell)

    def count(self, cell: str, *, ran: bool, changed: bool) -> None:
        """Note a cell that was delivered."""
        (self.built if ran else self.restored if changed else self.fresh).append(cell)
