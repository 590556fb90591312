"""Constants of a graph: initializers and Constant nodes, their tensors, and copies of them cast to another type.

A copy is made when it is written, one weight at a time: neither reading nor casting keeps a weight in memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from trtpipe.errors import ModelError
from trtpipe.precisions.casts.signatures import tensor_in
from trtpipe.problem_codes import Code

if TYPE_CHECKING:
    from trtpipe.arrays import Array

HALF_LARGEST = 65504.0
_PEAK = "trtpipe.largest_magnitude"
_CHUNK = 1 << 22  # the number of elements that are processed together


def constant_of(value: ir.Value | None) -> ir.TensorProtocol | None:
    """The constant tensor of a value; None when the value is computed or is a model input."""
    if value is None:
        return None
    if value.is_graph_input():
        return None  # an initializer that is also an input is only a default
    producer = value.producer()
    if producer is None:
        return value.const_value
    return _of_node(producer) if producer.op_type == "Constant" else None


def _of_node(node: ir.Node) -> ir.TensorProtocol | None:
    for name, attribute in node.attributes.items():
        if name == "value":
            return tensor_in(attribute)
        if name in ("value_float", "value_floats"):
            return ir.tensor(np.asarray(attribute.value, dtype=np.float32))
    return None


class CastTensor(ir.LazyTensor):
    """A tensor in another float type, computed on demand: rounded to nearest even, finite values saturate."""

    def __init__(self, source: ir.TensorProtocol, dtype: ir.DataType, name: str | None) -> None:
        super().__init__(self._made, dtype=dtype, shape=shape_of(source), name=name)
        self.source = source

    def pieces(self) -> Iterator[Array]:
        """The elements in order, a piece at a time, so that not even one whole weight has to be in memory."""
        fits = self.dtype != ir.DataType.FLOAT16 or largest_magnitude(self.source) <= HALF_LARGEST
        for piece in chunks_of(self.source):
            yield (piece if fits else _saturated(piece)).astype(self.dtype.numpy())

    def _made(self) -> ir.TensorProtocol:
        pieces = list(self.pieces())
        flat = np.concatenate(pieces) if pieces else np.zeros(0, self.dtype.numpy())
        return ir.Tensor(flat.reshape(self.shape.numpy()), dtype=self.dtype, name=self.name)


def shape_of(tensor: ir.TensorProtocol) -> ir.Shape:
    """A tensor's dims."""
    return ir.Shape(tensor.shape.numpy())


def _saturated(array: Array) -> Array:
    """Clamps finite values to float16's range; only bounds of Clip reach this point with values beyond it."""
    largest = np.float64(65504) if array.dtype == np.float64 else np.float32(65504)
    return np.where(np.isinf(array), array, np.clip(array, -largest, largest))


def largest_magnitude(tensor: ir.TensorProtocol) -> float:
    """The largest finite magnitude of a float tensor's elements; 0 when it has no finite element.

    Kept with the tensor: a weight is judged before it is cast, and reading it takes as long as casting it.
    """
    kept = getattr(tensor, "meta", {})
    if _PEAK not in kept:
        kept[_PEAK] = max((peak_of(chunk) for chunk in chunks_of(tensor)), default=0.0)
    return float(kept[_PEAK])


def peak_of(array: Array) -> float:
    """The largest finite magnitude in an array; two plain reductions where all is finite."""
    if not array.size:
        return 0.0
    peak = max(float(array.max()), -float(array.min()))
    return peak if np.isfinite(peak) else peak_of(array[np.isfinite(array)])


def chunks_of(tensor: ir.TensorProtocol) -> Iterator[Array]:
    """A tensor's elements in pieces.

    External data is read, not memory-mapped, because mapped pages would count as this process's memory until its end.
    Raises ModelError.
    """
    if isinstance(tensor, ir.ExternalTensor):
        yield from _read(tensor)
        return
    flat = tensor.numpy().reshape(-1)
    for start in range(0, flat.size, _CHUNK):
        yield flat[start : start + _CHUNK]


def _read(tensor: ir.ExternalTensor) -> Iterator[Array]:
    dtype = np.dtype(tensor.dtype.numpy())
    left = tensor.size
    with Path(tensor.path).open("rb") as file:
        file.seek(tensor.offset or 0)
        while left:
            data = file.read(min(left, _CHUNK) * dtype.itemsize)
            piece = np.frombuffer(data, dtype)
            if not piece.size:
                raise ModelError(
                    Code.WEIGHTS_CUT_SHORT,
                    f"the data of tensor '{tensor.name}' ends too early in '{tensor.path}'",
                )
            left -= piece.size
            yield piece
