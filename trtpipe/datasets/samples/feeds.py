"""One model input and the array that feeds it: rows become input values, and values that cannot be meant are found.

`(array * scale - mean) / std` is computed in float32 (float64 for float64 arrays), in this order, and left out when all
three are neutral; then the axes are moved and the type is changed. Knows nothing of batches or files.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeVar

import numpy as np

from trtpipe.canonical.summary import TensorInfo
from trtpipe.datasets import Source
from trtpipe.datasets.pixels.arrays import ImageArray
from trtpipe.datasets.random import RandomArray
from trtpipe.errors import Problem, SpecError
from trtpipe.problem_codes import Code
from trtpipe.spec.dataset import InputSpec

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

    from trtpipe.arrays import Array, Dtype
    from trtpipe.datasets import Indices

Dim = TypeVar("Dim", int, int | None)

LEAST_VARIED = 16
"""Values from which on a sample must not be constant: a length or a scale factor may well be."""
_AXES = {"nchw_to_nhwc": (0, 2, 3, 1), "nhwc_to_nchw": (0, 3, 1, 2)}
_REMEDIES = {
    "nonfinite": "clean the data, or correct scale, mean and std",
    "constant": "take it out, or say inputs: {%s: {allow_constant: true}} if it is meant (a mask, a state)",
}


@dataclass(frozen=True, slots=True)
class Fault:
    """A sample whose values cannot be meant: NaN or infinities, or one value only."""

    index: int
    kind: Literal["nonfinite", "constant"]
    what: str


@dataclass(frozen=True)
class Feed:
    """One input, its array, and how one becomes the other."""

    info: TensorInfo
    spec: InputSpec
    source: Source
    array: str
    dtype: Dtype

    @property
    def sliced(self) -> bool:
        """Whether the array's first axis counts samples."""
        return not self.spec.constant

    @property
    def is_image(self) -> bool:
        """Whether the array holds decoded images."""
        return isinstance(self.source, ImageArray)

    @property
    def one_by_one(self) -> bool:
        """Whether a sample is a whole batch."""
        return isinstance(self.source, RandomArray) and self.source.one_by_one

    @property
    def varies(self) -> bool:
        """Whether samples differ in their dims."""
        return None in self.source.shape[1:]

    @property
    def axes(self) -> tuple[int, ...] | None:
        """How the array's axes are moved."""
        if self.is_image:
            return None if self.spec.layout == "nhwc" else _AXES["nhwc_to_nchw"]
        return _AXES.get(self.spec.layout or "as_is")

    def shape(self, count: int) -> tuple[int | None, ...]:
        """The input's shape when `count` samples are fed; None where samples differ."""
        shape = self.source.shape
        if self.sliced:
            shape = shape[1:] if self.one_by_one else (count, *shape[1:])
        return self._moved(shape)

    def shape_at(self, index: int, count: int) -> tuple[int, ...]:
        """The input's shape when `count` samples like this one are fed, values unread. Raises SpecError."""
        if not self.sliced or self.one_by_one:
            return tuple(dim or 0 for dim in self.shape(count))
        return self._moved((count, *self.source.shape_at(index)))

    def _moved(self, shape: tuple[Dim, ...]) -> tuple[Dim, ...]:
        return tuple(shape[axis] for axis in self.axes) if self.axes else shape

    def values(self, indices: Indices) -> Array:
        """The input's value for these samples. Raises SpecError naming every one that cannot be meant."""
        made = self.made(indices)
        faults = self.faults(made, indices)
        if faults:
            raise SpecError([self.problem(fault) for fault in faults])
        return made

    def made(self, indices: Indices) -> Array:
        """The input's value for these samples, whatever it holds. Raises SpecError where it cannot be made."""
        array = self.source.rows(indices) if self.sliced else self.source.whole()
        if self.sliced and self.one_by_one:
            array = array[0]
        array = self._normalised(array)
        if self.axes:
            array = array.transpose(self.axes)
        with np.errstate(over="ignore", invalid="ignore"):
            made = np.ascontiguousarray(array.astype(self.dtype)).reshape(array.shape)
        if array.dtype.kind in "iu" and made.dtype.kind in "iu" and not np.array_equal(made, array):
            raise SpecError(
                Problem(
                    Code.ARRAY_VALUES, f"array '{self.array}' holds integers that do not fit {made.dtype}"
                )
            )
        return made

    def faults(self, made: Array, indices: Indices) -> list[Fault]:
        """What of a value cannot be meant, sample by sample; a constant array's are told of its first."""
        if not self.sliced or self.one_by_one:
            return [fault for fault in [self._fault(made, 0)] if fault and fault.kind == "nonfinite"]
        found = (self._fault(row, int(index)) for row, index in zip(made, indices, strict=True))
        return [fault for fault in found if fault]

    def _fault(self, row: Array, index: int) -> Fault | None:
        if row.dtype.kind not in "iub" and not np.isfinite(row).all():
            return Fault(index, "nonfinite", "NaN" if np.isnan(row).any() else "an infinity")
        judged = row.size >= LEAST_VARIED and not self.spec.allow_constant
        if judged and (self.is_image or row.dtype.kind not in "iub") and (row == row.flat[0]).all():
            return Fault(index, "constant", f"{float(row.flat[0]):g}")
        return None

    def problem(self, fault: Fault) -> Problem:
        """A fault in words, at the input's place in the data set's spec."""
        name = self.info.name
        sample = self.source.name_of(fault.index)
        if fault.kind == "nonfinite":
            place = f" in {sample}" if self.sliced and not self.one_by_one else ""
            fact = f"array '{self.array}' gives input '{name}' {fault.what}{place} as {self.dtype}"
        else:
            fact = (
                f"{sample} of array '{self.array}' is constant: every value of input '{name}' is {fault.what}"
            )
        remedy = _REMEDIES[fault.kind]
        return Problem(
            Code.ARRAY_VALUES, fact, remedy % name if "%" in remedy else remedy, path=("inputs", name)
        )

    def _normalised(self, array: Array) -> Array:
        given = self.spec
        if given.scale == 1.0 and set(given.mean) == {0.0} and set(given.std) == {1.0}:
            return array
        kind = np.float64 if array.dtype == np.float64 else np.float32
        axis = self.channel_axis()
        made = array.astype(kind) * kind(given.scale)
        mean, std = (along(values, made.ndim, axis, kind) for values in (given.mean, given.std))
        scaled: Array = (made - mean) / std
        return scaled

    def channel_axis(self) -> int:
        """The axis of the array that mean and std run along: the second, or the last when that fits instead."""
        rank = len(self.source.shape)
        if self.is_image or self.spec.layout == "nhwc_to_nchw":
            return rank - 1
        many = max(len(self.spec.mean), len(self.spec.std))
        fits = rank > 1 and self.source.shape[1] == many
        return 1 if fits or self.spec.layout == "nchw_to_nhwc" else rank - 1


def along(values: tuple[float, ...], rank: int, axis: int, kind: DTypeLike) -> Array:
    """The values as an array that runs along one axis of an array of this rank; one value as it is."""
    array = np.asarray(values, kind)
    return array.reshape([-1 if dim == axis else 1 for dim in range(rank)]) if len(values) > 1 else array[0]


def feed_of(info: TensorInfo, given: InputSpec, source: Source, array: str) -> Feed:
    """The feed of an input from an array, which is brought to what the input says. Raises SpecError."""
    try:
        dtype = np.dtype(given.dtype or info.dtype)
        if dtype.hasobject or dtype.kind in "USmMc" or dtype.type is np.void:
            raise TypeError("no numbers that a network takes")
    except TypeError as error:
        what = f"input '{info.name}' has type {given.dtype or info.dtype}, which numpy cannot hold"
        raise SpecError(Problem(Code.ARRAY_TYPE, what, path=("inputs", info.name))) from error
    if isinstance(source, RandomArray):
        source = source.typed(dtype)
    if isinstance(source, ImageArray):
        source = source.prepared(given)
    return Feed(info, given, source, array, dtype)


def problems_of_images(feed: Feed) -> Iterator[Problem]:
    """What an input says of images when its array holds none, and what images do not take."""
    from trtpipe.spec.dataset import IMAGE_FIELDS

    path = ("inputs", feed.info.name)
    layout = feed.spec.layout
    if not feed.is_image:
        for field in IMAGE_FIELDS:
            if getattr(feed.spec, field) is not None:
                yield Problem(
                    Code.IMAGE_OPTIONS,
                    f"{field} is for images, but array '{feed.array}' holds numbers",
                    path=(*path, field),
                )
        if layout in ("nchw", "nhwc"):
            other = "nhwc_to_nchw" if layout == "nchw" else "nchw_to_nhwc"
            remedy = f"write layout: {other}, or leave it out"
            yield Problem(
                Code.IMAGE_OPTIONS,
                f"layout {layout} is for images, but '{feed.array}' holds numbers",
                remedy,
                path=(*path, "layout"),
            )
        return
    if layout not in (None, "nchw", "nhwc"):
        yield Problem(
            Code.UNKNOWN_VALUE,
            f"images are loaded as nchw or nhwc, not {layout}",
            "write layout: nchw",
            path=(*path, "layout"),
        )
    padding = feed.spec.pad_value or (0,)
    if len(padding) not in (1, feed.source.shape[-1]):
        fact = f"pad_value of input '{feed.info.name}' has {len(padding)} values for {feed.source.shape[-1]} channels"
        yield Problem(Code.IMAGE_OPTIONS, fact, path=(*path, "pad_value"))
