"""A tensor during lowering: its name, data type and dims, and its values if they are few and constant."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trtpipe.canonical.summary import Dim

if TYPE_CHECKING:
    from trtpipe.arrays import Array

_ONNX_NAMES = {"fp8": "float8_e4m3fn", "fp4": "float4_e2m1fn"}
FLOATS = ("float64", "float32", "float16", "bfloat16")
_TOO_MANY = 2**31  # TensorRT rejects larger volumes
INTEGERS = ("int64", "int32", "int16", "int8", "uint8")


@dataclass(frozen=True, slots=True)
class Value:
    """A tensor; `dims` is None when not even the rank is known. `dtype` is a name such as `float32`."""

    name: str
    dtype: str
    dims: tuple[Dim, ...] | None
    array: Array | None = None

    @property
    def text(self) -> str:
        """Its dims as messages show them."""
        return shape_text(self.dims)


def shape_text(dims: Sequence[Dim] | None) -> str:
    """`[batch, 3, ?, 8]`; a dimension without name or size is `?`."""
    if dims is None:
        return "of unknown rank"
    return "[" + ", ".join("?" if dim is None else str(dim) for dim in dims) + "]"


def too_large(dims: Sequence[Dim] | None) -> bool:
    """Whether the known sizes alone exceed the number of elements that TensorRT supports."""
    return math.prod(dim for dim in dims or () if isinstance(dim, int)) >= _TOO_MANY


def dtype_of(declared: str) -> str:
    """The ONNX name of a declared data type: `fp8` is `float8_e4m3fn`."""
    return _ONNX_NAMES.get(declared, declared)


def declared_dims(name: str, shape: Sequence[int | str]) -> tuple[Dim, ...]:
    """A declared shape's dims; -1 becomes a name of the canonical form: `image_0`."""
    return tuple(f"{name}_{axis}" if dim == -1 else dim for axis, dim in enumerate(shape))


def may_equal(left: Dim, right: Dim) -> bool:
    """Whether two dims can be the same size."""
    return not isinstance(left, int) or not isinstance(right, int) or left == right


def may_broadcast(left: Sequence[Dim], right: Sequence[Dim]) -> bool:
    """Whether two shapes can broadcast as in NumPy."""
    pairs = zip(reversed(left), reversed(right), strict=False)
    return all(may_equal(one, other) or 1 in (one, other) for one, other in pairs)
