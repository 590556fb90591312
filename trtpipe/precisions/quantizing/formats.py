"""The quantized types: their largest magnitude, and numbers rounded to them.

int8 is symmetric: -127 to 127, as TensorRT takes no zero point and its calibrators used 127; int4 likewise, -7 to 7.
float8 e4m3 (OCP 8-bit floating point specification) reaches 448, float4 e2m1 (OCP microscaling formats) 6.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

Array = Any


@dataclass(frozen=True, slots=True)
class QuantizedType:
    """One quantized type."""

    dtype: ir.DataType
    largest: float

    def scale_of(self, amax: Array) -> Array:
        """The float32 scale that is nearest to amax divided by the largest number; 1 where there is nothing but zeros.

        Divided in float64: a scale that was multiplied by that number there comes back to the bit.
        """
        amax = np.asarray(amax, np.float64)
        return np.where(amax > 0, amax / self.largest, 1).astype(np.float32)

    def rounded(self, values: Array) -> Array:
        """Values that are already divided by their scale, as this type: nearest even, the ends saturating."""
        clipped = np.clip(values, -self.largest, self.largest)
        if self.dtype in (ir.DataType.INT8, ir.DataType.INT4):
            clipped = np.rint(clipped)
        return clipped.astype(self.dtype.numpy())


QUANTIZED = {
    "int8": QuantizedType(ir.DataType.INT8, 127),
    "fp8": QuantizedType(ir.DataType.FLOAT8E4M3FN, 448),
    "int4": QuantizedType(ir.DataType.INT4, 7),
    "fp4": QuantizedType(ir.DataType.FLOAT4E2M1, 6),
}
"""By the name that precisions have for them."""
