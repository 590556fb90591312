"""int4: weights of matrix products are stored in 4 bits, in blocks that share a scale; the rest computes in half.

Only weights are quantized, so no calibration is needed. TensorRT dequantizes a block when it multiplies, which saves
memory and memory traffic, as large language models need. GPUs support it from Ampere on.
"""

from __future__ import annotations

from trtpipe.precisions import Precision
from trtpipe.spec.pipeline import Threshold

precision = Precision(
    name="int4",
    version=4,
    dtype="float16",
    keeps=("fp32", "fp16", "bf16"),
    quantized="int4",
    block=64,  # TensorRT takes 64 and 128, TensorRT-RTX smaller ones too
    opset=21,
    # Rounding a block of Gaussian weights to 15 levels leaves some 18 dB between them and their error.
    default_thresholds=(Threshold(metric="cosine", min=0.98),),
)
