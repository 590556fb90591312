"""Converts rows of an array to the values of one model input, and finds values that must be mistakes (such as NaN).

`(array * scale - mean) / std` is computed in float32 (float64 for float64 arrays), in this order, and skipped when all
three have no effect; then the axes are permuted and the type is converted. Independent of batches and files.
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
"""From this many values on, a constant sample is an error; a smaller one may be a length or scale factor."""
_AXES = {"nchw_to_nhwc": (0, 2, 3, 1), "nhwc_to_nchw": (0, 3, 1, 2)}
_REMEDIES = {
    "nonfinite": "clean the data, or correct scale, mean and std",
    "constant": "take it out, or write inputs: {%s: {allow_constant: true}} if it is meant (a mask, a state)",
}


@dataclass(frozen=True, slots=True)
class Fault:
    """A sample whose values must be a mistake: NaN or infinities, or a single value throughout."""

    index: int
    kind: Literal["nonfinite", "constant"]
    what: str


@dataclass(frozen=True)
class Feed:
    """One input, its array, and the conversion from the array to the input."""

    info: TensorInfo
    spec: InputSpec
    source: Source
    array: str
    dtype: Dtype

    @property
    def sliced(self) -> bool:
        """Whether the array's first axis is the sample axis."""
        return not self.spec.constant

    @property
    def is_image(self) -> bool:
        """Whether the array holds decoded images."""
        return isinstance(self.source, ImageArray)

    @property
    def one_by_one(self) -> bool:
        """Whether one sample is a whole batch."""
        return isinstance(self.source, RandomArray) and self.source.one_by_one

    @property
    def varies(self) -> bool:
        """Whether the dims of samples differ."""
        return None in self.source.shape[1:]

    @property
    def axes(self) -> tuple[int, ...] | None:
        """The permutation of the array's axes."""
        if self.is_image:
            return None if self.spec.layout == "nhwc" else _AXES["nhwc_to_nchw"]
        return _AXES.get(self.spec.layout or "as_is")

    def shape(self, count: int) -> tuple[int | None, ...]:
        """The input's shape for a batch of `count` samples; None for dims that differ between samples."""
        shape = self.source.shape
        if self.sliced:
            shape = shape[1:] if self.one_by_one else (count, *shape[1:])
        return self._moved(shape)

    def shape_at(self, index: int, count: int) -> tuple[int, ...]:
        """The input's shape for `count` samples like this one, without reading values. Raises SpecError."""
        if not self.sliced or self.one_by_one:
            return tuple(dim or 0 for dim in self.shape(count))
        return self._moved((count, *self.source.shape_at(index)))

    def _moved(self, shape: tuple[Dim, ...]) -> tuple[Dim, ...]:
        return tuple(shape[axis] for axis in self.axes) if self.axes else shape

    def values(self, indices: Indices) -> Array:
        """The input's value for these samples. Raises SpecError naming every sample with a fault."""
        made = self.made(indices)
        faults = self.faults(made, indices)
        if faults:
            raise SpecError([self.problem(fault) for fault in faults])
        return made

    def made(self, indices: Indices) -> Array:
        """The input's value for these samples, with any faults. Raises SpecError when it cannot be made."""
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
                    Code.ARRAY_VALUES, f"array '{self.array}' contains integers that do not fit {made.dtype}"
                )
            )
        return made

    def faults(self, made: Array, indices: Indices) -> list[Fault]:
        """The faults in a value, sample by sample; those of a constant array are reported for its first sample."""
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
        """A fault as a problem at the input's place in the data set's spec."""
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
        """The array axis that mean and std apply to: the second, or the last when the second does not fit."""
        rank = len(self.source.shape)
        if self.is_image or self.spec.layout == "nhwc_to_nchw":
            return rank - 1
        many = max(len(self.spec.mean), len(self.spec.std))
        fits = rank > 1 and self.source.shape[1] == many
        return 1 if fits or self.spec.layout == "nchw_to_nhwc" else rank - 1


def along(values: tuple[float, ...], rank: int, axis: int, kind: DTypeLike) -> Array:
    """Values reshaped to broadcast along one axis of an array of this rank; a single value is returned as it is."""
    array = np.asarray(values, kind)
    return array.reshape([-1 if dim == axis else 1 for dim in range(rank)]) if len(values) > 1 else array[0]


def feed_of(info: TensorInfo, given: InputSpec, source: Source, array: str) -> Feed:
    """The feed of an input from an array, with the conversion that the input declares. Raises SpecError."""
    try:
        dtype = np.dtype(given.dtype or info.dtype)
        if dtype.hasobject or dtype.kind in "USmMc" or dtype.type is np.void:
            raise TypeError("no numbers that a network can use")
    except TypeError as error:
        what = f"input '{info.name}' has type {given.dtype or info.dtype}, which numpy does not support"
        raise SpecError(Problem(Code.ARRAY_TYPE, what, path=("inputs", info.name))) from error
    if isinstance(source, RandomArray):
        source = source.typed(dtype)
    if isinstance(source, ImageArray):
        source = source.prepared(given)
    return Feed(info, given, source, array, dtype)


def problems_of_images(feed: Feed) -> Iterator[Problem]:
    """Problems of image settings on an input without images, and of settings that images do not support."""
    from trtpipe.spec.dataset import IMAGE_FIELDS

    path = ("inputs", feed.info.name)
    layout = feed.spec.layout
    if not feed.is_image:
        for field in IMAGE_FIELDS:
            if getattr(feed.spec, field) is not None:
                yield Problem(
                    Code.IMAGE_OPTIONS,
                    f"{field} applies to images, but array '{feed.array}' contains numbers",
                    path=(*path, field),
                )
        if layout in ("nchw", "nhwc"):
            other = "nhwc_to_nchw" if layout == "nchw" else "nchw_to_nhwc"
            remedy = f"write layout: {other}, or leave it out"
            yield Problem(
                Code.IMAGE_OPTIONS,
                f"layout {layout} is for images, but '{feed.array}' contains numbers",
                remedy,
                path=(*path, "layout"),
            )
        return
    if layout not in (None, "nchw", "nhwc"):
        yield Problem(
            Code.UNKNOWN_VALUE,
            f"images can be loaded only as nchw or nhwc, not {layout}",
            "write layout: nchw",
            path=(*path, "layout"),
        )
    padding = feed.spec.pad_value or (0,)
    if len(padding) not in (1, feed.source.shape[-1]):
        fact = f"pad_value of input '{feed.info.name}' has {len(padding)} values for {feed.source.shape[-1]} channels"
        yield Problem(Code.IMAGE_OPTIONS, fact, path=(*path, "pad_value"))
