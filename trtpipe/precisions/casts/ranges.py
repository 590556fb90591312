"""Finds weights that a narrower type cannot hold: some overflow, or all become zero or subnormal.

The largest IEEE 754 binary16 number is 65504; its smallest normal number is 2^-14 and its smallest subnormal 2^-24.
TensorRT may flush subnormals to zero. Reads each weight once, in pieces. Looks at weights only, not at the nodes that
use them.
"""

from __future__ import annotations

import onnx_ir as ir

from trtpipe.precisions.casts.constants import HALF_LARGEST, chunks_of, peak_of

HALF_ROUNDS_TO_INFINITY = 65520.0
HALF_SMALLEST_NORMAL = 2.0**-14


def largest_magnitude(tensor: ir.TensorProtocol) -> float:
    """The largest finite magnitude of a float tensor's elements; 0 when it has no finite element."""
    return max((peak_of(chunk) for chunk in chunks_of(tensor)), default=0.0)


def why_not_half(largest: float) -> str:
    """Why half precision cannot hold a weight with this largest magnitude; empty when it can."""
    if largest >= HALF_ROUNDS_TO_INFINITY:
        return f"reaches {largest:.6g}, beyond float16's {HALF_LARGEST:.0f}"
    if 0 < largest < HALF_SMALLEST_NORMAL:
        return f"is at most {largest:.6g}, below float16's smallest normal number {HALF_SMALLEST_NORMAL:.3g}"
    return ""
