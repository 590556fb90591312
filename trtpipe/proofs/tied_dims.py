"""Candidate relations between dimensions: equal sizes, one the sum of two others, or one more than another.

The second size of a recurrent state is the batch of the input; the mask of a decoder with a cache is as long as the
cached and the new tokens together. Models often do not declare this. This module only lists candidates; the caller
tests which of them hold.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations, islice

Point = Mapping[str, int]
"""Dimension → its size."""

Tie = Mapping[str, tuple[tuple[str, ...], int]]
"""Dimension → the dimensions that it is the sum of, and what is added."""


def applied(tie: Tie, point: Point) -> dict[str, int]:
    """The point with the tied dimensions set from the others."""
    tied = {key: sum(point[one] for one in parts) + more for key, (parts, more) in tie.items()}
    return {**point, **tied}


def is_sum(tie: Tie) -> bool:
    """Whether it ties a dimension to more than one other size."""
    return any(len(parts) > 1 or more for parts, more in tie.values())


def equal_ties(point: Point, *, to_one: bool = False) -> Iterator[Tie]:
    """Every dimension but batches tied to another one, the last first; ties to a size of 1 are separate.

    Of dimensions with the same size at the point, only the first is used. Size 1 broadcasts, so nearly any model
    accepts it, and such ties should be tried last.
    """
    for key in _tieable(point):
        others = [other for other in _others(point, key, most=1) if (point[other] == 1) == to_one]
        yield from ({key: ((other,), 0)} for other in others)


def sum_ties(point: Point) -> Iterator[Tie]:
    """Every dimension but batches tied to the sum of two others, or to one more than another.

    Of dimensions with the same size at the point, only the first two are used.
    """
    for key in _tieable(point):
        others = [other for other in _others(point, key, most=2) if point[other] != 1]
        yield from ({key: (pair, 0)} for pair in combinations(others, 2))
        yield from ({key: ((other,), 1)} for other in others)


def ties_that_hold(point: Point) -> Iterator[Tie]:
    """Ties that hold at this point already, perhaps by chance: equal sizes, sums, one more than another."""
    keys = list(reversed(list(point)))
    for key in keys:
        same = (other for other in point if other != key and point[other] == point[key])
        yield from ({key: ((other,), 0)} for other in islice(same, 1))
    for key in keys:
        others = [other for other in point if other != key and point[other] < point[key]]
        yield from ({key: (p, 0)} for p in combinations(others, 2) if point[p[0]] + point[p[1]] == point[key])
        yield from ({key: ((other,), 1)} for other in others if point[other] + 1 == point[key])


def _tieable(point: Point) -> list[str]:
    """The dimensions to tie, the last first: those of size 1 are batches, to which others are tied."""
    return [key for key, size in reversed(list(point.items())) if size != 1]


def _others(point: Point, key: str, most: int) -> list[str]:
    """The first dimensions of each size, except the one in question."""
    found: dict[int, list[str]] = {}
    for other, size in point.items():
        if other != key and len(found.setdefault(size, [])) < most:
            found[size].append(other)
    return [other for others in found.values() for other in others]


def pairs_of_ties(point: Point) -> Iterator[Tie]:
    """Two dimensions tied at once, neither of them to the other."""
    for first, second in combinations(
        [*equal_ties(point), *equal_ties(point, to_one=True), *sum_ties(point)], 2
    ):
        (one, (parts, _)), (other, (more, _)) = *first.items(), *second.items()
        if one != other and one not in more and other not in parts:
            yield {**first, **second}
