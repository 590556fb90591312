"""Finds the graph inputs whose *values* a shape depends on: TensorRT calls them shape tensors.

Walks the dataflow backwards from every operand that sets a shape (a Reshape's target, a Tile's repeats, …) to graph
inputs. Stops where only a tensor's shape is asked for (Shape, Size). Knows operators, not profiles.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trtpipe.canonical.summary import TensorInfo, tensor_info

if TYPE_CHECKING:
    import onnx

_SHAPE_OPERANDS: Mapping[str, tuple[int, ...]] = {
    "AffineGrid": (1,), "BlackmanWindow": (0,), "CenterCropPad": (1,), "Col2Im": (1, 2), "ConstantOfShape": (0,),
    "Expand": (1,), "HammingWindow": (0,), "HannWindow": (0,), "Loop": (0,), "MaxUnpool": (2,), "OneHot": (1,),
    "Pad": (1, 3), "Range": (0, 1, 2), "Reshape": (1,), "Resize": (1, 2, 3), "Slice": (1, 2, 3, 4), "Split": (1,),
    "Squeeze": (1,), "Tile": (1,), "TopK": (1,), "Unsqueeze": (1,), "Upsample": (1,),
    "ReduceL1": (1,), "ReduceL2": (1,), "ReduceLogSum": (1,), "ReduceLogSumExp": (1,), "ReduceMax": (1,),
    "ReduceMean": (1,), "ReduceMin": (1,), "ReduceProd": (1,), "ReduceSum": (1,), "ReduceSumSquare": (1,),
}  # fmt: skip
"""Standard operators → the operands that decide their output's shape (ONNX operator schemas, opsets 7 to 25)."""

_SHAPE_ONLY = frozenset({"Shape", "Size"})
_INTEGERS = frozenset({"int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"})


@dataclass(frozen=True, slots=True)
class ShapeUse:
    """Why an input's values matter: the node that first asks for them."""

    input: str
    node: str
    op: str

    def __str__(self) -> str:
        return f"{self.op} '{self.node}'" if self.node else self.op


def shape_value_inputs(proto: onnx.ModelProto) -> dict[str, ShapeUse]:
    """The integer graph inputs of rank 0 or 1 whose values feed a shape, each with the node that asks."""
    given = {tensor.name for tensor in proto.graph.initializer}
    able = {
        value.name
        for value in proto.graph.input
        if value.name not in given and _may_hold_a_shape(tensor_info(value))
    }
    uses = _uses(proto.graph) if able else {}
    return {name: ShapeUse(name, *uses[name]) for name in sorted(able & uses.keys())}


def _may_hold_a_shape(info: TensorInfo) -> bool:
    return info.dtype in _INTEGERS and info.dims is not None and len(info.dims) <= 1


def _uses(graph: onnx.GraphProto) -> dict[str, tuple[str, str]]:
    """Every value that a shape depends on → the node and operator that ask."""
    producers = {name: node for node in _all_nodes(graph) for name in node.output if name}
    needed: dict[str, tuple[str, str]] = {}
    waiting = [
        (name, (node.name, node.op_type)) for node in _all_nodes(graph) for name in _shape_operands(node)
    ]
    while waiting:
        name, why = waiting.pop()
        if name in needed:
            continue
        needed[name] = why
        producer = producers.get(name)
        if producer is not None and producer.op_type not in _SHAPE_ONLY:
            waiting += [(source, why) for source in _sources(producer, name)]
    return needed


def _all_nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    for node in graph.node:
        yield node
        for inner in _subgraphs(node):
            yield from _all_nodes(inner)


def _subgraphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def _shape_operands(node: onnx.NodeProto) -> Iterator[str]:
    if node.domain not in ("", "ai.onnx"):
        return
    for index in _SHAPE_OPERANDS.get(node.op_type, ()):
        if index < len(node.input) and node.input[index]:
            yield node.input[index]


def _sources(node: onnx.NodeProto, output: str) -> Iterator[str]:
    """What `output` is computed from: the node's inputs, and for If, Loop and Scan their bodies' result."""
    position = list(node.output).index(output)
    for graph in _subgraphs(node):
        skipped = 1 if node.op_type == "Loop" else 0  # a Loop body's first output is its condition
        if position + skipped < len(graph.output):
            yield graph.output[position + skipped].name
    yield from filter(None, node.input)
