"""Finds random numbers in a model: the nodes that generate them, and the outputs that depend on them.

TensorRT generates other numbers than ONNX Runtime for the same seed, and other ones again in another precision. So an
output that depends on them cannot be compared, and a threshold on it says nothing about the precision.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

from trtpipe.canonical.edits import subgraphs, values_read
from trtpipe.canonical.tensors import array_of, is_external, nodes_of
from trtpipe.errors import Problem
from trtpipe.problem_codes import Code
from trtpipe.proofs.live_nodes import OF_SHAPE, RANDOM

if TYPE_CHECKING:
    import onnx

_SHOWN = 4


def drawn_outputs(model: onnx.ModelProto) -> dict[str, str]:
    """Output → why it is not compared: the first node whose random numbers it depends on. Nodes must be sorted."""
    drawing = _Drawing(model)
    drawing.follow(model.graph)
    return {
        value.name: f"it depends on the random numbers of {drawing.origins[value.name]}, which differ in every run"
        for value in model.graph.output
        if value.name in drawing.origins
    }


def prove_determinism(model: onnx.ModelProto) -> list[Problem]:
    """A warning with the nodes that generate random numbers, and the outputs that are therefore not validated."""
    outputs = drawn_outputs(model)
    if not outputs:
        return []
    drawing = _Drawing(model)
    nodes = [_called(node) for node in nodes_of(model) if drawing.draws(node)]
    more = f" and {len(nodes) - _SHOWN} more" if len(nodes) > _SHOWN else ""
    listed = ", ".join(repr(name) for name in outputs)
    verb = "draws" if len(nodes) == 1 else "draw"
    fact = f"{', '.join(nodes[:_SHOWN])}{more} {verb} random numbers, so output {listed} cannot be validated"
    remedy = "make the numbers an input of the model instead; then all outputs can be validated"
    return [Problem(Code.RANDOM_NODES, fact, remedy, path=("model", "source"), severity="warning")]


def _called(node: onnx.NodeProto) -> str:
    return f"node '{node.name}' ({node.op_type})" if node.name else f"a {node.op_type}"


class _Drawing:
    """Tracks random numbers through graphs: value → the node that generated them."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.origins: dict[str, str] = {}
        self.true = _true_constants(model)
        self.functions = {
            (function.domain, function.name)
            for function in model.functions
            if any(node.op_type in RANDOM for node in function.node)
        }

    def draws(self, node: onnx.NodeProto) -> bool:
        """Whether the node generates random numbers itself; a Dropout does in training mode."""
        training = node.op_type == "Dropout" and len(node.input) > 2 and node.input[2] in self.true
        return node.op_type in RANDOM or training or (node.domain, node.op_type) in self.functions

    def follow(self, graph: onnx.GraphProto) -> None:
        """Marks the values of a graph that depend on random numbers; for a loop body, also after several iterations."""
        for node in graph.node:
            origin = self._origin(node)
            for inner in subgraphs(node):
                self.follow(inner)
                origin = origin or self._first(value.name for value in inner.output)
            if origin:
                self.origins.update(dict.fromkeys(filter(None, node.output), origin))

    def _origin(self, node: onnx.NodeProto) -> str:
        if self.draws(node):
            return _called(node)
        return "" if node.op_type in OF_SHAPE else self._first(values_read(node))

    def _first(self, names: Iterable[str]) -> str:
        return next((self.origins[name] for name in names if name in self.origins), "")


def _true_constants(model: onnx.ModelProto) -> Collection[str]:
    """The boolean constants that are true, as initializers or as nodes."""
    tensors = [(one.name, one) for one in model.graph.initializer]
    tensors += [
        (node.output[0], attribute.t)
        for node in model.graph.node
        if node.op_type == "Constant"
        for attribute in node.attribute
        if attribute.HasField("t")
    ]
    return {
        name
        for name, tensor in tensors
        if tensor.data_type == tensor.BOOL and not is_external(tensor) and array_of(tensor).all()
    }
