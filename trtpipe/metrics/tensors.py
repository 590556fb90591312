"""Summary statistics of a tensor, and the top classes of a classifier's output. Independent of models."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from trtpipe.arrays import Array
    from trtpipe.json_values import Json

_AT_ONCE = 1 << 22  # elements looked at together: memory stays bounded, whatever the tensor's type


def described(array: Array) -> dict[str, Json]:
    """`min`, `max` and `mean` of the finite elements (None if there are none), and counts of NaN and infinities."""
    least, greatest, total, finite, nan, inf = np.inf, -np.inf, 0.0, 0, 0, 0
    flat = np.asarray(array).reshape(-1)
    for start in range(0, flat.size, _AT_ONCE):
        part = flat[start : start + _AT_ONCE].astype(np.float64)
        good = part[np.isfinite(part)]
        nan += int(np.isnan(part).sum())
        inf += int(np.isinf(part).sum())
        if good.size:
            least, greatest = min(least, float(good.min())), max(greatest, float(good.max()))
            total, finite = total + float(good.sum()), finite + good.size
    if not finite:
        return {"min": None, "max": None, "mean": None, "nan": nan, "inf": inf}
    return {"min": least, "max": greatest, "mean": total / finite, "nan": nan, "inf": inf}


def is_classification(shape: Sequence[int], dtype: str, classes: int | None) -> bool:
    """Whether an output looks like scores of classes, one row a sample: `[N, C]` floats, or C in the last of more
    axes that are all 1 behind the first."""
    if "float" not in dtype or len(shape) < 2:
        return False
    row, last = shape[1:-1], shape[-1]
    shaped = all(size == 1 for size in row) and last > 1
    trailing = [size for size in shape[1:] if size != 1]
    if not shaped and len(trailing) == 1:  # N x C x 1 x 1
        shaped, last = True, trailing[0]
    return shaped and (classes is None or last == classes)


def top_k(array: Array, count: int) -> list[list[tuple[int, float]]]:
    """Of each row the `count` classes with the highest scores, best first; of equal ones the lower index.

    NaN is last.
    """
    rows = np.asarray(array, np.float64).reshape(len(array), math.prod(array.shape[1:]))
    keys = np.where(np.isnan(rows), -np.inf, rows)
    order = np.argsort(-keys, axis=1, kind="stable")[:, :count]
    return [
        [(int(index), float(row[index])) for index in indices]
        for row, indices in zip(rows, order, strict=True)
    ]
