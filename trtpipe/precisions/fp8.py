"""fp8: operands of convolutions and matrix products are quantized to float8 e4m3; the rest computes in half precision.

Like `int8`, but the type has 3 bits of mantissa and 4 of exponent: less exact near the largest magnitude, more exact
far below it. GPUs support it from Ada (sm89) on.
"""

from __future__ import annotations

from trtpipe.precisions import Precision
from trtpipe.spec.pipeline import Threshold

precision = Precision(
    name="fp8",
    version=5,
    dtype="float16",
    keeps=("fp32", "fp16", "bf16"),
    quantized="fp8",
    scaled=True,
    opset=21,
    # Rounding to 3 bits of mantissa errs by 2^-4 at most, uncorrelated; as for int8, two nines leave room for depth.
    default_thresholds=(Threshold(metric="cosine", min=0.98),),
)
