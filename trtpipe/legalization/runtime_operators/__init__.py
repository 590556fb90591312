"""Operators that ONNX Runtime's optimizer and its tools for transformers write, as standard ones of the same function.

`com.microsoft` is no domain of ONNX's, and TensorRT's parser goes by an operator's name alone: it reads some of them as
standard operators of that name, which others than ONNX Runtime then do not compute. One module a kind; what a rule
cannot take, an odd form or a value whose type is not known, stays as it is and is told by `check`.
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
