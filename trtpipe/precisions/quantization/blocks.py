"""Chooses the matrix products quantized in blocks: weights only, or both operands. Reads the graph, no weights.

Blocks run along the axis that a product sums over: the rows of a MatMul's right operand; for Gemm it depends on its
transposition. That operand must be a constant matrix, and the size of the axis a multiple of the block. Where
activations are quantized at run time too, TensorRT accepts them with two or three axes, and blocks run along the last.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, fields

import onnx_ir as ir

from trtpipe.precisions.casts.constants import constant_of
from trtpipe.precisions.casts.element_types import element_types
from trtpipe.precisions.casts.kept_nodes import named_nodes
from trtpipe.precisions.casts.signatures import FLOATS, is_standard
from trtpipe.precisions.casts.type_plan import TypePlan
from trtpipe.precisions.quantization.places import Placement, Weight, comes_quantized, flag, weight_of

_PRODUCTS = ("Gemm", "MatMul")
_TAKEN_AXES = (2, 3)


@dataclass(frozen=True)
class BlockPlan(TypePlan):
    """A type plan, and what is quantized in blocks once the types are decided."""

    placement: Placement = field(default_factory=Placement)
    scales: Mapping[ir.Node, float] = field(default_factory=dict)
    """Node → the largest magnitude of its activation, where a calibration found them."""

    @classmethod
    def of(cls, plan: TypePlan, placement: Placement, amax: Mapping[str, float]) -> BlockPlan:
        """The plan with this placement; tensors are identified by their names before the rewrite."""
        known = {one.name: getattr(plan, one.name) for one in fields(TypePlan)}
        scales = {
            node: amax[value.name or ""]
            for value, uses in placement.activations.items()
            for node, _ in uses
            if value.name in amax
        }
        return cls(**known, placement=placement, scales=scales)


def place_weights(model: ir.Model, keep: Mapping[str, str], block: int) -> Placement:
    """The placement that quantizes only weights. `keep` maps nodes that stay float to the reason."""
    found = Placement(left_out=_convolutions(model))
    for name, node, weight in _products(model):
        why = keep.get(name) or _no_main(model, node) or _no_blocks(node, weight, block)
        if why:
            found.left_out[name] = why
            continue
        found.weights.append(weight.along(_summed_axis(node), block))
        found.quantized.append(name)
    return found


def place_blocks(
    model: ir.Model, keep: Mapping[str, str], block: int, *, scaled: Collection[str] | None = None
) -> Placement:
    """The placement that quantizes both operands. If `scaled` is given, only activations in it are quantized."""
    found = Placement(left_out=_convolutions(model))
    for name, node, weight in _products(model):
        why = keep.get(name) or _no_main(model, node) or _no_blocks(node, weight, block, least=2)
        why = why or _no_activation(node, scaled)
        if why:
            found.left_out[name] = why
            continue
        value = node.inputs[0]
        assert value is not None, "a product has a left operand"
        found.activations.setdefault(value, []).append((node, 0))
        found.weights.append(weight.along(_summed_axis(node), block))
        found.quantized.append(name)
    return found


def _products(model: ir.Model) -> Iterator[tuple[str, ir.Node, Weight]]:
    """The matrix products with a constant operand by name; the right operand when both are constant."""
    types = element_types(model)
    for name, node in named_nodes(model).items():
        if node.op_type not in _PRODUCTS or not is_standard(node):
            continue
        if all(value is not None and types.get(value) in FLOATS for value in node.inputs[:2]):
            weight = weight_of(node, 1) or weight_of(node, 0)
            if weight is not None:
                yield name, node, weight


def _convolutions(model: ir.Model) -> dict[str, str]:
    """The convolutions, with the reason why they are not quantized in blocks."""
    convolutions = (
        name for name, node in named_nodes(model).items() if node.op_type in ("Conv", "ConvTranspose")
    )
    return dict.fromkeys(convolutions, "blocks are of matrix products, and it is a convolution")


def _no_main(model: ir.Model, node: ir.Node) -> str:
    return "" if node.graph is model.graph else "it is in a branch or in the body of a loop"


def _summed_axis(node: ir.Node) -> int:
    return 1 if node.op_type == "Gemm" and flag(node, "transB") else 0


def _no_blocks(node: ir.Node, weight: Weight, block: int, least: int = 1) -> str:
    """Why a weight cannot be split into blocks, or has fewer than `least`; empty when it can."""
    if weight_of(node, 1) is None:
        return "its constant is the left operand, and blocks are of right ones"
    tensor = constant_of(weight.node.inputs[weight.index])
    assert tensor is not None, "a weight is a constant"
    shape = tensor.shape.numpy()
    if len(shape) != 2:
        return f"its weight has {len(shape)} axes, and blocks are of matrices"
    size = shape[weight.axes[_summed_axis(node)]]
    if size % block:
        return f"the {size} elements that it sums over are not a multiple of the block of {block}"
    few = size < least * block
    return (
        f"the {size} elements that it sums over are one block, and TensorRT takes two or more" if few else ""
    )


def _no_activation(node: ir.Node, scaled: Collection[str] | None) -> str:
    """Why the left operand cannot be quantized at run time; empty when it can."""
    value = node.inputs[0]
    assert value is not None, "a product has a left operand"
    if weight_of(node, 0) is not None:
        return "both operands are constant"
    if comes_quantized(value):
        return "the source has quantized it already"
    if node.op_type == "Gemm" and flag(node, "transA"):
        return "its first operand is transposed"
    axes = 2 if node.op_type == "Gemm" else None if value.shape is None else len(value.shape)
    if axes is None:
        return f"how many axes '{value.name}' has is not known"
    if axes not in _TAKEN_AXES:
        return f"'{value.name}' has {axes} axes, and TensorRT quantizes those of 2 or 3 as they come"
    lacking = scaled is not None and (value.name or "") not in scaled
    return f"the calibration has no scale for '{value.name}'" if lacking else ""
