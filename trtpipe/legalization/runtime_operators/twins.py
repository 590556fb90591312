"""ONNX Runtime operators that have a standard equivalent, under the same or another name, and a few simple others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from trtpipe.legalization.runtime_operators.parts import (
    MICROSOFT,
    attributes_of,
    input_of,
    real_of,
    since,
)

if TYPE_CHECKING:
    import onnx

    from trtpipe.legalization.rewrites import Rewriting, Rule


def _twin(operator: str) -> Rule:
    """The standard operator with the same inputs and attributes."""

    def rule(work: Rewriting, node: onnx.NodeProto) -> bool:
        work.add(operator, list(node.input), node.output[0], name=node.name, attributes=attributes_of(node))
        return True

    return rule


def _expand_dims(work: Rewriting, node: onnx.NodeProto) -> bool:
    axis = work.values(node.input[1])
    if axis is None or axis.size != 1:
        return False
    where = work.constant([int(axis.reshape(-1)[0])], "axis")
    work.add("Unsqueeze", [node.input[0], where], node.output[0], name=node.name)
    return True


def _range(work: Rewriting, node: onnx.NodeProto) -> bool:
    start = node.input[0]
    known = work.types.dtype(start) in ("float32", "int32", "int64", "float64")
    if not known or any(work.types.rank(name) != 0 for name in node.input if name):
        return False
    step = input_of(node, 2) or work.number(1, start)
    work.add("Range", [start, node.input[1], step], node.output[0], name=node.name)
    return True


def _affine(work: Rewriting, node: onnx.NodeProto) -> bool:
    """alpha x + beta, an operator that was removed from the standard."""
    value = node.input[0]
    if not work.floating(value):
        return False
    scaled = work.add("Mul", [value, work.number(real_of(node, "alpha", 1), value)], name=node.name)
    work.add("Add", [scaled, work.number(real_of(node, "beta", 0), value)], node.output[0])
    return True


def _scaled_tanh(work: Rewriting, node: onnx.NodeProto) -> bool:
    value = node.input[0]
    if not work.floating(value):
        return False
    inner = work.add("Mul", [value, work.number(real_of(node, "beta", 0), value)])
    bent = work.add("Tanh", [inner], name=node.name)
    work.add("Mul", [bent, work.number(real_of(node, "alpha", 0), value)], node.output[0])
    return True


TWINS: Mapping[tuple[str, str], Rule] = {
    ("", "Affine"): _affine,
    ("", "ScaledTanh"): _scaled_tanh,
    (MICROSOFT, "ExpandDims"): since(13, _expand_dims),
    (MICROSOFT, "GatherND"): since(13, _twin("GatherND")),
    (MICROSOFT, "Pad"): since(13, _twin("Pad")),
    (MICROSOFT, "Range"): since(13, _range),
    (MICROSOFT, "Trilu"): since(14, _twin("Trilu")),
}
