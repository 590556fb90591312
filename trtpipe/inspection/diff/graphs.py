"""Prepares a graph for matching: vertices with attributes as text, weights apart, and identities of functions.

Weights are initializers and what Constant nodes hold. Two values have the same identity if the same operators compute
them from the same inputs and weights; names, order, and attributes equal to the standard's default do not count.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING

from blake3 import blake3

from trtpipe.canonical.edits import ONNX
from trtpipe.canonical.summary import TensorInfo, tensor_info
from trtpipe.canonical.tensors import has_size
from trtpipe.weights.pieces import WeightStream, stream_of

if TYPE_CHECKING:
    import onnx

    from trtpipe.arrays import Array

_SHOWN = 8  # the most elements of a tensor in an attribute that are compared


@dataclass(frozen=True, slots=True)
class Vertex:
    """A node. `attributes` are shown as text; graphs in attributes are `bodies`."""

    index: int
    name: str
    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, str]
    bodies: Mapping[str, GraphView]

    @property
    def called(self) -> str:
        """The node's name, or its first output's."""
        return self.name or next((name for name in self.outputs if name), f"#{self.index}")


@dataclass(slots=True)
class GraphView:
    """A graph, with the producers of its values."""

    vertices: list[Vertex]
    weights: dict[str, WeightStream]
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    producers: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Value → the vertex that makes it, and which of its outputs it is."""
    digests: dict[str, str] = field(default_factory=dict)
    """Weight → type, dims and digest of its values, of those that were asked for."""

    def weight_key(self, name: str) -> str:
        """The key of a weight: its type, dims and values, which are read once. Raises ModelError."""
        if name not in self.digests:
            stream = self.weights[name]
            hasher = blake3()
            for piece in stream.pieces():
                hasher.update(_bytes_of(piece))
            self.digests[name] = f"{stream.dtype} {stream.dims} {hasher.hexdigest()}"
        return self.digests[name]


class Identities:
    """Numbers for equal values, in one table for both sides, so that equal numbers mean equal functions."""

    def __init__(self) -> None:
        self._known: dict[Hashable, int] = {}

    def of(self, key: Hashable) -> int:
        """The number of a key."""
        return self._known.setdefault(key, len(self._known))


def view_graph(graph: onnx.GraphProto, opset: int) -> GraphView:
    """The view of a graph whose nodes are in topological order."""
    weights = {t.name: stream_of(t) for t in graph.initializer if has_size(t)}
    vertices: list[Vertex] = []
    for node in graph.node:
        constant = _constant(node)
        if constant is not None:
            weights[node.output[0]] = stream_of(constant, node.output[0])
        else:
            vertices.append(_vertex(node, len(vertices), opset))
    producers = {
        name: (vertex.index, place)
        for vertex in vertices
        for place, name in enumerate(vertex.outputs)
        if name
    }
    inputs = tuple(tensor_info(value) for value in graph.input if value.name not in weights)
    return GraphView(vertices, weights, inputs, tuple(map(tensor_info, graph.output)), producers)


def identify(
    view: GraphView,
    numbers: Identities,
    inputs: Mapping[str, Hashable],
    outer: Mapping[str, int] | None = None,
) -> tuple[list[int], dict[str, int]]:
    """The identity of each vertex, and of each value. `inputs` has that of each input."""
    values = dict(outer or {})
    values |= {name: numbers.of(("input", inputs[name])) for name in inputs}
    values |= {name: numbers.of(("weight", view.weight_key(name))) for name in view.weights}
    found = []
    for vertex in view.vertices:
        bodies = tuple((name, _body(body, numbers, values)) for name, body in sorted(vertex.bodies.items()))
        read = tuple(values.get(name, -1) if name else -2 for name in vertex.inputs)
        own = numbers.of(("node", vertex.op, tuple(sorted(vertex.attributes.items())), bodies, read))
        found.append(own)
        values |= {name: numbers.of(("output", own, i)) for i, name in enumerate(vertex.outputs) if name}
    return found, values


def _body(body: GraphView, numbers: Identities, outer: Mapping[str, int]) -> int:
    places: dict[str, Hashable] = {info.name: ("of body", i) for i, info in enumerate(body.inputs)}
    own, values = identify(body, numbers, places, outer)
    results = tuple(values.get(info.name, -1) for info in body.outputs)
    return numbers.of(("body", len(body.inputs), results, tuple(sorted(own))))


def _vertex(node: onnx.NodeProto, index: int, opset: int) -> Vertex:
    inputs = list(node.input)
    while inputs and not inputs[-1]:
        inputs.pop()
    domain = "" if node.domain in ONNX else node.domain
    attributes, bodies = {}, {}
    known = _defaults(str(node.op_type), opset) if not domain else {}
    for one in node.attribute:
        if one.HasField("g"):
            bodies[one.name] = view_graph(one.g, opset)
        elif one.graphs:
            bodies |= {f"{one.name}[{i}]": view_graph(graph, opset) for i, graph in enumerate(one.graphs)}
        elif (text := _text(one)) != known.get(one.name) and not (not domain and _implied(one, node)):
            attributes[one.name] = text
    op = f"{domain}::{node.op_type}" if domain else str(node.op_type)
    return Vertex(index, str(node.name), op, tuple(inputs), tuple(node.output), attributes, bodies)


@cache
def _defaults(op: str, opset: int) -> Mapping[str, str]:
    """The standard's defaults for attributes that a node omits."""
    import onnx

    try:
        schema = onnx.defs.get_schema(op, opset)
    except onnx.defs.SchemaError:
        return {}
    return {
        name: _text(one.default_value)
        for name, one in schema.attributes.items()
        if one.default_value.type != onnx.AttributeProto.UNDEFINED
    }


_WINDOWS = frozenset({"Conv", "ConvTranspose", "MaxPool", "AveragePool", "LpPool", "DeformConv"})


def _implied(attribute: onnx.AttributeProto, node: onnx.NodeProto) -> bool:
    """Whether a window attribute equals its default: ones, zero padding, the kernel size of the weights."""
    if node.op_type not in _WINDOWS:
        return False
    if attribute.name == "kernel_shape":
        return node.op_type in ("Conv", "ConvTranspose", "DeformConv")
    none = {"dilations": 1, "strides": 1, "pads": 0}.get(attribute.name)
    return none is not None and all(value == none for value in attribute.ints)


def _text(attribute: onnx.AttributeProto) -> str:
    import onnx

    kinds = onnx.AttributeProto
    if attribute.type in (kinds.TENSOR, kinds.TENSORS):
        tensors = [attribute.t] if attribute.type == kinds.TENSOR else list(attribute.tensors)
        return ", ".join(map(_tensor_text, tensors))
    if attribute.type in (kinds.SPARSE_TENSOR, kinds.SPARSE_TENSORS, kinds.TYPE_PROTO, kinds.TYPE_PROTOS):
        return f"digest {blake3(attribute.SerializeToString(deterministic=True)).hexdigest()[:12]}"
    value = onnx.helper.get_attribute_value(attribute)
    if isinstance(value, bytes):
        return value.decode(errors="backslashreplace")
    if isinstance(value, float):
        return f"{value:.9g}"
    if isinstance(value, int):
        return str(value)
    return "[" + ", ".join(_element(one) for one in value) + "]"


def _element(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode(errors="backslashreplace")
    return f"{value:.9g}" if isinstance(value, float) else str(value)


def _tensor_text(tensor: onnx.TensorProto) -> str:
    if not has_size(tensor):
        return f"digest {blake3(tensor.SerializeToString(deterministic=True)).hexdigest()[:12]}"
    stream = stream_of(tensor)
    shape = "x".join(map(str, tensor.dims)) or "scalar"
    if stream.count <= _SHOWN:
        values = [str(one) for piece in stream.pieces() for one in piece.tolist()]
        return f"{stream.dtype} {shape} [{', '.join(values)}]"
    hasher = blake3()
    for piece in stream.pieces():
        hasher.update(_bytes_of(piece))
    return f"{stream.dtype} {shape}, digest {hasher.hexdigest()[:12]}"


def _constant(node: onnx.NodeProto) -> onnx.TensorProto | None:
    """The tensor of a Constant node; None for other nodes, and for strings and sparse tensors."""
    import numpy as np
    import onnx

    if node.op_type != "Constant" or node.domain not in ONNX or len(node.output) != 1:
        return None
    types = {"value_float": "float32", "value_floats": "float32", "value_int": "int64", "value_ints": "int64"}
    for attribute in node.attribute:
        if attribute.name == "value" and has_size(attribute.t):
            return attribute.t
        if attribute.name in types:
            value = onnx.helper.get_attribute_value(attribute)
            made: onnx.TensorProto = onnx.numpy_helper.from_array(np.array(value, types[attribute.name]))
            return made
    return None


def _bytes_of(piece: Array) -> bytes:
    return bytes(piece.tobytes())


def shared(a: Sequence[TensorInfo], b: Sequence[TensorInfo]) -> list[tuple[TensorInfo, TensorInfo]]:
    """Pairs of two models' inputs, or outputs: by name, and the rest in order, by type."""
    of_b = {info.name: info for info in b}
    pairs = [(info, of_b[info.name]) for info in a if info.name in of_b]
    taken = {info.name for info, _ in pairs}
    left = [info for info in b if info.name not in taken]
    for info in a:
        if info.name in taken:
            continue
        other = next((one for one in left if one.dtype == info.dtype and _ranks_agree(one, info)), None)
        if other is not None:
            left.remove(other)
            pairs.append((info, other))
    return pairs


def _ranks_agree(a: TensorInfo, b: TensorInfo) -> bool:
    return a.dims is None or b.dims is None or len(a.dims) == len(b.dims)
