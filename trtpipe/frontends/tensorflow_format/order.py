"""Makes the order and numbering of tf2onnx's output depend on the graph only.

tf2onnx iterates over sets of objects, whose order depends on their memory addresses: it numbers the tensors that it
creates (`Resize__15`) and orders nodes and weights differently each time. Here nodes are ordered by walking back from
the outputs, unused ones are dropped, and the numbers are assigned again in that order.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx

_MADE = re.compile(r"__\d+(?=$|[:/_])")


def put_in_order(model: onnx.ModelProto) -> None:
    """Orders nodes and weights, in subgraphs too, renumbers generated names and drops numbered names of sizes."""
    _order(model.graph)
    _Numbering(model.graph).apply()
    for value in (*model.graph.input, *model.graph.output):
        for dim in value.type.tensor_type.shape.dim:
            if _MADE.search(dim.dim_param):
                dim.ClearField("value")


def _order(graph: onnx.GraphProto) -> None:
    from trtpipe.canonical.edits import subgraphs

    for node in graph.node:
        for inner in subgraphs(node):
            _order(inner)
    makers = {name: index for index, node in enumerate(graph.node) for name in node.output if name}
    nodes = list(graph.node)
    order = list(_reached(nodes, makers, [value.name for value in graph.output]))
    read = dict.fromkeys(name for index in order for name in _read_by(nodes[index]))
    read |= dict.fromkeys(value.name for value in graph.output)
    weights = {tensor.name: tensor for tensor in graph.initializer}
    kept = [weights[name] for name in read if name in weights]
    sorted_nodes, sorted_weights = type(graph)(node=[nodes[i] for i in order]), type(graph)(initializer=kept)
    graph.ClearField("node")
    graph.ClearField("initializer")
    graph.node.extend(sorted_nodes.node)
    graph.initializer.extend(sorted_weights.initializer)


def _reached(nodes: list[onnx.NodeProto], makers: dict[str, int], outputs: list[str]) -> Iterator[int]:
    """The nodes that the outputs need in topological order; not recursive, because graphs can be deep."""
    done: set[int] = set()
    for output in outputs:
        waiting = [(makers[output], False)] if output in makers else []
        while waiting:
            index, read = waiting.pop()
            if index in done:
                continue
            if read:
                done.add(index)
                yield index
                continue
            waiting.append((index, True))
            needed = [makers[name] for name in _read_by(nodes[index]) if name in makers]
            waiting.extend((one, False) for one in reversed(needed) if one not in done)


def _read_by(node: onnx.NodeProto) -> list[str]:
    """The tensors that a node and its subgraphs read; names defined inside subgraphs may be among them."""
    from trtpipe.canonical.edits import subgraphs

    names = [name for name in node.input if name]
    for graph in subgraphs(node):
        for inner in graph.node:
            names += _read_by(inner)
        names += [value.name for value in graph.output]
    return names


class _Numbering:
    """Assigns new numbers in the order in which generated names first appear."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self.graph = graph
        self.names: dict[str, str] = {}
        self.numbers: dict[str, str] = {}

    def apply(self) -> None:
        kept = {value.name for value in (*self.graph.input, *self.graph.output)}
        self.names = {name: name for name in kept}
        self._walk(self.graph)

    def _walk(self, graph: onnx.GraphProto) -> None:
        from trtpipe.canonical.edits import subgraphs

        for value in graph.input:
            value.name = self._new(value.name)
        for node in graph.node:
            node.input[:] = [self._new(name) for name in node.input]
            for inner in subgraphs(node):
                self._walk(inner)
            node.output[:] = [self._new(name) for name in node.output]
            node.name = self._numbered(node.name)
        for item in (*graph.initializer, *graph.output):
            item.name = self._new(item.name)

    def _new(self, name: str) -> str:
        if name not in self.names:
            self.names[name] = self._numbered(name)
        return self.names[name]

    def _numbered(self, name: str) -> str:
        return _MADE.sub(lambda found: self.numbers.setdefault(found[0], f"__{len(self.numbers)}"), name)
