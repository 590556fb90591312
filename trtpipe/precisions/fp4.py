"""fp4: weights of matrix products are stored in float4 e2m1, in blocks that share a scale; the rest is half precision.

Like `int4`, but with levels that lie closer together near zero. GPUs support it from Blackwell (sm120) on. ONNX
Runtime's CPU provider has no kernel for the type, so the weights are dequantized before the model is run there, which
changes no result.
"""

from __future__ import annotations

from trtpipe.precisions import Precision
from trtpipe.spec.pipeline import Threshold

precision = Precision(
    name="fp4",
    version=4,
    dtype="float16",
    keeps=("fp32", "fp16", "bf16"),
    quantized="fp4",
    block=16,
    opset=23,
    default_thresholds=(Threshold(metric="cosine", min=0.98),),  # the same reasoning as for int4
)
