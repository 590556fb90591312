"""Runs bfloat16 models on the CPU: ONNX Runtime has almost no kernels for it, so they compute in float32 and round.

In the copy every bfloat16 tensor is float32 but holds bfloat16 values: each node that computes one, and each input, is
followed by a cast to bfloat16 and one back. Weights stay bfloat16 in their files and are cast when they are read.
bfloat16 is the upper half of float32, so products and sums are those of hardware that accumulates in float32.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from trtpipe.runners.cpu.graphs import RunnableModel

if TYPE_CHECKING:
    import onnx

_NARROW = "bfloat16"
_HELD = "/as bfloat16"
_MADE_OF_VALUES = frozenset({"Constant", "ConstantOfShape"})


def rounding_bfloat16(model: RunnableModel) -> RunnableModel:
    """A copy that computes in float32 and rounds to bfloat16; the same model if its main graph has no bfloat16."""
    import onnx

    proto = model.proto
    narrow = {name for name, info in model.values.items() if info.dtype == _NARROW}
    narrow |= {one.name for one in proto.graph.initializer if one.data_type == onnx.TensorProto.BFLOAT16}
    narrow |= {one.name for one in _borders(proto) if _is_narrow(one)}
    if not narrow:
        return model
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    graph = copy.graph
    nodes = [*_starts(graph, narrow), *(made for node in graph.node for made in _emulated(node, narrow))]
    kept = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    for value in _borders(copy):
        if value.name in narrow:
            value.type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    del graph.node[:], graph.value_info[:]
    graph.node.extend(kept)
    return RunnableModel(copy, model.folder, model.path)


def _borders(proto: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    return [*proto.graph.input, *proto.graph.output]


def _is_narrow(value: onnx.ValueInfoProto) -> bool:
    import onnx

    return bool(value.type.tensor_type.elem_type == onnx.TensorProto.BFLOAT16)


def _starts(graph: onnx.GraphProto, narrow: set[str]) -> Iterator[onnx.NodeProto]:
    """Casts after the inputs and weights, so that all nodes read rounded inputs."""
    inputs = {value.name for value in graph.input if value.name in narrow}
    for name in sorted(inputs):
        yield from _rounding(name, f"{name}{_HELD}")
    for node in graph.node:
        for index, name in enumerate(node.input):
            if name in inputs:
                node.input[index] = f"{name}{_HELD}"
    for tensor in graph.initializer:
        if tensor.name in narrow:
            name, tensor.name = tensor.name, f"{tensor.name}/stored"
            yield _cast(tensor.name, name, wide=True)


def _emulated(node: onnx.NodeProto, narrow: set[str]) -> Iterator[onnx.NodeProto]:
    import onnx

    if node.op_type == "Cast":
        for attribute in node.attribute:
            if attribute.name == "to" and attribute.i == onnx.TensorProto.BFLOAT16:
                attribute.i = onnx.TensorProto.FLOAT
    behind = []
    for index, name in enumerate(node.output):
        if name in narrow:
            node.output[index] = f"{name}/made{_HELD}"
            stored = node.op_type in _MADE_OF_VALUES
            behind += (
                [_cast(node.output[index], name, wide=True)]
                if stored
                else _rounding(node.output[index], name)
            )
    yield node
    yield from behind


def _rounding(source: str, target: str) -> list[onnx.NodeProto]:
    between = f"{target}/rounded"
    return [_cast(source, between, wide=False), _cast(between, target, wide=True)]


def _cast(source: str, target: str, *, wide: bool) -> onnx.NodeProto:
    import onnx

    to = onnx.TensorProto.FLOAT if wide else onnx.TensorProto.BFLOAT16
    return onnx.helper.make_node("Cast", [source], [target], name=f"{target}/cast", to=to)
