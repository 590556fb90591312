"""Single TensorProtos: where they are in a model, their size, their values as numpy arrays.

External data are an absolute path, an offset and a length, which `reader` has checked.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from trtpipe.errors import ModelError
from trtpipe.problem_codes import Code

if TYPE_CHECKING:
    import onnx

    from trtpipe.arrays import Array, Dtype

# Bits of one element by TensorProto.DataType (onnx.proto3); strings have no fixed size.
_BITS: dict[int, int] = {
    1: 32, 2: 8, 3: 8, 4: 16, 5: 16, 6: 32, 7: 64, 9: 8, 10: 16, 11: 64, 12: 32, 13: 64, 14: 64, 15: 128,
    16: 16, 17: 8, 18: 8, 19: 8, 20: 8, 21: 4, 22: 4, 23: 4, 24: 8, 25: 2, 26: 2,
}  # fmt: skip


_NO_GRAPHS = frozenset({1, 2, 3, 4, 6, 7, 8, 9, 11, 12, 13, 14})
"""AttributeProto.AttributeType of what is not a graph; files of IR version 1 have no types."""

TYPED_FIELDS = ("float_data", "int32_data", "int64_data", "double_data", "uint64_data", "string_data")
"""Where a TensorProto may hold its values other than in raw_data."""


def dtype_name(elem_type: int) -> str:
    """`float32`, `int64`, `bfloat16`, … for a TensorProto.DataType; `undefined` for 0 and unknown numbers."""
    return _NAMES.get(elem_type, "undefined")


_NAMES = {
    1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 8: "string", 9: "bool",
    10: "float16", 11: "float64", 12: "uint32", 13: "uint64", 14: "complex64", 15: "complex128", 16: "bfloat16",
    17: "float8_e4m3fn", 18: "float8_e4m3fnuz", 19: "float8_e5m2", 20: "float8_e5m2fnuz", 21: "uint4", 22: "int4",
    23: "float4_e2m1fn", 24: "float8_e8m0fnu", 25: "uint2", 26: "int2",
}  # fmt: skip


def number_of_dtype(name: str) -> int:
    """The TensorProto.DataType of a name that `dtype_name` gives; 0 for `undefined`."""
    return next((number for number, known in _NAMES.items() if known == name), 0)


def nbytes_of(tensor: onnx.TensorProto) -> int:
    """The bytes its dims and type ask for. Raises ModelError for negative dims and types without a size."""
    bits = _BITS.get(tensor.data_type)
    if bits is None:
        raise ModelError(
            Code.BAD_TENSOR,
            f"tensor '{tensor.name}' has type {dtype_name(tensor.data_type)}, which has no fixed size",
        )
    if any(dim < 0 for dim in tensor.dims):
        raise ModelError(Code.BAD_TENSOR, f"tensor '{tensor.name}' has negative dims {list(tensor.dims)}")
    elements: int = math.prod(tensor.dims)
    return (elements * bits + 7) // 8


def has_size(tensor: onnx.TensorProto) -> bool:
    """Whether `nbytes_of` can tell: a type of fixed size and no negative dims."""
    return tensor.data_type in _BITS and all(dim >= 0 for dim in tensor.dims)


def external_entries(tensor: onnx.TensorProto) -> dict[str, str]:
    """Its `external_data` as a mapping."""
    return {entry.key: entry.value for entry in tensor.external_data}


def set_external(tensor: onnx.TensorProto, source: Path, offset: int, length: int) -> None:
    """Points the tensor at `length` bytes of `source`."""
    del tensor.external_data[:]
    for key, value in (("location", str(source)), ("offset", str(offset)), ("length", str(length))):
        tensor.external_data.add(key=key, value=value)
    tensor.data_location = tensor.EXTERNAL


def set_inline(tensor: onnx.TensorProto, raw: bytes) -> None:
    """Gives the tensor its bytes (little-endian, packed) in place of whatever it held."""
    for field in ("external_data", "data_location", *TYPED_FIELDS):
        tensor.ClearField(field)
    tensor.raw_data = raw


def is_external(tensor: onnx.TensorProto) -> bool:
    """Whether its bytes are in a file."""
    return bool(tensor.data_location == tensor.EXTERNAL)


def array_of(tensor: onnx.TensorProto) -> Array:
    """Its values; an external one is a read-only map of its file, so touch only what you need."""
    import numpy as np
    import onnx

    if not is_external(tensor) or not nbytes_of(tensor):
        return _inline_array(tensor)
    entries = external_entries(tensor)
    offset, length = int(entries["offset"]), int(entries["length"])
    mapped = np.memmap(entries["location"], mode="r", offset=offset, shape=(length,), dtype=np.uint8)
    if _BITS[tensor.data_type] >= 8:
        dtype: Dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
        return mapped.view(dtype).reshape(tuple(tensor.dims))
    packed = onnx.TensorProto(dims=tensor.dims, data_type=tensor.data_type, raw_data=mapped.tobytes())
    return _inline_array(packed)


def _inline_array(tensor: onnx.TensorProto) -> Array:
    import onnx

    array: Array = onnx.numpy_helper.to_array(tensor)
    return array


def graphs_of(proto: onnx.ModelProto) -> Iterator[onnx.GraphProto]:
    """The main graph and every graph nested in it or in a function, outer before inner."""
    yield from _with_nested(proto.graph)
    for function in proto.functions:
        for node in function.node:
            yield from _nested(node)


def _with_nested(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    yield graph
    for node in graph.node:
        # a fast path: most nodes have no attributes with graphs, and large graphs are walked often
        if node.attribute:
            yield from _nested(node)


def _nested(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    for graph in graphs_in(node):
        yield from _with_nested(graph)


def graphs_in(node: onnx.NodeProto) -> Sequence[onnx.GraphProto]:
    """The graphs in a node's attributes (If, Loop, Scan).

    An attribute that says it is a number, a text or a tensor is believed: ONNX refuses one that contains other files.
    """
    found: list[onnx.GraphProto] = []
    for attribute in node.attribute:
        if attribute.type in _NO_GRAPHS:
            continue
        if attribute.HasField("g"):
            found.append(attribute.g)
        found += attribute.graphs
    return found


def nodes_of(proto: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    """Every node: of the main graph, nested graphs and functions."""
    for graph in graphs_of(proto):
        yield from graph.node
    for function in proto.functions:
        yield from function.node


def tensors_of(proto: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Every TensorProto: initializers, sparse ones' parts, and those in attributes."""
    for graph in graphs_of(proto):
        yield from graph.initializer
        for sparse in graph.sparse_initializer:
            yield from (sparse.values, sparse.indices)
    for node in nodes_of(proto):
        for attribute in node.attribute:
            yield from _of_attribute(attribute)
    for function in proto.functions:
        for attribute in function.attribute_proto:
            yield from _of_attribute(attribute)


def _of_attribute(attribute: onnx.AttributeProto) -> Iterator[onnx.TensorProto]:
    if attribute.HasField("t"):
        yield attribute.t
    yield from attribute.tensors
    sparse = [attribute.sparse_tensor] if attribute.HasField("sparse_tensor") else []
    for item in (*sparse, *attribute.sparse_tensors):
        yield from (item.values, item.indices)
