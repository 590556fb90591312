"""bf16: every node that can computes in bfloat16; inputs and outputs stay as the source has them.

bfloat16 reaches as far as float32, so nothing overflows that did not, but it has 8 significant bits. ONNX allows it for
convolutions and most activations from opset 22 on: models of older opsets are raised to it. Normalizations, softmax and
sums compute in float32 by default (`casting.defaults`); `keep: {bf16: [GLOB]}` holds nodes in bfloat16 all the same. On
the CPU it is proved by a float32 twin that rounds (`runners.bfloat16`).
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
