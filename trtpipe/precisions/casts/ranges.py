"""Finds weights that a narrower type cannot hold: some overflow, or all become zero or subnormal.

The largest IEEE 754 binary16 number is 65504; its smallest normal number is 2^-14 and its smallest subnormal 2^-24.
TensorRT may flush subnormals to zero. Looks at weights only, not at the nodes that use them.
"""

from __future__ import annotations

from trtpipe.precisions.casts.constants import HALF_LARGEST

HALF_ROUNDS_TO_INFINITY = 65520.0
HALF_SMALLEST_NORMAL = 2.0**-14


def why_not_half(largest: float) -> str:
    """Why half precision cannot hold a weight with this largest magnitude; empty when it can."""
    if largest >= HALF_ROUNDS_TO_INFINITY:
        return f"reaches {largest:.6g}, beyond float16's {HALF_LARGEST:.0f}"
    if 0 < largest < HALF_SMALLEST_NORMAL:
        return f"is at most {largest:.6g}, below float16's smallest normal number {HALF_SMALLEST_NORMAL:.3g}"
    return ""
