"""fp16: every node that can computes in IEEE half precision; inputs and outputs keep the types of the source model.

Which nodes stay wider, and the order in which that is decided, is described in `casts.type_plan`; the ranges of weights
in `casts.ranges`, those of activations on a calibration set in `casts.overflow`. Normalizations, softmax and sums
compute in float32 by default (`casts.defaults`); `keep: {fp16: [GLOB]}` puts such nodes in half nevertheless. Models
with Q/DQ of their own are converted to the opset in which scales may be halves.
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
