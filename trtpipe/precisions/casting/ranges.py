"""Which weights do not survive a narrower type: they overflow, or all of them vanish or become subnormal.

IEEE 754 binary16 reaches 65504; its smallest normal number is 2^-14 and its smallest subnormal 2^-24. TensorRT may
flush subnormals to zero. Reads each weight once, in pieces. Knows nothing of nodes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from trtpipe.precisions.casting.constants import chunks_of

HALF_LARGEST = 65504.0
HALF_ROUNDS_TO_INFINITY = 65520.0
HALF_SMALLEST_NORMAL = 2.0**-14


@dataclass(frozen=True, slots=True)
class WeightRange:
    """The magnitudes of a weight's finite elements that are not zero; both 0 when there are none."""

    smallest: float
    largest: float


def weight_range(tensor: ir.TensorProtocol) -> WeightRange:
    """The range of a float tensor's magnitudes."""
    smallest, largest = np.inf, 0.0
    for chunk in chunks_of(tensor):
        magnitude = np.abs(chunk)
        magnitude = magnitude[np.isfinite(magnitude) & (magnitude > 0)]
        if magnitude.size:
            smallest = min(smallest, float(magnitude.min()))
            largest = max(largest, float(magnitude.max()))
    return WeightRange(smallest if largest else 0.0, largest)


def why_not_half(found: WeightRange) -> str:
    """What half precision would do to such a weight; empty when it holds it well."""
    if found.largest >= HALF_ROUNDS_TO_INFINITY:
        return f"reaches {found.largest:.6g}, beyond float16's {HALF_LARGEST:.0f}"
    if 0 < found.largest < HALF_SMALLEST_NORMAL:
        return f"is at most {found.largest:.6g}, below float16's smallest normal number {HALF_SMALLEST_NORMAL:.3g}"
    return ""
