"""Finds the graph inputs whose *values* determine a shape: TensorRT calls them shape tensors.

Walks the dataflow backwards from every operand that sets a shape (a Reshape's target, a Tile's repeats, …) to graph
inputs. Stops where only a tensor's shape is read (Shape, Size). Independent of profiles.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trtpipe.canonical.summary import tensor_info

if TYPE_CHECKING:
    import onnx

_SHAPE_OPERANDS: Mapping[str, tuple[int, ...]] = {
    "AffineGrid": (1,), "BlackmanWindow": (0,), "CenterCropPad": (1,), "Col2Im": (1, 2), "ConstantOfShape": (0,),
    "CumSum": (1,), "Expand": (1,), "HammingWindow": (0,), "HannWindow": (0,), "Loop": (0,), "MaxUnpool": (2,),
    "OneHot": (1,), "Pad": (1, 3), "Range": (0, 1, 2), "Reshape": (1,), "Resize": (2, 3), "Slice": (1, 2, 3, 4),
    "Split": (1,), "Tile": (1,), "TopK": (1,), "Upsample": (1,),
}  # fmt: skip
"""Standard operators → the operands whose values TensorRT must know to tell shapes (ONNX operator schemas)."""

CONSTANT_OPERANDS: Mapping[str, tuple[int, ...]] = {
    "ReduceL1": (1,), "ReduceL2": (1,), "ReduceLogSum": (1,), "ReduceLogSumExp": (1,), "ReduceMax": (1,),
    "ReduceMean": (1,), "ReduceMin": (1,), "ReduceProd": (1,), "ReduceSum": (1,), "ReduceSumSquare": (1,),
    "STFT": (1,), "Squeeze": (1,), "Unsqueeze": (1,),
}  # fmt: skip
"""Those that TensorRT's parser takes only as constants."""

_SHAPE_ONLY = frozenset({"Shape", "Size"})
_INTEGERS = frozenset({"int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"})


_Why = tuple[str, str, int]
"""A node, its operator, and the operand that asks."""


@dataclass(frozen=True, slots=True)
class ShapeUse:
    """Why an input's values matter: the node that reads them. `only_constant`: no profile can provide it."""

    input: str
    node: str
    op: str
    operand: int = 0
    """Which of the node's operands the values end up in, counted from 0."""
    only_constant: bool = False

    def __str__(self) -> str:
        return f"{self.op} '{self.node}'" if self.node else self.op


def shape_value_inputs(proto: onnx.ModelProto) -> dict[str, ShapeUse]:
    """The graph inputs of rank 0 or 1 whose values determine a shape, each with the node that uses it.

    TensorRT accepts integers at run time; floats (a Resize's scales) and axes must be constants.
    """
    given = {tensor.name for tensor in proto.graph.initializer}
    infos = [tensor_info(value) for value in proto.graph.input if value.name not in given]
    able = {info.name: info for info in infos if info.dims is not None and len(info.dims) <= 1}
    if not able:
        return {}
    producers = {name: node for node in _all_nodes(proto.graph) for name in node.output if name}
    constant = _asked(proto.graph, producers, CONSTANT_OPERANDS)
    asked = {**_asked(proto.graph, producers, _SHAPE_OPERANDS), **constant}
    return {
        name: ShapeUse(name, *asked[name], only_constant=name in constant or info.dtype not in _INTEGERS)
        for name, info in able.items()
        if name in asked
    }


def _asked(
    graph: onnx.GraphProto, producers: Mapping[str, onnx.NodeProto], operands: Mapping[str, tuple[int, ...]]
) -> dict[str, _Why]:
    """Every value that one of these operands depends on → the node and operator that use it."""
    asked: dict[str, _Why] = {}
    waiting = [
        (name, (node.name, node.op_type, index))
        for node in _all_nodes(graph)
        for index, name in _operands(node, operands)
    ]
    waiting.reverse()  # messages name the first node that uses the value
    while waiting:
        name, why = waiting.pop()
        if name in asked:
            continue
        asked[name] = why
        producer = producers.get(name)
        if producer is not None and producer.op_type not in _SHAPE_ONLY:
            waiting += [(source, why) for source in _sources(producer, name)]
    return asked


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


def _operands(node: onnx.NodeProto, operands: Mapping[str, tuple[int, ...]]) -> Iterator[tuple[int, str]]:
    if node.domain not in ("", "ai.onnx"):
        return
    for index in operands.get(node.op_type, ()):
        if index < len(node.input) and node.input[index]:
            yield index, node.input[index]


def _sources(node: onnx.NodeProto, output: str) -> Iterator[str]:
    """The values that `output` is computed from: the node's inputs, and results of bodies for If, Loop and Scan."""
    position = list(node.output).index(output)
    for graph in _subgraphs(node):
        skipped = 1 if node.op_type == "Loop" else 0  # a Loop body's first output is its condition
        if position + skipped < len(graph.output):
            yield graph.output[position + skipped].name
    yield from filter(None, node.input)
