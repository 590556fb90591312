"""int8: operands of convolutions and matrix products are quantized to 8 bits; the rest computes in half precision.

Symmetric: one scale for each activation tensor, from calibration, and one for each output channel of a weight, from its
values. Where Q and DQ are inserted is described in `quantization.places`. A variant chooses another type for the rest
with `base`.
"""

from __future__ import annotations

from trtpipe.precisions import Precision
from trtpipe.spec.pipeline import Threshold

precision = Precision(
    name="int8",
    version=5,
    dtype="float16",
    keeps=("fp32", "fp16", "bf16"),
    quantized="int8",
    scaled=True,
    opset=21,
    # Eight bits and a good scale leave some 40 dB between a tensor and its rounding error; this cosine is 14 dB.
    default_thresholds=(Threshold(metric="cosine", min=0.98),),
)
