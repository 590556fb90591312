"""Whether it is safe to let ONNX compute the values of shape tensors during shape inference.

Inference stores every element of such a value. Sixty Concats, each of which takes the previous one twice, would need
more elements than any memory holds; no real shape has that many.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trtpipe.canonical.tensors import nodes_of

if TYPE_CHECKING:
    import onnx

_MOST_ELEMENTS = 1 << 16
_CARRIERS = frozenset(
    ("Identity", "Cast", "Squeeze", "Unsqueeze", "Gather", "Slice", "Add", "Sub", "Mul", "Div", "Abs", "Neg")
)
"""Through which ONNX follows values, and which yield no more elements than they are given."""


def values_fit(model: onnx.ModelProto) -> bool:
    """Whether all values that ONNX would propagate have at most as many elements as a real shape."""
    counts: dict[str, int] = {}
    for node in nodes_of(model):
        if node.op_type == "Concat":
            count = sum(counts.get(name, 1) for name in node.input)
        elif node.op_type in _CARRIERS:
            count = max((counts.get(name, 1) for name in node.input), default=1)
        else:
            continue
        if count > _MOST_ELEMENTS:
            return False
        counts.update(dict.fromkeys(node.output, count))
    return True
