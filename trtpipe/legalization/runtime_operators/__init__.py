"""Rewrites operators that ONNX Runtime's optimizer and its tools for transformers write as standard ones.

`com.microsoft` is not a standard domain, and TensorRT's parser looks only at an operator's name: it reads some of them
as the standard operator of that name, while only ONNX Runtime computes them as defined. There is one module for each
kind; a node that a rule cannot handle, because of an unusual form or an unknown type, stays unchanged and is reported
by `check`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from trtpipe.legalization.runtime_operators.activations import ACTIVATIONS
from trtpipe.legalization.runtime_operators.attention import ATTENTION
from trtpipe.legalization.runtime_operators.fused import FUSED
from trtpipe.legalization.runtime_operators.integers import INTEGERS
from trtpipe.legalization.runtime_operators.layouts import LAYOUTS
from trtpipe.legalization.runtime_operators.normalizations import NORMALIZATIONS
from trtpipe.legalization.runtime_operators.positions import POSITIONS
from trtpipe.legalization.runtime_operators.recurrences import RECURRENCES
from trtpipe.legalization.runtime_operators.twins import TWINS
from trtpipe.legalization.runtime_operators.weights import WEIGHTS

if TYPE_CHECKING:
    from trtpipe.legalization.rewrites import Rule

RUNTIME: Mapping[tuple[str, str], Rule] = {
    **ACTIVATIONS,
    **ATTENTION,
    **FUSED,
    **INTEGERS,
    **LAYOUTS,
    **NORMALIZATIONS,
    **POSITIONS,
    **RECURRENCES,
    **TWINS,
    **WEIGHTS,
}
"""Domain and operator → the rule that writes it out."""
