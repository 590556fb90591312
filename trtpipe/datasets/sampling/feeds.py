"""One model input and the array that feeds it: what must fit is checked, and rows become input values.

`(array * scale - mean) / std` is computed in float32 (float64 for float64 arrays), in this order, and left out when all
three are neutral; then the axes are moved and the type is changed. Knows nothing of batches or files.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from trtpipe.canonical.summary import Dim, TensorInfo
from trtpipe.datasets import Source
from trtpipe.datasets.random import RandomArray
from trtpipe.errors import Problem, SpecError
from trtpipe.shapes import format_shape
from trtpipe.spec.dataset import InputSpec

_AXES = {"nchw_to_nhwc": (0, 2, 3, 1), "nhwc_to_nchw": (0, 3, 1, 2)}


@dataclass(frozen=True)
class Feed:
    """One input, its array, and how one becomes the other."""

    info: TensorInfo
    spec: InputSpec
    source: Source
    array: str
    dtype: Any

    @property
    def sliced(self) -> bool:
        """Whether the array's first axis counts samples."""
        return not self.spec.constant

    @property
    def one_by_one(self) -> bool:
        """Whether a sample is a whole batch."""
        return isinstance(self.source, RandomArray) and self.source.one_by_one

    def shape(self, count: int) -> tuple[int, ...]:
        """The input's shape when `count` samples are fed."""
        shape = self.source.shape
        if self.sliced:
            shape = shape[1:] if self.one_by_one else (count, *shape[1:])
        axes = _AXES.get(self.spec.layout)
        return tuple(shape[axis] for axis in axes) if axes else shape

    def values(self, indices: Any) -> Any:
        """The input's value for these samples. Raises SpecError when one is NaN or infinite."""
        array = self.source.rows(indices) if self.sliced else self.source.whole()
        if self.sliced and self.one_by_one:
            array = array[0]
        array = self._normalised(array)
        axes = _AXES.get(self.spec.layout)
        if axes:
            array = array.transpose(axes)
        with np.errstate(over="ignore", invalid="ignore"):
            made = np.ascontiguousarray(array.astype(self.dtype)).reshape(array.shape)
        self._require_finite(made, indices)
        if array.dtype.kind in "iu" and made.dtype.kind in "iu" and not np.array_equal(made, array):
            raise SpecError(Problem(f"array '{self.array}' holds integers that do not fit {made.dtype}"))
        return made

    def _normalised(self, array: Any) -> Any:
        given = self.spec
        if given.scale == 1.0 and set(given.mean) == {0.0} and set(given.std) == {1.0}:
            return array
        kind = np.float64 if array.dtype == np.float64 else np.float32
        axis = self.channel_axis()
        made = array.astype(kind) * kind(given.scale)
        return (made - _along(given.mean, made.ndim, axis, kind)) / _along(given.std, made.ndim, axis, kind)

    def channel_axis(self) -> int:
        """The axis of the array that mean and std run along: the second, or the last when that fits instead."""
        rank = len(self.source.shape)
        if self.spec.layout == "nhwc_to_nchw":
            return rank - 1
        many = max(len(self.spec.mean), len(self.spec.std))
        fits = rank > 1 and self.source.shape[1] == many
        return 1 if fits or self.spec.layout == "nchw_to_nhwc" else rank - 1

    def _require_finite(self, made: Any, indices: Any) -> None:
        if made.dtype.kind != "f" or np.isfinite(made).all():
            return
        bad = ~np.isfinite(made)
        what = "NaN" if np.isnan(made).any() else "an infinity"
        place = ""
        if self.sliced and not self.one_by_one:
            row = int(np.flatnonzero(bad.reshape(len(made), -1).any(axis=1))[0])
            place = f" in sample {int(indices[row])}"
        fact = f"array '{self.array}' gives input '{self.info.name}' {what}{place} as {made.dtype}"
        raise SpecError(
            Problem(fact, "clean the data, or correct scale, mean and std", path=("inputs", self.info.name))
        )


def _along(values: tuple[float, ...], rank: int, axis: int, kind: Any) -> Any:
    array = np.asarray(values, kind)
    return array.reshape([-1 if dim == axis else 1 for dim in range(rank)]) if len(values) > 1 else array[0]


def feed_problems(feed: Feed) -> Iterator[Problem]:
    """Everything about one feed that can be told from types and dims alone."""
    path = ("inputs", feed.info.name)
    if 0 in feed.source.shape:
        yield Problem(f"array '{feed.array}' is empty ({format_shape(feed.source.shape)})", path=path)
        return
    if feed.sliced and not feed.source.shape:
        remedy = f"say inputs: {{{feed.info.name}: {{constant: true}}}} to feed it with every batch"
        yield Problem(
            f"array '{feed.array}' is a scalar: it has no axis that counts samples", remedy, path=path
        )
        return
    yield from _layout_problems(feed)
    yield from _type_problems(feed)
    if 0.0 in feed.spec.std:
        yield Problem(f"input '{feed.info.name}' has a std of 0", path=(*path, "std"))


def _layout_problems(feed: Feed) -> Iterator[Problem]:
    path = ("inputs", feed.info.name)
    rank = len(feed.source.shape)
    if feed.spec.layout in _AXES and rank != 4:
        fact = f"layout {feed.spec.layout} needs an array of rank 4, but '{feed.array}' has rank {rank}"
        yield Problem(fact, path=(*path, "layout"))
        return
    for field in ("mean", "std"):
        values = getattr(feed.spec, field)
        if len(values) > 1 and len(values) != feed.source.shape[feed.channel_axis()]:
            fact = f"{field} of input '{feed.info.name}' has {len(values)} values, but array '{feed.array}'"
            yield Problem(f"{fact} is {format_shape(feed.source.shape)}", path=(*path, field))
    yield from _shape_problems(feed)


def _shape_problems(feed: Feed) -> Iterator[Problem]:
    dims = feed.info.dims
    if dims is None:
        return
    shape = feed.shape(1)
    found = f"array '{feed.array}' gives {format_shape(shape)}"
    needs = f"input '{feed.info.name}' is {_dims_text(dims)}"
    if len(shape) != len(dims):
        yield Problem(
            f"{found}, rank {len(shape)}, but {needs}, rank {len(dims)}", path=("inputs", feed.info.name)
        )
        return
    first = 1 if feed.sliced and not feed.one_by_one else 0
    wrong = [
        axis for axis in range(first, len(dims)) if isinstance(dims[axis], int) and dims[axis] != shape[axis]
    ]
    if wrong:
        yield Problem(f"{found}, but {needs}: axis {wrong[0]} differs", path=("inputs", feed.info.name))


def _dims_text(dims: tuple[Dim, ...]) -> str:
    return "x".join("?" if dim is None else str(dim) for dim in dims) or "scalar"


def _type_problems(feed: Feed) -> Iterator[Problem]:
    path = ("inputs", feed.info.name)
    wanted = np.dtype(feed.dtype)
    if wanted.name != feed.info.dtype:
        fact = f"input '{feed.info.name}' is {feed.info.dtype}, but the data set says dtype {wanted.name}"
        yield Problem(fact, f"write dtype: {feed.info.dtype}, or leave it out", path=(*path, "dtype"))
        return
    has = np.dtype(feed.source.dtype)
    if feed.spec.dtype is None and not np.can_cast(has, wanted, "same_kind"):
        fact = f"array '{feed.array}' is {has.name}, but input '{feed.info.name}' is {wanted.name}"
        yield Problem(fact, f"say dtype: {wanted.name} if the conversion is meant", path=path)
