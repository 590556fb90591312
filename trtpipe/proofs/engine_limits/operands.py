"""Operands that TensorRT-RTX's parser or builder requires to be constant, or to have a certain constant value.

Model inputs whose values determine shapes are checked with the profiles instead (`value_inputs`). Reported here are
operands that are computed inside the model, or model inputs that must never be inputs.
"""

from __future__ import annotations

from collections.abc import Iterator

from trtpipe.proofs.engine_limits.refusal import CUT
from trtpipe.proofs.engine_limits.values import NodeView
from trtpipe.proofs.value_inputs import CONSTANT_OPERANDS

Said = Iterator[tuple[str, str]]

_QUANTIZERS = ("QuantizeLinear", "DequantizeLinear")
_ZERO_POINT = 2
_WINDOW = 2
_ALWAYS_SYMMETRIC = frozenset({"float8_e4m3fn", "float4_e2m1fn"})
"""Types whose zero point TensorRT does not look at."""
_NAMES = {
    "Squeeze": ("axes",),
    "Unsqueeze": ("axes",),
    "STFT": ("frame_step",),
}
_FOLDED = "export the model with a constant there"


def refused_operand(node: NodeView) -> Said:
    """Why an operand of this node is rejected; nothing if it may be accepted."""
    if node.op == "STFT" and node.varies(_WINDOW):
        yield "its window is computed, and TensorRT's parser accepts only a constant", _FOLDED
    for position, index in enumerate(CONSTANT_OPERANDS.get(node.op, ())):
        if node.varies(index):
            called = _NAMES.get(node.op, ("axes",))[position]
            yield f"its {called} are computed, and TensorRT's parser accepts only a constant", _FOLDED
    if node.op in _QUANTIZERS and node.has(_ZERO_POINT):
        yield from _zero_point(node)


def _zero_point(node: NodeView) -> Said:
    if node.dtype(_ZERO_POINT) in _ALWAYS_SYMMETRIC:
        return
    if node.varies(_ZERO_POINT):
        yield "its zero point is computed, and TensorRT's builder takes a constant only", _FOLDED
        return
    values = node.graph.constants.array(node.node.input[_ZERO_POINT])
    if values is not None and values.astype("float32").any():
        yield "its zero point is not 0, and TensorRT's parser accepts 0 only", CUT
