"""The limits of a reduction (trials and time), and the best result so far.

Independent of what a trial is.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Candidate = TypeVar("Candidate")


class Spent(Exception):
    """The trials or the time are used up."""


@dataclass
class Trials(Generic[Candidate]):
    """Tries candidates: remembers answers by key, counts what runs, keeps the last that still fails the same way."""

    run: Callable[[Candidate], bool]
    """Whether a candidate still fails in the same way."""
    key: Callable[[Candidate], str]
    best: Candidate
    most: int | None = None
    seconds: float | None = None
    tell: Callable[[str, int], None] = lambda phase, count: None
    clock: Callable[[], float] = time.monotonic
    phase: str = ""
    count: int = 0
    known: dict[str, bool] = field(default_factory=dict)
    _began: float = field(init=False)

    def __post_init__(self) -> None:
        self._began = self.clock()

    def still_fails(self, candidate: Candidate) -> bool:
        """Whether the candidate fails alike; if so, it is the best so far. Raises Spent when no trial is left."""
        key = self.key(candidate)
        if key not in self.known:
            if self.most is not None and self.count >= self.most:
                raise Spent(f"{self.most} trials")
            if self.seconds is not None and self.clock() - self._began > self.seconds:
                raise Spent(f"{self.seconds:g} s")
            self.count += 1
            self.known[key] = self.run(candidate)
            self.tell(self.phase, self.count)
        if self.known[key]:
            self.best = candidate
        return self.known[key]
