"""Rewrites weights that ONNX Runtime's CPU provider cannot dequantize into a form that it can.

float4 e2m1 has the values 0, 0.5, 1, 1.5, 2, 3, 4 and 6: twice the value is an int8, dequantized with half the scale.
The e4m3 weights of mxfp8 are standard; their scales, powers of two stored as bytes, become float32. The products use
the same numbers as TensorRT's: an element times the scale of its block.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from trtpipe.canonical.tensors import array_of, external_entries, is_external, number_of_dtype
from trtpipe.runners.cpu.graphs import RunnableModel

if TYPE_CHECKING:
    import onnx

    from trtpipe.arrays import Array

_FLOAT4 = number_of_dtype("float4_e2m1fn")
_MXFP8 = "TRT_MXFP8DequantizeLinear"


def dequantizing_weights(model: RunnableModel) -> RunnableModel:
    """A copy whose float4 and mxfp8 weights ONNX Runtime can dequantize; the same model when there are none."""
    import onnx

    tensors = {one.name: one for one in model.proto.graph.initializer}
    if not any(_is_narrow(node, tensors) for node in model.proto.graph.node):
        return model
    copy = onnx.ModelProto()
    copy.CopyFrom(model.proto)
    nodes = [
        onnx.NodeProto.FromString(made.SerializeToString())
        for node in copy.graph.node
        for made in _dequantized(node, copy.graph, tensors, model.folder)
    ]
    del copy.graph.node[:]
    copy.graph.node.extend(nodes)
    return RunnableModel(copy, model.folder, model.path)


def _is_narrow(node: onnx.NodeProto, tensors: dict[str, onnx.TensorProto]) -> bool:
    """Whether a node dequantizes a constant in a way that ONNX Runtime does not."""
    constant = tensors.get(node.input[0]) if node.input else None
    if constant is None:
        return False
    return bool(
        node.op_type == _MXFP8 or (node.op_type == "DequantizeLinear" and constant.data_type == _FLOAT4)
    )


def _dequantized(
    node: onnx.NodeProto, graph: onnx.GraphProto, tensors: dict[str, onnx.TensorProto], folder: Path
) -> Iterator[onnx.NodeProto]:
    if not _is_narrow(node, tensors):
        yield node
        return
    import numpy as np
    import onnx

    weight, scale, output = node.input[0], node.input[1], node.output[0]
    given = {one.name: one.i for one in node.attribute}
    along = {name: given[name] for name in ("axis", "block_size") if name in given}
    dtype = given.get("output_dtype", 0) or _dtype_of(scale, tensors, graph)
    wide, halved = f"{output}/float32", f"{output}/scale"
    if node.op_type == _MXFP8:
        exponents = array_in(tensors[scale], folder).view(np.uint8).astype(np.int32)
        powers = np.ldexp(np.float32(1), exponents - 127).astype(np.float32)
        graph.initializer.append(onnx.numpy_helper.from_array(powers, halved))
        yield onnx.helper.make_node("DequantizeLinear", [weight, halved], [wide], name=node.name, **along)
    else:
        doubled = (array_in(tensors[weight], folder).astype(np.float32) * 2).astype(np.int8)
        graph.initializer.append(onnx.numpy_helper.from_array(doubled, f"{output}/doubled"))
        graph.initializer.append(onnx.numpy_helper.from_array(np.float32(0.5), f"{output}/half"))
        yield onnx.helper.make_node("Cast", [scale], [f"{halved}/wide"], to=onnx.TensorProto.FLOAT)
        yield onnx.helper.make_node("Mul", [f"{halved}/wide", f"{output}/half"], [halved])
        operands = [f"{output}/doubled", halved]
        yield onnx.helper.make_node("DequantizeLinear", operands, [wide], name=node.name, **along)
    yield onnx.helper.make_node("Cast", [wide], [output], to=dtype)


def _dtype_of(scale: str, tensors: dict[str, onnx.TensorProto], graph: onnx.GraphProto) -> int:
    """The type of a scale: a constant's own type, or the declared one."""
    import onnx

    if scale in tensors:
        return int(tensors[scale].data_type)
    declared = (value.type.tensor_type.elem_type for value in graph.value_info if value.name == scale)
    return int(next(declared, onnx.TensorProto.FLOAT))


def array_in(tensor: onnx.TensorProto, folder: Path) -> Array:
    """A tensor's values; a runnable model refers to files relative to its folder."""
    if not is_external(tensor):
        return array_of(tensor)
    absolute = type(tensor)()
    absolute.CopyFrom(tensor)
    for entry in absolute.external_data:
        if entry.key == "location":
            entry.value = str(folder / external_entries(tensor)["location"])
    return array_of(absolute)
