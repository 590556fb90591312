"""bf16: every node that can computes in bfloat16; inputs and outputs keep the types of the source model.

bfloat16 has the range of float32, so no value overflows that did not overflow before, but it has only 8 significant
bits. ONNX allows it for convolutions and most activations from opset 22 on; models of older opsets are converted to
opset 22. Normalizations, softmax and sums compute in float32 by default (`casts.defaults`); `keep: {bf16: [GLOB]}` puts
such nodes in bfloat16 nevertheless. On the CPU it is validated with an equivalent float32 model that rounds to bfloat16
(`runners.cpu.bfloat16`).
"""

from __future__ import annotations

from trtpipe.precisions import Precision
from trtpipe.spec.pipeline import Threshold

precision = Precision(
    name="bf16",
    version=4,
    dtype="bfloat16",
    keeps=("fp32", "bf16"),
    opset=22,
    # An error of 2^-8 an operation, uncorrelated, grows with the root of the depth: a hundred layers stay within 4 %,
    # which two nines of cosine allow.
    default_thresholds=(Threshold(metric="cosine", min=0.99),),
)
