"""fp16: every node that can computes in IEEE half precision; inputs and outputs stay as the source has them.

What stays wider, and in which order that is decided, is described in `casting.planning`; the ranges of weights in
`casting.ranges`, those of activations on a calibration set in `casting.overflow`. Normalizations, softmax and sums
compute in float32 by default (`casting.defaults`); `keep: {fp16: [GLOB]}` holds nodes in half all the same. Models with
Q/DQ of their own are raised to the opset in which scales may be halves.
"""

from __future__ import annotations

from trtpipe.precisions import Precision
from trtpipe.spec.pipeline import Threshold

precision = Precision(
    name="fp16",
    version=4,
    dtype="float16",
    keeps=("fp32", "fp16"),
    # Half has 11 significant bits: an error of 2^-11 an operation, uncorrelated, leaves a deep network's outputs well
    # within three nines of cosine; below that something has overflowed or lost its small terms.
    default_thresholds=(Threshold(metric="cosine", min=0.999),),
)
