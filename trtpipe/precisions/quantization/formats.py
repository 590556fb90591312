"""The quantized types: largest magnitude, rounding, and the scales that values are divided by.

int8 is symmetric: -127 to 127, as TensorRT takes no zero point and its calibrators used 127; int4 likewise, -7 to 7.
The largest float8 e4m3 (OCP 8-bit floating point specification) is 448, the largest float4 e2m1 (OCP microscaling
formats) is 6.

In two formats the block scales have a narrow type themselves. mxfp8: e4m3 in blocks of 32 whose scales are powers of
two (e8m0), the smallest that covers the block, so that nothing is clipped. nvfp4: e2m1 in blocks of 16 whose scales are
e4m3 times one scale of the whole tensor, amax / (448 * 6).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

if TYPE_CHECKING:
    from trtpipe.arrays import Array


E4M3_LARGEST = 448.0
_E4M3_SMALLEST = 2.0**-9
_SMALLEST = 2.0**-126  # a normal float32, so that its reciprocal is finite
_SMALLEST_HALF, _LARGEST_HALF = 2.0**-14, 65504.0
_E8M0_BIAS, _E8M0_LARGEST = 127, 254


@dataclass(frozen=True, slots=True)
class QuantizedType:
    """One quantized type."""

    dtype: ir.DataType
    largest: float

    def scale_of(self, amax: Array | float, held: ir.DataType = ir.DataType.FLOAT) -> Array:
        """The scale for a largest magnitude, as float32; 1 when all values are zero.

        `held` is the float type that the scale will be stored in. For a narrow type the scale is rounded up here
        already, so that Q and DQ use the same number, and the largest magnitude is not clipped. Scales that float16
        cannot hold well stay float32, and so do their Q and DQ (`casts.ranges`). A float32 scale is the quotient in
        float64 rounded to nearest, so that a scale which was multiplied by the largest number in float64 is recovered
        bit for bit.
        """
        amax = np.asarray(amax, np.float64)
        exact = np.where(amax > 0, np.maximum(amax / self.largest, _SMALLEST), 1.0)
        fits = _SMALLEST_HALF <= exact.max(initial=0) <= _LARGEST_HALF
        if held not in _NARROW or (held == ir.DataType.FLOAT16 and not fits):
            return exact.astype(np.float32)
        return _rounded_up(exact, held)

    def rounded(self, values: Array) -> Array:
        """Rounds values that are already divided by their scale to this type: nearest even, saturating at both ends."""
        clipped = np.clip(values, -self.largest, self.largest)
        if self.dtype in (ir.DataType.INT8, ir.DataType.INT4):
            clipped = np.rint(clipped)
        return clipped.astype(self.dtype.numpy())


def _rounded_up(values: Array, held: ir.DataType) -> Array:
    """Rounds values up to a 16-bit float type and returns them as float32. They must be within its range."""
    dtype = np.dtype(held.numpy())
    nearest = np.asarray(values).astype(dtype)
    bits = nearest.view(np.uint16)  # of positive floats, these are in order
    up = bits + (nearest.astype(np.float64) < values)
    return np.asarray(up, bits.dtype).view(dtype).astype(np.float32)


_NARROW = frozenset({ir.DataType.FLOAT16, ir.DataType.BFLOAT16})

QUANTIZED = {
    "int8": QuantizedType(ir.DataType.INT8, 127),
    "fp8": QuantizedType(ir.DataType.FLOAT8E4M3FN, E4M3_LARGEST),
    "int4": QuantizedType(ir.DataType.INT4, 7),
    "fp4": QuantizedType(ir.DataType.FLOAT4E2M1, 6),
    "mxfp8": QuantizedType(ir.DataType.FLOAT8E4M3FN, E4M3_LARGEST),
    "nvfp4": QuantizedType(ir.DataType.FLOAT4E2M1, 6),
}
"""The quantized types by the precisions' names for them."""


def exponents_of(amax: Array) -> Array:
    """The e8m0 scales of mxfp8 blocks with these largest magnitudes, as bytes: 2**(byte - 127); 1 for zeros.

    Rounded up, as CUDA converts to e8m0: no element is clipped.
    """
    fraction, exponent = np.frexp(np.asarray(amax, np.float64) / E4M3_LARGEST)  # 0.5 <= fraction < 1
    least = np.where(fraction == 0.5, exponent - 1, exponent)
    biased = np.clip(least + _E8M0_BIAS, 0, _E8M0_LARGEST)
    return np.where(np.asarray(amax) > 0, biased, _E8M0_BIAS).astype(np.uint8)


def powers_of(exponents: Array) -> Array:
    """The values of e8m0 scales, as float32."""
    powers: Array = np.ldexp(np.float32(1), exponents.astype(np.int32) - _E8M0_BIAS)
    return powers.astype(np.float32)


def whole_scale(amax: Array | float) -> Array:
    """nvfp4's float32 scale of a whole tensor; it maps the largest block scale to the largest e4m3 number."""
    top = np.float32(E4M3_LARGEST * QUANTIZED["nvfp4"].largest)
    return QuantizedType(ir.DataType.FLOAT4E2M1, float(top)).scale_of(amax)


def block_scales(amax: Array, whole: Array) -> Array:
    """nvfp4's e4m3 scales of blocks with these largest magnitudes: nearest, never 0; 1 for zero blocks."""
    scales: Array = np.asarray(amax, np.float32) / np.float32(QUANTIZED["nvfp4"].largest) / np.float32(whole)
    scales = np.where(np.asarray(amax) > 0, np.clip(scales, _E4M3_SMALLEST, E4M3_LARGEST), np.float32(1))
    return scales.astype(ir.DataType.FLOAT8E4M3FN.numpy())
