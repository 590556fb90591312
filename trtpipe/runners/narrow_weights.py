"""Weights in float4: ONNX Runtime's CPU cannot dequantize them, so a copy of the model holds them dequantized.

The values are those that TensorRT multiplies with: an element times the scale of its block, in the scale's type.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from trtpipe.canonical.tensors import array_of, external_entries, is_external, number_of_dtype
from trtpipe.runners.graphs import RunnableModel

if TYPE_CHECKING:
    import onnx

_FLOAT4 = number_of_dtype("float4_e2m1fn")


def dequantizing_float4(model: RunnableModel) -> RunnableModel:
    """A copy whose float4 weights are dequantized; the same when there are none."""
    import onnx

    narrow = {one.name for one in model.proto.graph.initializer if one.data_type == _FLOAT4}
    if not narrow:
        return model
    copy = onnx.ModelProto()
    copy.CopyFrom(model.proto)
    tensors = {one.name: one for one in copy.graph.initializer}
    kept = []
    for node in copy.graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in narrow:
            copy.graph.initializer.append(_dequantized(node, tensors, model.folder))
        else:
            kept.append(onnx.NodeProto.FromString(node.SerializeToString()))
    del copy.graph.node[:]
    copy.graph.node.extend(kept)
    return RunnableModel(copy, model.folder, model.path)


def _dequantized(node: onnx.NodeProto, tensors: dict[str, Any], folder: Path) -> onnx.TensorProto:
    import numpy as np
    import onnx

    values, scale = (_array(tensors[name], folder) for name in node.input[:2])
    given = {one.name: one.i for one in node.attribute}
    axis = given.get("axis", 1)
    spread = np.repeat(scale, given["block_size"], axis=axis) if given.get("block_size") else scale
    made: onnx.TensorProto = onnx.numpy_helper.from_array(values.astype(scale.dtype) * spread, node.output[0])
    return made


def _array(tensor: onnx.TensorProto, folder: Path) -> Any:
    """A runnable model refers to files relative to its folder."""
    if not is_external(tensor):
        return array_of(tensor)
    absolute = type(tensor)()
    absolute.CopyFrom(tensor)
    for entry in absolute.external_data:
        if entry.key == "location":
            entry.value = str(folder / external_entries(tensor)["location"])
    return array_of(absolute)
