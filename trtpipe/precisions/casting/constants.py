"""Constants of a graph: initializers and Constant nodes, their tensors, and copies of them in another type.

A copy is made when it is written, one weight at a time: neither reading nor casting keeps a weight in memory.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx_ir as ir

_CHUNK = 1 << 22  # elements looked at together


def constant_of(value: ir.Value | None) -> ir.TensorProtocol | None:
    """The tensor that a value always holds; None when it is computed or fed."""
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
            tensor: ir.TensorProtocol = attribute.as_tensor()
            return tensor
        if name in ("value_float", "value_floats"):
            return ir.tensor(np.asarray(attribute.value, dtype=np.float32))
    return None


def cast_tensor(tensor: ir.TensorProtocol, dtype: ir.DataType, name: str | None) -> ir.TensorProtocol:
    """The tensor in another float type, made when asked for: rounded to nearest even, finite values saturating."""

    def make() -> ir.TensorProtocol:
        target = dtype.numpy()
        array = _saturated(tensor.numpy(), dtype)
        cast = ir.Tensor(np.ascontiguousarray(array.astype(target)), dtype=dtype, name=name)
        release(tensor)
        return cast

    return ir.LazyTensor(make, dtype=dtype, shape=shape_of(tensor), name=name)


def shape_of(tensor: ir.TensorProtocol) -> ir.Shape:
    """A tensor's dims."""
    return ir.Shape(tensor.shape.numpy())


def _saturated(array: Any, dtype: ir.DataType) -> Any:
    """Finite values beyond the type's range become its largest: only bounds of Clip get here with such."""
    if dtype != ir.DataType.FLOAT16:
        return array
    largest = np.float64(65504) if array.dtype == np.float64 else np.float32(65504)
    return np.where(np.isinf(array), array, np.clip(array, -largest, largest))


def chunks_of(tensor: ir.TensorProtocol) -> Iterator[Any]:
    """A tensor's elements in pieces, so that scanning a mapped weight needs no copy of it."""
    flat = tensor.numpy().reshape(-1)
    for start in range(0, flat.size, _CHUNK):
        yield flat[start : start + _CHUNK]
    release(tensor)


def release(tensor: ir.TensorProtocol) -> None:
    """Unmaps a weight that lies in a file; it is mapped again when next asked for.

    While somebody still looks at a piece of it the mapping stays: its pages are the file's, and cost no memory that
    the system could not take back.
    """
    if isinstance(tensor, ir.ExternalTensor):
        with contextlib.suppress(BufferError):
            tensor.release()
