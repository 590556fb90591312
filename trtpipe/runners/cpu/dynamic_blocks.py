"""Emulates TensorRT's dynamic block quantization of activations, which ONNX Runtime does not support.

The copy computes in float32 what TensorRT's kernels do. A block of 16 (nvfp4) or 32 (mxfp8) elements is divided by its
scale, which follows from its largest magnitude, and rounded to nearest even:

    nvfp4   scale = e4m3(amax / 6 / s) * s, elements rounded to e2m1; s is the scale of the whole tensor
    mxfp8   scale = the least power of two that is not below amax / 448, elements rounded to e4m3

Narrow tensors are float32 in the copy and hold values of the narrow type; dequantizing multiplies them by the scales.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from trtpipe.runners.cpu.graphs import RunnableModel

if TYPE_CHECKING:
    import onnx
    from numpy.typing import ArrayLike

_FP4, _MXFP8 = "TRT_FP4DynamicQuantize", "TRT_MXFP8DynamicQuantize"
_DYNAMIC = {_FP4: "nvfp4", _MXFP8: "mxfp8"}
_DEQUANTIZES = frozenset({"DequantizeLinear", "TRT_MXFP8DequantizeLinear"})
_SMALLEST = 2.0**-126


def dynamic_types(model: RunnableModel) -> tuple[str, ...]:
    """The formats to which activations are quantized at run time: `nvfp4`, `mxfp8`."""
    return tuple(
        sorted({_DYNAMIC[node.op_type] for node in model.proto.graph.node if node.op_type in _DYNAMIC})
    )


def computing_blocks(model: RunnableModel) -> RunnableModel:
    """A copy that quantizes activations in blocks with standard operators; the same model if there are none."""
    import onnx

    if not dynamic_types(model):
        return model
    copy = onnx.ModelProto()
    copy.CopyFrom(model.proto)
    writer = _Writer(copy.graph)
    narrow: set[str] = set()
    declared = {value.name: value.type.tensor_type.elem_type for value in model.proto.graph.value_info}
    for node in model.proto.graph.node:
        if node.op_type in _DYNAMIC:
            narrow |= set(node.output)
            _quantize(writer, node)
        elif node.op_type in _DEQUANTIZES and node.input[0] in narrow:
            _dequantize(writer, node, narrow, declared)
        else:
            writer.nodes.append(node)
    nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in writer.nodes]
    kept = [value for value in copy.graph.value_info if value.name not in narrow]
    values = [onnx.ValueInfoProto.FromString(value.SerializeToString()) for value in kept]
    del copy.graph.node[:], copy.graph.value_info[:]
    copy.graph.node.extend(nodes)
    copy.graph.value_info.extend(values)
    return RunnableModel(copy, model.folder, model.path)


@dataclass
class _Writer:
    """Adds nodes and constants; generated names begin with the name of the tensor that they belong to."""

    graph: onnx.GraphProto
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    prefix: str = ""
    count: int = 0

    def begin(self, tensor: str) -> None:
        """Sets the tensor that the following nodes belong to, for their names."""
        self.prefix, self.count = tensor, 0

    def constant(self, value: ArrayLike) -> str:
        """A small constant."""
        import onnx

        name = self._next()
        self.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(value), name))
        return name

    def number(self, value: float) -> str:
        """A float32 constant."""
        return self.constant(np.float32(value))

    def op(self, operator: str, *inputs: str, output: str = "", **attributes: int) -> str:
        """A node with one output, and that output's name."""
        import onnx

        made = output or self._next()
        self.nodes.append(onnx.helper.make_node(operator, inputs, [made], name=f"{made}/made", **attributes))
        return made

    def wide(self, name: str) -> str:
        """A tensor as float32."""
        import onnx

        return self.op("Cast", name, to=onnx.TensorProto.FLOAT)

    def e4m3(self, name: str, output: str = "") -> str:
        """A float32 tensor rounded to e4m3, as float32."""
        import onnx

        narrow = self.op("Cast", name, to=onnx.TensorProto.FLOAT8E4M3FN, saturate=1)
        return self.op("Cast", narrow, output=output, to=onnx.TensorProto.FLOAT)

    def _next(self) -> str:
        self.count += 1
        return f"{self.prefix}/as float32/{self.count}"


def _quantize(new: _Writer, node: onnx.NodeProto) -> None:
    """Elements, and the blocks' scales as a column with one row per block, in float32."""
    source, (quantized, scales) = node.input[0], node.output
    size = next(one.i for one in node.attribute if one.name == "block_size")
    new.begin(quantized)
    blocks = new.op("Reshape", new.wide(source), new.constant(np.array([-1, size])))
    amax = new.op("ReduceMax", new.op("Abs", blocks), new.constant(np.array([1])), keepdims=1)
    if node.op_type == _FP4:
        elements = _nvfp4(new, blocks, amax, new.wide(node.input[1]), scales)
    else:
        elements = _mxfp8(new, blocks, amax, scales)
    new.op("Reshape", elements, new.op("Shape", source), output=quantized)


def _nvfp4(new: _Writer, blocks: str, amax: str, whole: str, scales: str) -> str:
    """Blocks as e2m1 elements and their `scales`. A block whose scale is rounded to 0 becomes zero in any case."""
    exact = new.op("Div", new.op("Div", amax, new.number(6)), whole)
    new.e4m3(new.op("Min", exact, new.number(448)), output=scales)
    scale = new.op("Mul", scales, whole)
    zero = new.op("Equal", scale, new.number(0))
    divided = new.op("Div", blocks, new.op("Where", zero, new.number(1), scale))
    clipped = new.op("Clip", divided, new.number(-6), new.number(6))
    size = new.op("Abs", clipped)
    upper = new.op("Where", new.op("Less", size, new.number(4)), new.number(1), new.number(2))
    step = new.op("Where", new.op("Less", size, new.number(2)), new.number(0.5), upper)
    return new.op("Mul", new.op("Round", new.op("Div", clipped, step)), step)


def _mxfp8(new: _Writer, blocks: str, amax: str, scales: str) -> str:
    """Blocks as e4m3 elements and their `scales`."""
    exact = new.op("Max", new.op("Div", amax, new.number(448)), new.number(_SMALLEST))
    logarithm = new.op("Div", new.op("Log", exact), new.number(np.log(2)))
    power = new.op("Pow", new.number(2), new.op("Ceil", logarithm))  # may be off by one
    half, double = new.op("Mul", power, new.number(0.5)), new.op("Mul", power, new.number(2))
    above = new.op("Where", new.op("Less", half, exact), power, half)
    new.op("Where", new.op("Less", above, exact), double, above, output=scales)
    clipped = new.op("Clip", new.op("Div", blocks, scales), new.number(-448), new.number(448))
    return new.e4m3(clipped)


def _dequantize(new: _Writer, node: onnx.NodeProto, narrow: set[str], declared: dict[str, int]) -> None:
    """Elements times scales. The result for a column of scales is a column too."""
    import onnx

    elements, scale, output = node.input[0], node.input[1], node.output[0]
    given = {one.name: one.i for one in node.attribute}
    new.begin(output)
    size = given.get("block_size", 0)
    if not size:
        narrow.add(output)
        new.op("Mul", elements, new.wide(scale), output=output)
        return
    blocks = new.op("Reshape", elements, new.constant(np.array([-1, size])))
    product = new.op("Mul", blocks, new.wide(scale))
    dtype = given.get("output_dtype", 0) or declared.get(output, onnx.TensorProto.FLOAT)
    new.op("Cast", new.op("Reshape", product, new.op("Shape", elements)), output=output, to=dtype)
