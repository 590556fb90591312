"""Chooses the tensors to quantize: those where TensorRT fuses Q and DQ into a layer. Reads the graph, no weights.

    Conv, ConvTranspose, Gemm, MatMul   both operands; biases stay in float
    Add of a residual block             the operand that the preceding layer cannot add in its own epilogue

Everything else computes in float between a DQ and a Q. TensorRT moves a Q upwards through nodes that only move data,
and through MaxPool, so that these work on narrow tensors without a Q of their own. Left in float: what the spec keeps,
what the source has quantized already, and (tried on TensorRT-RTX 1.7)

    int8   a product of two computed operands: attention has a fused kernel in half and in fp8, and none in int8
    fp8    ConvTranspose, which is computed in float there, after a DQ; in int8 TensorRT-RTX does so too, TensorRT not

First and last layers are quantized like all others; use `keep` to exclude them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace

import onnx_ir as ir

from trtpipe.precisions.casts.constants import constant_of
from trtpipe.precisions.casts.element_types import Types, element_types
from trtpipe.precisions.casts.kept_nodes import named_nodes
from trtpipe.precisions.casts.signatures import FLOATS, is_standard
from trtpipe.precisions.casts.type_plan import TypePlan

_PRODUCTS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
_MOVES = frozenset({"Transpose", "Reshape", "Identity", "Cast", "Squeeze", "Unsqueeze", "Flatten"})
_DEQUANTIZES = frozenset({"DequantizeLinear", "TRT_FP8DequantizeLinear", "TRT_INT4DequantizeLinear"}) | {
    "TRT_MXFP8DequantizeLinear"
}


@dataclass(frozen=True, slots=True)
class WeightUse:
    """A constant operand of a node. `axis` is the channel axis with a scale for each channel; None: one scale for all.

    With a `block`, `axis` is the one that the product sums over, and every `block` elements along it share a scale. A
    constant that is transposed on its way to a product is an operand of the Transpose.
    """

    node: ir.Node
    index: int
    axis: int | None
    block: int = 0


@dataclass
class Placement:
    """The tensors to quantize, in graph order."""

    activations: dict[ir.Value, list[tuple[ir.Node, int]]] = field(default_factory=dict)
    """Tensor → the nodes and operands that will read its dequantized form."""
    weights: list[WeightUse] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    """Node that could be quantized → why it is not."""

    quantized: list[str] = field(default_factory=list)
    """Nodes with at least one quantized operand."""

    def names(self) -> tuple[str, ...]:
        """The activations that need a scale."""
        return tuple(value.name or "" for value in self.activations)

    def onto(self, plan: TypePlan) -> TypePlan:
        """The plan, with the reasons of nodes that are not quantized and the number of those that are."""
        nodes = dict(plan.nodes)
        for name, why in self.left_out.items():
            if name in nodes and not nodes[name].reason:
                nodes[name] = replace(nodes[name], reason=why)
        return replace(plan, nodes=nodes, quantized=tuple(self.quantized))


def place(
    model: ir.Model, keep: Mapping[str, str], *, scaled: Collection[str] | None = None, kind: str = ""
) -> Placement:
    """The placement for the main graph. `keep` maps nodes that stay float to the reason.

    If `scaled` is given, a node with an operand that is not in it stays float and is listed; `kind` is `int8` or `fp8`,
    or empty for everything that either of them may quantize.
    """
    types = element_types(model)
    found = Placement()
    for name, node in named_nodes(model).items():
        operands = list(_operands(node, types)) if is_standard(node) else []
        if not operands:
            continue
        if node.graph is not model.graph:
            found.left_out[name] = "it is in a branch or in the body of a loop"
            continue
        why = keep.get(name) or _refusal(node, operands, scaled, kind)
        if why:
            found.left_out[name] = why
            continue
        _add(found, node, operands)
        found.quantized.append(name)
    return found


def tensors_to_scale(model: ir.Model) -> tuple[str, ...]:
    """The activations that any quantized precision may need a scale for, whatever `keep` says. Reads no weights."""
    return place(model, {}).names()


def _operands(node: ir.Node, types: Types) -> Iterator[int]:
    """The positions of a node's operands to quantize; none for nodes that TensorRT keeps in float."""
    if node.op_type in _PRODUCTS:
        both = [types.get(value) in FLOATS for value in node.inputs[:2] if value is not None]
        if len(both) == 2 and all(both):
            yield from (0, 1)
    elif node.op_type == "Add" and not _is_quantized(node):
        yield from _residual(node, types)


def _is_quantized(node: ir.Node) -> bool:
    """Whether an operand of a node is already quantized in the source."""
    return any(comes_quantized(value) for value in node.inputs[:2])


def comes_quantized(value: ir.Value | None) -> bool:
    """Whether a tensor is already quantized in the source, directly or before its elements are moved."""
    maker = value.producer() if value is not None else None
    while maker is not None and maker.op_type in _MOVES:
        value = maker.inputs[0]
        maker = value.producer() if value is not None else None
    return maker is not None and maker.op_type in _DEQUANTIZES


def _residual(node: ir.Node, types: Types) -> Iterator[int]:
    """The shortcut of a residual Add: the operand that does not come from the layer whose epilogue the Add becomes.

    When both operands come from such layers, the Add is fused into the later one.
    """
    first, second = node.inputs[:2]
    if first is None or second is None or constant_of(first) is not None or constant_of(second) is not None:
        return
    if types.get(first) not in FLOATS or first is second:
        return
    fusing = [_ends_a_layer(value) for value in (first, second)]
    if fusing == [True, True]:
        yield 0 if _position(first) < _position(second) else 1
    elif any(fusing):
        yield fusing.index(False)


def _ends_a_layer(value: ir.Value) -> bool:
    producer = value.producer()
    alone = len(value.uses()) == 1 and not value.is_graph_output()
    return producer is not None and producer.op_type in ("Conv", "ConvTranspose") and alone


def _position(value: ir.Value) -> int:
    producer = value.producer()
    graph = producer.graph if producer is not None else None
    return next((i for i, node in enumerate(graph or ()) if node is producer), -1)


def _refusal(node: ir.Node, operands: list[int], scaled: Collection[str] | None, kind: str) -> str:
    if _is_quantized(node):
        return "the source has quantized it already"
    weights = {index: found for index in operands if (found := weight_of(node, index)) is not None}
    if len(weights) == 2:
        return "both operands are constant"
    if node.op_type in ("Conv", "ConvTranspose") and 1 not in weights:
        return "its kernel is computed, not constant"
    if node.op_type == "Gemm" and flag(node, "transA"):
        return "its first operand is transposed"
    if kind == "fp8" and node.op_type == "ConvTranspose":
        return "TensorRT computes it in float, not in fp8"
    if kind == "int8" and node.op_type in _PRODUCTS and not weights:
        return "it multiplies two computed tensors: TensorRT fuses attention in float, and not in int8"
    computed = [node.inputs[index] for index in operands if index not in weights]
    names = [value.name or "" for value in computed if value is not None]
    missing = [name for name in names if scaled is not None and name not in scaled]
    return f"the calibration has no scale for '{missing[0]}'" if missing else ""


def _add(found: Placement, node: ir.Node, operands: list[int]) -> None:
    for index in operands:
        value = node.inputs[index]
        assert value is not None, "an operand is there"
        weight = weight_of(node, index)
        if weight is None:
            found.activations.setdefault(value, []).append((node, index))
        else:
            found.weights.append(weight.along(channel_axis(node, index, len(weight.axes))))


@dataclass(frozen=True, slots=True)
class Weight:
    """A constant that is an operand of a product, or of the Transpose in front of it."""

    node: ir.Node
    index: int
    axes: tuple[int, ...]
    """The constant's axis for each axis of the product's operand."""

    def along(self, axis: int | None, block: int = 0) -> WeightUse:
        """This weight with scales along an axis of the product's operand."""
        return WeightUse(self.node, self.index, None if axis is None else self.axes[axis], block)


def weight_of(node: ir.Node, index: int) -> Weight | None:
    """The constant behind an operand, also when transposed for this product only; None if the operand is computed."""
    value = node.inputs[index]
    tensor = constant_of(value)
    if tensor is not None:
        return Weight(node, index, tuple(range(len(tensor.shape))))
    maker = value.producer() if value is not None else None
    if value is None or maker is None or maker.op_type not in ("Transpose", "Identity"):
        return None
    source = constant_of(maker.inputs[0])
    if source is None or len(value.uses()) != 1 or value.is_graph_output():
        return None
    rank = len(source.shape)
    order = maker.attributes.get("perm")
    default = range(rank) if maker.op_type == "Identity" else reversed(range(rank))
    return Weight(maker, 0, tuple(default if order is None else order.as_ints()))


def channel_axis(node: ir.Node, index: int, rank: int) -> int | None:
    """The axis of a weight's output channels, along which TensorRT accepts one scale each."""
    if node.op_type == "Conv":
        return 0
    if node.op_type == "ConvTranspose":
        return 1 if flag(node, "group", 1) == 1 else None
    if index != 1 or rank != 2:
        return None
    return 0 if node.op_type == "Gemm" and flag(node, "transB") else 1


def flag(node: ir.Node, name: str, default: int = 0) -> int:
    """An integer attribute, or the default (0 unless given) when it is absent."""
    attribute = node.attributes.get(name)
    return int(attribute.value) if attribute is not None else default
