"""fp32: every node computes in float32.

A model whose floats are all float32 stays the same byte for byte. In any other, weights in float16, bfloat16 or float64
are cast to float32 and casts between float types are removed; inputs and outputs keep the source's types, with one Cast
each. Whether the hardware may use TF32 is set by the builder option `tf32`, not here.
"""

from __future__ import annotations

from trtpipe.precisions import Precision
from trtpipe.spec.pipeline import Threshold

precision = Precision(
    name="fp32",
    version=1,
    dtype="float32",
    keeps=(),
    # The graph is the reference's own; only folding and the order of additions may differ, by some 1e-6 in relation.
    default_thresholds=(Threshold(metric="cosine", min=0.99999),),
)
