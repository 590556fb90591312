"""Reads the values of weights in chunks, so that memory never holds a whole tensor; and computes statistics.

Values in a file are read, not mapped, because mapped pages would count as used memory. Independent of layers and specs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from trtpipe.canonical.tensors import (
    array_of,
    dtype_name,
    external_entries,
    has_size,
    is_external,
    nbytes_of,
    number_of_dtype,
    tensors_of,
)
from trtpipe.errors import ModelError
from trtpipe.problem_codes import Code
from trtpipe.weights.elements import numpy_dtype

if TYPE_CHECKING:
    import onnx

    from trtpipe.arrays import Array
    from trtpipe.weights import NamedWeights

    Pieces: TypeAlias = Callable[[], Iterator[Array]]

PIECE = 1 << 20
"""Elements of a piece; even, so that types of four bits end on a byte."""
_PACKED = {"uint4": 2, "int4": 2, "float4_e2m1fn": 2, "uint2": 4, "int2": 4}
"""Elements in a byte of the types that share bytes."""


@dataclass(frozen=True, slots=True)
class WeightStream:
    """One tensor. `dims` is None where its file gives none."""

    name: str
    dtype: str
    dims: tuple[int, ...] | None
    count: int
    nbytes: int
    pieces: Pieces
    """Its values, flat, in pieces of `PIECE` elements, the last one shorter. Raises ModelError."""


@dataclass(frozen=True, slots=True)
class Statistics:
    """Statistics of the finite values, in float64; None without any. `zeros` and `nonfinite` count elements."""

    least: float | None
    most: float | None
    mean: float | None
    deviation: float | None
    zeros: int
    nonfinite: int


def streams_of_file(weights: NamedWeights) -> Iterator[WeightStream]:
    """The tensors of an open file of weights, in its order."""
    for name in weights.names:
        dtype, count = weights.dtype_of(name), weights.count_of(name)
        place = weights.location(name)
        nbytes = (count * _bits(dtype) + 7) // 8
        if place is not None:
            pieces = _reader(place[0], place[1], dtype, count)
        else:
            pieces = _splitter(lambda name=name: weights.array(name))  # type: ignore[misc]
        yield WeightStream(name, dtype, weights.shape_of(name), count, nbytes, pieces)


def streams_of_model(proto: onnx.ModelProto) -> Iterator[WeightStream]:
    """Every tensor that a skeleton holds: initializers of all graphs, constants, and those in attributes."""
    for tensor in tensors_of(proto):
        if has_size(tensor):
            yield stream_of(tensor)


def stream_of(tensor: onnx.TensorProto, name: str = "") -> WeightStream:
    """One tensor of a skeleton, whose type has a size; `name` replaces its own."""
    dtype, dims = dtype_name(tensor.data_type), tuple(tensor.dims)
    count = math.prod(dims)
    if is_external(tensor) and count:
        entries = external_entries(tensor)
        pieces = _reader(Path(entries["location"]), int(entries.get("offset", 0)), dtype, count)
    else:
        pieces = _splitter(lambda: _inline(tensor))
    return WeightStream(name or str(tensor.name), dtype, dims, count, nbytes_of(tensor), pieces)


def statistics_of(stream: WeightStream) -> Statistics:
    """The statistics of a tensor, whose values are read once. For complex values the magnitude is used."""
    import numpy as np

    least, most, nonfinite, zeros = math.inf, -math.inf, 0, 0
    total, mean, squares = 0, 0.0, 0.0
    for piece in stream.pieces():
        values = np.abs(piece) if np.iscomplexobj(piece) else piece
        values = values.astype(np.float64)
        zeros += int(values.size - np.count_nonzero(values))
        finite = np.isfinite(values)
        if not finite.all():
            nonfinite += int(values.size - np.count_nonzero(finite))
            values = values[finite]
        if not values.size:
            continue
        least, most = min(least, float(values.min())), max(most, float(values.max()))
        total, mean, squares = _merged(total, mean, squares, values)
    if not total:
        return Statistics(None, None, None, None, zeros, nonfinite)
    deviation = math.sqrt(squares / total) if math.isfinite(squares) else None
    return Statistics(least, most, mean if math.isfinite(mean) else None, deviation, zeros, nonfinite)


def _merged(total: int, mean: float, squares: float, values: Array) -> tuple[int, float, float]:
    """Updates count, mean and sum of squared deviations with further values (Chan, Golub and LeVeque, 1983)."""
    import numpy as np

    with np.errstate(over="ignore", invalid="ignore"):
        here = float(values.mean())
        own = float(np.square(values - here).sum())
        both = total + int(values.size)
        apart = here - mean
        moved = mean + apart * values.size / both
        return both, moved, squares + own + apart * apart * total * values.size / both


def _bits(dtype: str) -> int:
    if dtype in _PACKED:
        return 8 // _PACKED[dtype]
    return int(numpy_dtype(dtype).itemsize) * 8


def _reader(path: Path, offset: int, dtype: str, count: int) -> Pieces:
    def pieces() -> Iterator[Array]:
        try:
            with path.open("rb") as file:
                file.seek(offset)
                for begin in range(0, count, PIECE):
                    elements = min(PIECE, count - begin)
                    needed = (elements * _bits(dtype) + 7) // 8
                    raw = file.read(needed)
                    if len(raw) < needed:
                        raise ModelError(
                            Code.WEIGHTS_CUT_SHORT,
                            f"'{path}' was cut short while it was read",
                            "copy it again",
                        )
                    yield _decoded(raw, dtype, elements)
        except OSError as error:
            raise ModelError(
                Code.CANNOT_READ, f"cannot read '{path}': {(error.strerror or str(error)).lower()}"
            ) from error

    return pieces


def _decoded(raw: bytes, dtype: str, elements: int) -> Array:
    import numpy as np
    import onnx

    if dtype not in _PACKED:
        return np.frombuffer(raw, numpy_dtype(dtype))
    packed = onnx.TensorProto(dims=[elements], data_type=number_of_dtype(dtype), raw_data=raw)
    unpacked: Array = onnx.numpy_helper.to_array(packed)
    return unpacked


def _splitter(load: Callable[[], Array]) -> Pieces:
    """Splits an array that is in memory, or mapped because its file does not hold it in this form."""

    def pieces() -> Iterator[Array]:
        array = load().reshape(-1)
        for begin in range(0, array.size, PIECE):
            yield array[begin : begin + PIECE]

    return pieces


def _inline(tensor: onnx.TensorProto) -> Array:
    try:
        return array_of(tensor)
    except (ValueError, TypeError) as error:
        said = " ".join(str(error).split())
        raise ModelError(
            Code.WEIGHTS_CUT_SHORT, f"tensor '{tensor.name}' does not hold what its shape says: {said}"
        ) from error
