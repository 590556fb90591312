"""nvfp4: both operands of matrix products in float4 e2m1, in blocks of 16; the rest computes in half precision.

Each block has a scale in float8 e4m3, and all blocks of a tensor share one more scale in float32. For weights both come
from their values; for activations block scales are computed at run time, and calibration finds the scale of the whole
tensor. GPUs support it from Blackwell (sm120) on. On the CPU it is validated with an equivalent float32 model that
rounds as TensorRT does (`runners.cpu.dynamic_blocks`).
"""

from __future__ import annotations

from trtpipe.precisions import Precision
from trtpipe.spec.pipeline import Threshold

precision = Precision(
    name="nvfp4",
    version=3,
    dtype="float16",
    keeps=("fp32", "fp16", "bf16"),
    quantized="nvfp4",
    block=16,
    dynamic=True,
    scaled=True,
    opset=23,
    # Rounding Gaussian values to e2m1 in blocks of 16 leaves some 20 dB; two operands, and depth, take half of that.
    default_thresholds=(Threshold(metric="cosine", min=0.97),),
)
