"""fp4: weights of matrix products are kept in float4 e2m1, in blocks that share a scale; the rest in half precision.

As `int4`, with levels that lie closer near zero. GPUs have it from Blackwell (sm120) on. ONNX Runtime's CPU has no
kernel for the type: there the weights are dequantized before the model is run, which changes no result.
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
    default_thresholds=(Threshold(metric="cosine", min=0.98),),  # as for int4
)
