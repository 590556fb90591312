"""Converts int32 indices of Slices with axes and no steps to int64: TensorRT's parser rejects the int32 form.

Seen in TensorRT-RTX 1.7 where the input's sizes are known: "Slice steps length 2 does not equal starts length 1".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trtpipe.canonical.names import FreshNames
from trtpipe.canonical.tensors import array_of, is_external, nodes_of

if TYPE_CHECKING:
    import onnx

_STEPS = 4


def widen_slice_indices(model: onnx.ModelProto) -> int:
    """Gives such slices constants of int64; how many. Indices that are computed stay."""
    import onnx

    known = {tensor.name: tensor for tensor in model.graph.initializer}
    taken = {name for node in nodes_of(model) for name in (*node.input, *node.output)}
    names = FreshNames(taken | known.keys())
    widened: dict[str, str] = {}
    count = 0
    for node in nodes_of(model):
        indices = [known.get(name) for name in node.input[1:]]
        if (
            node.op_type != "Slice"
            or node.domain
            or len(indices) != _STEPS - 1
            or not all(map(_narrow, indices))
        ):
            continue
        for position, tensor in enumerate(indices, start=1):
            assert tensor is not None, "it is narrow"
            if tensor.name not in widened:
                widened[tensor.name] = names(f"{tensor.name}_int64")
                wide = array_of(tensor).astype("int64")
                model.graph.initializer.append(onnx.numpy_helper.from_array(wide, widened[tensor.name]))
            node.input[position] = widened[tensor.name]
        count += 1
    return count


def _narrow(tensor: onnx.TensorProto | None) -> bool:
    return tensor is not None and tensor.data_type == tensor.INT32 and not is_external(tensor)
