"""The measurements of all typed models that a search has evaluated, and the limits on evaluations.

Each choice is evaluated once. Limits count every evaluation requested, even if its result was already in the store: a
search with a limit on evaluations finds the same choice with a full store as with an empty one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from trtpipe.search.choices import Assignment, Choice

if TYPE_CHECKING:
    from trtpipe.json_values import Json

Bound = Literal["", "max_evaluations", "max_seconds"]


@dataclass(frozen=True, slots=True)
class Measured:
    """The measurements of one typed model."""

    inside: bool
    """Whether it keeps every limit: the budget, and the thresholds."""
    value: float | None
    """The budget's metric, of the worst output."""
    excess: float
    """How far outside all limits it is; 0 inside."""
    noise: float
    """The error's power over the signal's; infinite when something is not finite."""
    weight_bytes: int = 0
    missed: tuple[str, ...] = ()
    """The limits that it misses, each in a sentence; empty inside."""
    over_budget: bool = False
    """Whether the budget is one of them."""

    @property
    def why(self) -> str:
        """The missed limits, in words; empty if none is missed."""
        return "; ".join(self.missed)


@dataclass(frozen=True, slots=True)
class Point:
    """A typed model that was measured, and its cost."""

    choice: Choice
    cost: float
    measured: Measured
    assigned: Assignment = ()
    """The levels of the units that it came from."""

    def to_json(self) -> dict[str, Json]:
        """The point as a JSON object, with the number of globs per kept precision; infinite values are None."""
        one = self.measured
        return {
            "precision": self.choice.precision,
            "kept": {name: len(globs) for name, globs in self.choice.keep.items()},
            "cost": rounded(self.cost),
            "weight_bytes": one.weight_bytes,
            "value": rounded(one.value),
            "noise": rounded(one.noise),
            "inside": one.inside,
        }


class Stopped(Exception):
    """A limit was reached."""

    def __init__(self, bound: Bound) -> None:
        super().__init__(bound)
        self.bound: Bound = bound


@dataclass(slots=True)
class Ledger:
    """All points of one search, in the order of evaluation."""

    measure: Callable[[Choice], Measured]
    most: int
    out_of_time: Callable[[], bool] = lambda: False
    tell: Callable[[str, int], None] = lambda phase, count: None
    """Hears the phase and how many were asked."""
    ahead: Callable[[Sequence[Choice]], None] = lambda choices: None
    """Hears choices that will all be asked for one after the other, so that they can be measured at the same time."""
    phase: str = ""
    points: dict[str, Point] = field(default_factory=dict)

    @property
    def room(self) -> int:
        """How many more evaluations the limits allow."""
        return self.most - len(self.points)

    def ask(self, choice: Choice, cost: float, assigned: Assignment = ()) -> Measured:
        """The point of a choice, from the ledger or measured now. Raises Stopped at a limit."""
        key = repr(choice.to_json())
        known = self.points.get(key)
        if known is not None:
            return known.measured
        if self.room < 1:
            raise Stopped("max_evaluations")
        if self.out_of_time():
            raise Stopped("max_seconds")
        measured = self.measure(choice)
        self.points[key] = Point(choice, cost, measured, assigned)
        self.tell(self.phase, len(self.points))
        return measured

    def announce(self, choices: Sequence[Choice]) -> None:
        """Say which choices will be asked for next, as far as the limits allow."""
        unknown = [one for one in choices if repr(one.to_json()) not in self.points]
        self.ahead(unknown[: max(self.room, 0)])

    def cheapest_inside(self) -> Point | None:
        """The cheapest point inside every limit; of equal ones the more exact, then the first."""
        inside = [point for point in self.points.values() if point.measured.inside]
        return min(inside, key=lambda one: (one.cost, one.measured.noise), default=None)

    def nearest(self) -> Point | None:
        """The point that misses the fewest limits, by the least; of equal ones the more exact, then the first."""

        def distance(one: Point) -> tuple[int, float, float]:
            return len(one.measured.missed), one.measured.excess, one.measured.noise

        return min(self.points.values(), key=distance, default=None)

    def front(self) -> list[Point]:
        """The Pareto front in cost and error, from the cheapest point on."""
        found: list[Point] = []
        for point in sorted(self.points.values(), key=lambda one: (one.cost, one.measured.noise)):
            if not found or point.measured.noise < found[-1].measured.noise:
                found.append(point)
        return found


def rounded(value: float | None) -> float | None:
    """Eight significant digits; None for values that JSON cannot represent."""
    return float(f"{value:.8g}") if value is not None and math.isfinite(value) else None
