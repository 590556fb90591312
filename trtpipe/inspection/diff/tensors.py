"""The distance of two tensors of the same shape, computed in chunks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from trtpipe.weights.pieces import WeightStream

if TYPE_CHECKING:
    from trtpipe.arrays import Array


@dataclass(frozen=True, slots=True)
class WeightChange:
    """A weight that changed. Shapes and types are (old, new); `a` and `b` are its names.

    Changes are in float64, None where shapes differ, or nothing is finite on both sides: `largest` is
    max |new - old|; `relative` the same by max |old|, and `mean_relative` mean |new - old| by mean |old| (None
    where old is all zeros); `changed` counts elements.
    """

    a: str
    b: str
    dtypes: tuple[str, str]
    dims: tuple[tuple[int, ...] | None, tuple[int, ...] | None]
    elements: int
    changed: int | None = None
    largest: float | None = None
    relative: float | None = None
    mean_relative: float | None = None


def compare_tensors(a: WeightStream, b: WeightStream) -> WeightChange | None:
    """The change from A to B; None when type, shape and every value are equal. Raises ModelError."""
    same_kind = (a.dtype, a.dims) == (b.dtype, b.dims)
    change = WeightChange(a.name, b.name, (a.dtype, b.dtype), (a.dims, b.dims), a.count)
    if a.count != b.count or a.dims != b.dims:
        return change
    changed, largest, total, most, size = _measured(a, b)
    if same_kind and not changed:
        return None
    relative = None if largest is None else _ratio(largest, most)
    mean = None if largest is None else _ratio(total, size)
    return WeightChange(a.name, b.name, change.dtypes, change.dims, a.count, changed, largest, relative, mean)


def _measured(a: WeightStream, b: WeightStream) -> tuple[int, float | None, float, float, float]:
    """Elements that changed, the largest change, the sum of changes, and the largest and sum of the old magnitudes."""
    import numpy as np

    changed, largest, total, most, size, any_finite = 0, 0.0, 0.0, 0.0, 0.0, a.count == 0
    for one, other in zip(a.pieces(), b.pieces(), strict=True):
        if one.tobytes() == other.tobytes() and a.dtype == b.dtype:
            differs = np.zeros(one.shape, bool)
        else:
            differs = np.not_equal(one, other) & ~(_is_nan(one) & _is_nan(other))
        changed += int(np.count_nonzero(differs))
        complex_ = np.iscomplexobj(one) or np.iscomplexobj(other)
        kind = np.complex128 if complex_ else np.float64
        with np.errstate(all="ignore"):
            old, new = one.astype(kind), other.astype(kind)
            finite = np.isfinite(old) & np.isfinite(new)
            apart, magnitude = np.abs(new[finite] - old[finite]), np.abs(old[finite])
            if apart.size:
                any_finite = True
                largest, most = max(largest, float(apart.max())), max(most, float(magnitude.max()))
                total, size = total + float(apart.sum()), size + float(magnitude.sum())
    return changed, largest if any_finite else None, total, most, size


def _is_nan(values: Array) -> Array:
    """Where values are NaN, also for types whose NaN numpy's isnan does not support."""
    import numpy as np

    return np.not_equal(values, values)


def _ratio(part: float, whole: float) -> float | None:
    if not part:
        return 0.0
    return part / whole if whole else None
