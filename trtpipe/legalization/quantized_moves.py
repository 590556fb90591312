"""Operators that only move or select elements of a quantized tensor, placed between a DQ and a Q node.

TensorRT has no uint8 between nodes and no zero points. Operations on a quantized tensor must therefore be between DQ
and Q; if they only move elements, the result is exactly equal. int8 with zero point 0 is left unchanged.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trtpipe.canonical.edits import attribute_of

if TYPE_CHECKING:
    import onnx

    from trtpipe.legalization.rewrites import Rewriting

_MOVING = frozenset(
    """DepthToSpace Expand Flatten Gather GatherElements GatherND GlobalMaxPool Identity MaxPool Reshape Resize Slice
    SpaceToDepth Squeeze Tile Transpose Unsqueeze""".split()  # noqa: SIM905
)
"""Operators whose every result is one of the elements of the first input."""


def moves(node: onnx.NodeProto) -> bool:
    """Whether a node only moves or selects elements of its first input."""
    plain = node.domain in ("", "ai.onnx") and node.op_type in _MOVING
    if not plain or len(node.output) != 1 or not node.input:
        return False
    return node.op_type != "Resize" or attribute_of(node, "mode") in (None, b"nearest")


def learn_scales(work: Rewriting, node: onnx.NodeProto) -> None:
    """Records the scale and zero point of a quantized tensor, if they are per tensor."""
    given = len(node.input) > 2 and node.input[2] and len(node.output) == 1
    if node.op_type == "QuantizeLinear" and not node.domain and given:
        if work.types.rank(node.input[1]) == 0 and work.types.rank(node.input[2]) == 0:
            work.scales[node.output[0]] = (node.input[1], node.input[2])
    elif moves(node) and node.input[0] in work.scales:
        work.scales[node.output[0]] = work.scales[node.input[0]]


def move_between(work: Rewriting, node: onnx.NodeProto) -> bool:
    """Puts a node that moves elements of a quantized tensor between DQ and Q, or moves its float copy as well."""
    if not moves(node):
        return False
    value = node.input[0]
    if value in work.twins:
        work.twins[node.output[0]] = _moved(work, node, work.twins[value], "")
        _moved(work, node, value, node.output[0])
        return True
    if value not in work.scales or _plain(work, value):
        return False
    scale, zero = work.scales[value]
    made = _moved(work, node, work.add("DequantizeLinear", [value, scale, zero]), "")
    work.add("QuantizeLinear", [made, scale, zero], node.output[0])
    return True


def dequantize_twin(work: Rewriting, node: onnx.NodeProto) -> bool:
    """Dequantizes integers of which a float copy is known: (x - zero point) scale."""
    if node.op_type != "DequantizeLinear" or node.domain or len(node.input) < 2 or not node.output:
        return False
    value, zero = node.input[0], node.input[2] if len(node.input) > 2 else ""
    if value not in work.twins or (zero and zero not in work.twins):
        return False
    made = work.twins[value]
    if zero:
        made = work.add("Sub", [made, work.twins[zero]])
    work.add("Mul", [made, node.input[1]], node.output[0], name=node.name)
    return True


def _moved(work: Rewriting, node: onnx.NodeProto, value: str, output: str) -> str:
    import onnx

    given = {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute}
    name = node.name if not output else ""
    return work.add(node.op_type, [value, *node.input[1:]], output, name=name, attributes=given)


def _plain(work: Rewriting, value: str) -> bool:
    """Whether it is int8 with zero point 0, which TensorRT supports."""
    points = work.values(work.scales[value][1])
    return points is not None and points.dtype == "int8" and not points.any()
