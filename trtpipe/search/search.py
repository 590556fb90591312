"""Searches the cheapest assignment within the limits: uniform levels, sensitivities, greedy, refinement.

    uniform       every unit at the cheapest level, then at the next, until a level keeps the limits
    sensitivity   from that level, each unit alone is lowered as far as it can be: its noise per cost saved ranks it
    greedy        from the cheapest level, units are raised in the order of that rank; how many is bisected
    refine        each raised unit is tried at every cheaper level, those that save most first, until none can go down

Greedy selection by noise per cost is the usual heuristic for knapsack problems of this kind. Errors are neither
additive nor monotonic in the lowerings, so only assignments that were measured to be within the limits are accepted. At
the end no single unit can be lowered, unless the search ran into a limit first. Ties are broken by graph order, so the
same measurements give the same choice.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from trtpipe.search.choices import Assignment, Choice, Ladder, choice_of
from trtpipe.search.costs import Costs, total
from trtpipe.search.measurements import Bound, Ledger, Measured, Point, Stopped
from trtpipe.search.units import Unit


@dataclass(frozen=True, slots=True)
class Space:
    """The search space: units, the ladder of precisions, and the cost of each unit at each level."""

    ladder: Ladder
    units: tuple[Unit, ...]
    costs: Costs
    held: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Globs that the spec keeps whatever is chosen."""

    def choice(self, assigned: Assignment) -> Choice:
        """The choice that an assignment results in."""
        return choice_of(self.ladder, self.units, assigned, self.held)

    def uniform(self, level: int) -> Assignment:
        """Every unit at a level, or its own cheapest."""
        return self.ladder.uniform(self.units, level)

    def lowered(self, assigned: Assignment, unit: int, level: int) -> Assignment:
        """The assignment with one unit at another level."""
        return (*assigned[:unit], level, *assigned[unit + 1 :])

    def saving(self, assigned: Assignment, unit: int, level: int = 0) -> float:
        """The cost that lowering a unit would save."""
        lowest = self.ladder.lowest(self.units[unit])
        return self.costs[unit][assigned[unit]] - self.costs[unit][max(level, lowest)]


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """The effect on the outputs of lowering some units alone."""

    units: tuple[int, ...]
    noise: float
    """The error's power over the signal's, less that of the level they were lowered from."""
    measured: Measured
    saving: float


@dataclass(frozen=True, slots=True)
class Found:
    """The result of a search."""

    point: Point
    bounded: Bound
    sensitivities: tuple[tuple[Space, Sensitivity], ...]
    """Most sensitive for its cost first."""


class OutOfReach(Exception):
    """No measured assignment keeps the limits; `best` came nearest."""

    def __init__(self, best: Point | None, bounded: Bound) -> None:
        super().__init__()
        self.best, self.bounded = best, bounded


def search(spaces: Sequence[Space], ledger: Ledger) -> Found:
    """The cheapest assignment found that keeps the limits. Raises OutOfReach."""
    bounded: Bound = ""
    told: list[tuple[Space, Sensitivity]] = []
    try:
        for space in spaces:
            best = ledger.cheapest_inside()
            if best is None or total(space.costs, space.uniform(0)) < best.cost:
                _search_one(space, ledger, told)
    except Stopped as stop:
        bounded = stop.bound
    best = ledger.cheapest_inside()
    if best is None:
        raise OutOfReach(ledger.nearest(), bounded)
    return Found(best, bounded, tuple(told))


def measured(space: Space, ledger: Ledger, assigned: Assignment) -> Measured:
    """Measures an assignment. Raises Stopped."""
    return ledger.ask(space.choice(assigned), total(space.costs, assigned), assigned)


def sensitivities(space: Space, ledger: Ledger, wide: int, most: int) -> Iterator[Sensitivity]:
    """The sensitivity of every unit that can be lowered; of runs of units if there are more than `most`."""
    start = space.uniform(wide)
    floor = measured(space, ledger, start).noise
    movable = [i for i, unit in enumerate(space.units) if space.ladder.lowest(unit) < start[i]]
    runs = list(_runs(movable, max(most, 1)))
    assigned = [_lowered_alone(space, start, run) for run in runs]
    ledger.announce([space.choice(one) for one in assigned])
    for run, lowered in zip(runs, assigned, strict=True):
        found = measured(space, ledger, lowered)
        saving = sum(space.saving(start, index) for index in run)
        yield Sensitivity(tuple(run), max(found.noise - floor, 0.0), found, saving)


def _lowered_alone(space: Space, start: Assignment, run: Sequence[int]) -> Assignment:
    for index in run:
        start = space.lowered(start, index, space.ladder.lowest(space.units[index]))
    return start


def ranked(found: Sequence[Sensitivity]) -> list[Sensitivity]:
    """Sorted by harm per saved cost, the worst first."""
    return sorted(found, key=lambda one: (-_score(one), one.units))


def _runs(items: Sequence[int], most: int) -> Iterator[list[int]]:
    """Splits items into at most this many consecutive runs of about equal length."""
    count = min(most, len(items))
    for part in range(count):
        yield list(items[len(items) * part // count : len(items) * (part + 1) // count])


def _score(one: Sensitivity) -> float:
    return one.noise / one.saving if one.saving > 0 else float("inf")


def _search_one(space: Space, ledger: Ledger, told: list[tuple[Space, Sensitivity]]) -> None:
    wide = _narrowest_level(space, ledger)
    # None: no level keeps the limits. 0: the cheapest level does already, so there is nothing to search.
    if not wide:
        return
    ledger.phase = "sensitivity"
    # Half of the remaining evaluations is reserved for the greedy and refine phases.
    order = ranked(list(sensitivities(space, ledger, wide, ledger.room // 2)))
    told += [(space, one) for one in order]
    ledger.phase = "greedy"
    raised = _greedy(space, ledger, wide, order)
    ledger.phase = "refine"
    _refine(space, ledger, raised)
    _refine_cheapest(space, ledger)


def _narrowest_level(space: Space, ledger: Ledger) -> int | None:
    """The cheapest uniform level that keeps the limits everywhere; None if even the widest does not."""
    ledger.phase = "uniform"
    for level in range(len(space.ladder.levels)):
        if measured(space, ledger, space.uniform(level)).inside:
            return level
    return None


def _greedy(space: Space, ledger: Ledger, wide: int, order: Sequence[Sensitivity]) -> Assignment:
    """The units to raise, in ranked order, so that the limits are kept: as few as bisection finds."""

    def raised(count: int) -> Assignment:
        above = {index for one in order[:count] for index in one.units}
        low, high = space.uniform(0), space.uniform(wide)
        return tuple(high[i] if i in above else low[i] for i in range(len(low)))

    # Raising no unit is a uniform level that was measured to miss the limits; raising all is one that keeps
    # them.
    outside, inside = 0, len(order)
    while inside - outside > 1:
        middle = (outside + inside) // 2
        if measured(space, ledger, raised(middle)).inside:
            inside = middle
        else:
            outside = middle
    return raised(inside)


def _refine(space: Space, ledger: Ledger, assigned: Assignment) -> None:
    """Lowers units one at a time until none can be lowered; results are in the ledger."""
    measured(space, ledger, assigned)
    while True:
        lower = _one_lower(space, ledger, assigned)
        if lower is None:
            return
        assigned = lower


def _refine_cheapest(space: Space, ledger: Ledger) -> None:
    """Also refines the cheapest assignment measured so far, if it is cheaper than the greedy result."""
    # Refining can measure a point that is cheaper still, so it is repeated until the cheapest one has been
    # refined.
    known = None
    while (best := ledger.cheapest_inside()) is not None and best is not known:
        if len(best.assigned) != len(space.units) or space.choice(best.assigned) != best.choice:
            return  # the point belongs to another ladder, where it was refined
        known = best
        _refine(space, ledger, best.assigned)


def _one_lower(space: Space, ledger: Ledger, assigned: Assignment) -> Assignment | None:
    lowest = [space.ladder.lowest(unit) for unit in space.units]
    kept = [index for index, level in enumerate(assigned) if level > lowest[index]]
    changed = None
    for index in sorted(kept, key=lambda one: (-space.saving(assigned, one), one)):
        for level in range(lowest[index], assigned[index]):
            trial = space.lowered(assigned, index, level)
            if space.saving(assigned, index, level) > 0 and measured(space, ledger, trial).inside:
                assigned = changed = trial
                break
    return changed
