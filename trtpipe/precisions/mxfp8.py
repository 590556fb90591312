"""mxfp8: both operands of matrix products in float8 e4m3, in blocks of 32 whose scales are powers of two.

Weights' scales come from their values, an activation's as it comes: no calibration. GPUs have it from Ada (sm89) on;
TensorRT-RTX 1.7 multiplies in what the rest computes in, so that there it saves memory and its traffic. On the CPU it
is proved by a twin that rounds as TensorRT does (`runners.dynamic_blocks`).
"""

from __future__ import annotations

from trtpipe.precisions import Precision
from trtpipe.spec.pipeline import Threshold

precision = Precision(
    name="mxfp8",
    version=3,
    dtype="float16",
    keeps=("fp32", "fp16", "bf16"),
    quantized="mxfp8",
    block=32,
    dynamic=True,
    opset=21,
    default_thresholds=(Threshold(metric="cosine", min=0.98),),  # as for fp8
)
