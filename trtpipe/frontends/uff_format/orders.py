"""The order of a tensor's dimensions in the file: permutations from and to the canonical order.

A UFF order lists, axis by axis as the file has them, which canonical axis each is; canonical is NC followed by the
spatial axes (KC for kernels). INCREMENT after an axis stands for all following axes that are not listed elsewhere. So
channels last, N+C, is [0, 2, INCREMENT, 1], and a kernel's HWIO, +CK, is [2, INCREMENT, 1, 0].
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

INCREMENT = (1 << 31) - 1
ANY_RANK = -1

Permutation = tuple[int, ...]


def order_for(orders: Mapping[int, Sequence[int]], rank: int) -> Permutation:
    """The canonical axis of each axis of a tensor of this rank. Raises ValueError for an unfit order."""
    listed = orders.get(rank, orders.get(ANY_RANK))
    if listed is None:
        raise ValueError(f"no order for {rank} dimensions")
    axes: list[int] = []
    spread = rank - (len(listed) - 2) if INCREMENT in listed else 0
    for position, axis in enumerate(listed):
        if axis == INCREMENT:
            if position == 0 or not axes:
                raise ValueError(f"the order {list(listed)} begins with an increment")
            first = axes.pop()
            axes += range(first, first + spread)
        else:
            axes.append(axis + rank if axis < 0 else axis)
    if sorted(axes) != list(range(rank)):
        raise ValueError(f"the order {list(listed)} does not fit {rank} dimensions")
    return tuple(axes)


def inverse(permutation: Sequence[int]) -> Permutation:
    """The inverse permutation."""
    return tuple(sorted(range(len(permutation)), key=permutation.__getitem__))


def is_identity(permutation: Sequence[int]) -> bool:
    """Whether it leaves every axis where it is."""
    return list(permutation) == list(range(len(permutation)))
