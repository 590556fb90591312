"""Rough costs of a graph at one set of input shapes: arithmetic, and memory for activations.

Arithmetic counts a multiplication and an addition as two operations and covers what dominates real networks:

    Conv            2 · elements(y) · C_in/group · Π kernel
    ConvTranspose   2 · elements(x) · C_out/group · Π kernel
    Gemm, MatMul    2 · elements(y) · K

(the textbook counts; bias and everything elementwise are left out). Memory is the largest sum of tensors alive at once
when nodes run in the graph's order and nothing is fused, so it is more than TensorRT will need.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trtpipe.canonical.edits import attribute_of, values_read
from trtpipe.canonical.inference import Inferred
from trtpipe.canonical.tensors import nodes_of
from trtpipe.proofs.corners import nbytes_of_info
from trtpipe.shapes import Shape

if TYPE_CHECKING:
    import onnx


@dataclass(frozen=True, slots=True)
class Costs:
    """`uncounted` nodes would add to `flops` and have shapes that are not known, or stand in nested graphs.

    `activation_bytes` is None when the size of any tensor is not known.
    """

    flops: int
    uncounted: int
    activation_bytes: int | None


def costs_of(proto: onnx.ModelProto, inferred: Inferred) -> Costs:
    """The costs of a model whose shapes were inferred."""
    graph = proto.graph
    counts = list(flops_of_nodes(proto, inferred).values())
    known = [count for count in counts if count is not None]
    everywhere = sum(node.op_type in _FLOPS for node in nodes_of(proto))
    return Costs(sum(known), everywhere - len(known), _peak(graph, inferred))


def flops_of_nodes(proto: onnx.ModelProto, inferred: Inferred) -> dict[int, int | None]:
    """Position in the main graph of each node that counts → its operations, None where its shapes are not known."""
    shapes = _Shapes(proto.graph, inferred)
    return {
        index: _FLOPS[node.op_type](node, shapes)
        for index, node in enumerate(proto.graph.node)
        if node.op_type in _FLOPS
    }


class _Shapes:
    def __init__(self, graph: onnx.GraphProto, inferred: Inferred) -> None:
        self.weights = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
        self.inferred = inferred

    def of(self, name: str) -> Shape | None:
        """A value's shape when every dim is known."""
        if name in self.weights:
            return self.weights[name]
        dims = self.inferred.shape(name)
        sizes = tuple(dim for dim in dims or () if isinstance(dim, int))
        return sizes if dims is not None and len(sizes) == len(dims) else None


def _conv(node: onnx.NodeProto, shapes: _Shapes) -> int | None:
    y, w = shapes.of(node.output[0]), shapes.of(node.input[1])
    return None if y is None or w is None else 2 * math.prod(y) * math.prod(w[1:])


def _conv_transpose(node: onnx.NodeProto, shapes: _Shapes) -> int | None:
    x, w = shapes.of(node.input[0]), shapes.of(node.input[1])
    return None if x is None or w is None else 2 * math.prod(x) * math.prod(w[1:])


def _matmul(node: onnx.NodeProto, shapes: _Shapes) -> int | None:
    y, a = shapes.of(node.output[0]), shapes.of(node.input[0])
    return None if y is None or not a else 2 * math.prod(y) * a[-1]


def _gemm(node: onnx.NodeProto, shapes: _Shapes) -> int | None:
    y, a = shapes.of(node.output[0]), shapes.of(node.input[0])
    if y is None or a is None or len(a) != 2:
        return None
    return 2 * math.prod(y) * a[0 if attribute_of(node, "transA", 0) else 1]


_FLOPS: Mapping[str, Callable[[onnx.NodeProto, _Shapes], int | None]] = {
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "Gemm": _gemm,
    "MatMul": _matmul,
}


def _peak(graph: onnx.GraphProto, inferred: Inferred) -> int | None:
    """The largest sum of tensors alive at once, weights not counted."""
    last_read = {name: index for index, node in enumerate(graph.node) for name in values_read(node)}
    last_read |= {value.name: len(graph.node) for value in graph.output}
    weights = {tensor.name for tensor in graph.initializer}
    alive = {value.name: nbytes_of_info(inferred.values.get(value.name)) for value in graph.input}
    alive = {name: size for name, size in alive.items() if name not in weights}
    peak = _total(alive.values())
    for index, node in enumerate(graph.node):
        if node.op_type != "Constant":
            alive |= {name: nbytes_of_info(inferred.values.get(name)) for name in node.output if name}
        now = _total(alive.values())
        if now is None or peak is None:
            return None
        peak = max(peak, now)
        alive = {name: size for name, size in alive.items() if last_read.get(name, index) > index}
    return peak


def _total(sizes: Iterable[int | None]) -> int | None:
    known = list(sizes)
    return None if None in known else sum(size for size in known if size is not None)
