"""Delta debugging: finds a minimal subset of items for which a test still holds.

Zeller and Hildebrandt, "Simplifying and isolating failure-inducing input" (2002): halves and complements of ever finer
partitions are tried, continuing with the first for which the test holds. The result is 1-minimal: no single item can be
removed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

Item = TypeVar("Item")


def trim(items: Sequence[Item], does: Callable[[Sequence[Item]], bool]) -> list[Item]:
    """A contiguous run of items for which `does` holds, found by bisection: first its end, then its beginning.

    `does` must hold for all items. The run is minimal if adding items never makes `does` false.
    """
    items = list(items)
    end = _least(len(items), lambda size: does(items[:size]))
    items = items[:end]
    return items[len(items) - _least(len(items), lambda size: does(items[len(items) - size :])) :]


def _least(most: int, does: Callable[[int], bool]) -> int:
    """A size for which `does` holds but not for the next smaller one, found by bisection; it must hold for `most`."""
    low, high = 0, most
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if does(middle) else (middle, high)
    return high


def ddmin(items: Sequence[Item], does: Callable[[Sequence[Item]], bool]) -> list[Item]:
    """A 1-minimal subset for which `does` holds, in the items' order; `does` must hold for all of them.

    Empty when it holds for none of them.
    """
    left = list(items)
    if not left or does([]):
        return []
    parts = 2
    while len(left) >= 2:
        smaller, now = _smaller(left, parts, does)
        if smaller is None:
            if parts >= len(left):
                break
            parts = min(len(left), parts * 2)
        else:
            left, parts = smaller, max(2, min(now, len(smaller)))
    return left


def _smaller(
    left: list[Item], parts: int, does: Callable[[Sequence[Item]], bool]
) -> tuple[list[Item] | None, int]:
    """A smaller subset or complement for which `does` holds, and the granularity to continue with."""
    pieces = list(_pieces(left, parts))
    for piece in pieces:
        if len(piece) < len(left) and does(piece):
            return piece, 2
    # Of two parts, the complement of one is the other, which was tried above.
    if parts > 2:
        for index in range(len(pieces)):
            rest = [item for i, piece in enumerate(pieces) if i != index for item in piece]
            if does(rest):
                return rest, parts - 1
    return None, parts


def _pieces(items: list[Item], parts: int) -> Iterator[list[Item]]:
    start = 0
    for index in range(parts):
        end = start + (len(items) - start) // (parts - index)
        if end > start:
            yield items[start:end]
        start = end
