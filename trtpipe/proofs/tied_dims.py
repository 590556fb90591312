"""Dimensions whose sizes may go together: one equals another, the sum of two, or one more than another.

The second size of a recurrent state is the batch of the input; a mask of a decoder with a cache is as long as what is
cached and what is new. A model need not say so. Which ties hold is tried by whoever asks; this only lists them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations

Point = Mapping[str, int]
"""Dimension → its size."""

Tie = Mapping[str, tuple[tuple[str, ...], int]]
"""Dimension → the dimensions that it is the sum of, and what is added."""


def applied(tie: Tie, point: Point) -> dict[str, int]:
    """The point with tied dimensions as the others demand."""
    tied = {key: sum(point[one] for one in parts) + more for key, (parts, more) in tie.items()}
    return {**point, **tied}


def is_sum(tie: Tie) -> bool:
    """Whether it ties something to more than one other size."""
    return any(len(parts) > 1 or more for parts, more in tie.values())


def single_ties(point: Point) -> Iterator[Tie]:
    """Every dimension tied to others, one at a time; likely ties first."""
    keys = list(point)
    for key in reversed(keys):
        yield from ({key: ((other,), 0)} for other in keys if other != key)
    for key in reversed(keys):
        others = [other for other in keys if other != key]
        yield from ({key: (pair, 0)} for pair in combinations(others, 2))
        yield from ({key: ((other,), 1)} for other in others)


def ties_that_hold(point: Point) -> Iterator[Tie]:
    """Those of the single ties that this point has already, by chance or not."""
    yield from (tie for tie in single_ties(point) if applied(tie, point) == point)


def pairs_of_ties(point: Point) -> Iterator[Tie]:
    """Two dimensions tied at once, neither of them to the other."""
    for first, second in combinations(single_ties(point), 2):
        (one, (parts, _)), (other, (more, _)) = *first.items(), *second.items()
        if one != other and one not in more and other not in parts:
            yield {**first, **second}
