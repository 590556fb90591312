"""mxfp8: both operands of matrix products in float8 e4m3, in blocks of 32 whose scales are powers of two.

Scales of weights come from their values, those of activations are computed at run time, so no calibration is needed.
GPUs support it from Ada (sm89) on; TensorRT-RTX 1.7 multiplies in the type of the rest of the model, so that there it
only saves memory and memory traffic. On the CPU it is validated with an equivalent float32 model that rounds as
TensorRT does (`runners.cpu.dynamic_blocks`).
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
    default_thresholds=(Threshold(metric="cosine", min=0.98),),  # the same reasoning as for fp8
)
