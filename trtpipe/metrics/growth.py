"""How errors grow through a graph, tensor by tensor: finds where an error arises that the inputs do not explain.

A tensor's error is |a - r| / |r| (2-norms over all elements of all samples). Its inputs explain the largest error among
the tensors before it, and the types on the way to it explain a unit roundoff: half the distance of 1 to the next number
of a floating type (IEEE 754), half a step of a full scale for an integer type. Its growth is its error over the larger
of the two.

Independent of models and runners.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from trtpipe.metrics.metrics import json_number

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trtpipe.arrays import Array
    from trtpipe.json_values import Json

UNITS = {
    "float64": 2.0**-53, "float32": 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-8,
    "float8_e4m3fn": 2.0**-4, "float8_e5m2": 2.0**-3, "float4_e2m1fn": 2.0**-2,
    "int8": 1 / 127, "uint8": 1 / 127, "int4": 1 / 7, "uint4": 1 / 7,
}  # fmt: skip
"""Unit roundoff by type; of integers, that of a value which takes half of the scale."""
GROWTH = 4.0
"""More than this times what is explained is a divergence."""
_PIECE = 1 << 20


@dataclass(slots=True)
class TensorError:
    """The error of one tensor, accumulated batch by batch."""

    elements: int = 0
    error: float = 0.0
    """Sum of (a - r)^2, over elements where both are finite."""
    signal: float = 0.0
    largest_error: float = 0.0
    largest: float = 0.0
    nan: int = 0
    inf: int = 0
    onset: int = 0
    """Elements that are not finite and whose reference is."""

    def add(self, reference: Array, actual: Array) -> None:
        """Takes in a batch: arrays of one shape."""
        r, a = np.ravel(np.asarray(reference)), np.ravel(np.asarray(actual))
        for start in range(0, r.size, _PIECE):
            piece = slice(start, start + _PIECE)
            self._add(r[piece].astype(np.float64), a[piece].astype(np.float64))

    def _add(self, r: NDArray[np.float64], a: NDArray[np.float64]) -> None:
        fine = np.isfinite(a)
        both = fine & np.isfinite(r)
        off = np.abs(a[both] - r[both])
        self.elements += r.size
        self.error += float(np.square(off).sum())
        self.signal += float(np.square(r[both]).sum())
        self.largest_error = max(self.largest_error, float(off.max(initial=0.0)))
        self.largest = max(self.largest, float(np.abs(r[both]).max(initial=0.0)))
        self.nan += int(np.isnan(a).sum())
        self.inf += int(np.isinf(a).sum())
        self.onset += int((~fine & np.isfinite(r)).sum())

    def relative(self) -> float:
        """|a - r| / |r|."""
        if self.onset:
            return math.inf
        if not self.signal:
            return math.inf if self.error else 0.0
        return math.sqrt(self.error / self.signal)


@dataclass(frozen=True, slots=True)
class Place:
    """A tensor that the typed model and the reference both have, with the tensors directly before it."""

    tensor: str
    op: str
    node: str
    dtype: str
    inputs: Sequence[str] = ()
    """The tensors before it that are compared, too."""
    dtypes: Sequence[str] = ()
    """The types of everything on the way from there, its own included."""
    measured: TensorError = field(default_factory=TensorError)

    @property
    def unit(self) -> float:
        """The unit roundoff of the narrowest type on the way; 0 for exact types."""
        return max((UNITS.get(one, 0.0) for one in self.dtypes), default=0.0)


@dataclass(frozen=True, slots=True)
class Grown:
    """A tensor's error, and the error that its inputs and types explain."""

    place: Place
    error: float
    inputs_error: float
    growth: float

    def to_json(self) -> dict[str, Json]:
        """Plain data for a report."""
        measured = self.place.measured
        return {
            "tensor": self.place.tensor,
            "op": self.place.op,
            "node": self.place.node,
            "type": self.place.dtype,
            "error": json_number(self.error),
            "inputs_error": json_number(self.inputs_error),
            "unit": self.place.unit,
            "growth": json_number(self.growth),
            "largest_error": measured.largest_error,
            "largest": measured.largest,
            "elements": measured.elements,
            "nan": measured.nan,
            "inf": measured.inf,
            "not_finite_where_reference_is": measured.onset,
        }


def grown(places: Sequence[Place]) -> list[Grown]:
    """The growth at each place, in the order given, which must be topological."""
    known = {one.tensor: one.measured.relative() for one in places}
    return [_grown(one, known) for one in places]


def _grown(place: Place, known: Mapping[str, float]) -> Grown:
    error = place.measured.relative()
    before = max((known[name] for name in place.inputs if name in known), default=0.0)
    explained = max(before, place.unit)
    growth = 0.0 if not error else math.inf if not explained else error / explained
    if math.isinf(error) and math.isinf(before):
        growth = 1.0
    return Grown(place, error, before, growth)


def first_divergence(found: Sequence[Grown]) -> Grown | None:
    """The first tensor whose error exceeds `GROWTH` times the explained error."""
    return next((one for one in found if one.growth > GROWTH), None)


def first_nonfinite(found: Sequence[Grown]) -> Grown | None:
    """The first tensor that is not finite where its reference is."""
    return next((one for one in found if one.place.measured.onset), None)
