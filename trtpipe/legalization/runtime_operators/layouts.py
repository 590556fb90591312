"""Convolutions and pools with channels last, rewritten as the standard ones between Transposes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from trtpipe.canonical.edits import integer_of
from trtpipe.legalization.runtime_operators.fused import convolve
from trtpipe.legalization.runtime_operators.parts import MICROSOFT, attributes_of, transposed

if TYPE_CHECKING:
    import onnx

    from trtpipe.legalization.rewrites import Rewriting, Rule


def _orders(work: Rewriting, node: onnx.NodeProto) -> tuple[list[int], list[int]] | None:
    """The permutations that move the channels to the front and back; None if the rank is unknown.

    The rank may also be known from a convolution's weights.
    """
    ranks = [work.types.rank(name) for name in node.input[:2]]
    rank = ranks[0] or (ranks[1] if len(ranks) > 1 and "Conv" in node.op_type else None)
    if rank is None or rank < 3:
        return None
    return [0, rank - 1, *range(1, rank - 1)], [0, *range(2, rank), 1]


def _convolution(work: Rewriting, node: onnx.NodeProto) -> bool:
    """NhwcConv: only the data and the addend have channels last; weights have the usual layout."""
    orders = _orders(work, node)
    if orders is None or not work.floating(node.input[0]):
        return False
    inputs = list(node.input)
    for index in (0, 3):
        if index < len(inputs) and inputs[index]:
            inputs[index] = transposed(work, inputs[index], orders[0])
    made = convolve(work, node, inputs, "")
    if made is None:
        return False
    transposed(work, made, orders[1], node.output[0])
    return True


def _pool(operator: str) -> Rule:
    def rule(work: Rewriting, node: onnx.NodeProto) -> bool:
        orders = _orders(work, node)
        if orders is None or len(node.output) > 1 or integer_of(node, "storage_order"):
            return False
        first = transposed(work, node.input[0], orders[0])
        made = work.add(operator, [first], name=node.name, attributes=attributes_of(node))
        transposed(work, made, orders[1], node.output[0])
        return True

    return rule


LAYOUTS: Mapping[tuple[str, str], Rule] = {
    (MICROSOFT, "NhwcConv"): _convolution,
    (MICROSOFT, "NhwcFusedConv"): _convolution,
    (MICROSOFT, "NhwcMaxPool"): _pool("MaxPool"),
}
