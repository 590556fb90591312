"""Attention masks of ONNX Runtime: masks of four shapes, and causal masking."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from trtpipe.canonical.edits import integer_of
from trtpipe.canonical.tensors import number_of_dtype
from trtpipe.legalization.runtime_operators.parts import cast, real_of, size_of, squeezed, unsqueezed

if TYPE_CHECKING:
    import onnx

    from trtpipe.legalization.rewrites import Rewriting

_NONE, _LENGTHS, _ENDS, _KEYS, _PAIRS = "none", "lengths", "ends and starts", "keys", "pairs"


@dataclass(frozen=True)
class Hidden:
    """A mask, its form, and the value added to the score of a hidden key."""

    mask: str
    form: str
    value: float
    causal: bool

    @classmethod
    def of(cls, work: Rewriting, node: onnx.NodeProto, mask: str) -> Hidden | None:
        """The mask of a node; None if its form cannot be determined."""
        form = _form(work, node, mask)
        value = real_of(node, "mask_filter_value", -10000.0)
        causal = bool(integer_of(node, "unidirectional"))
        return cls(mask, form, value, causal) if form else None


def _form(work: Rewriting, node: onnx.NodeProto, mask: str) -> str:
    """The form of a mask; empty if it is unknown. For vectors it depends on the batch."""
    if not mask:
        return _NONE
    dims = work.types.dims(mask)
    if dims is None or work.types.dtype(mask) not in ("int32", "int64"):
        return ""
    if len(dims) in (2, 3):
        return _KEYS if len(dims) == 2 else _PAIRS
    batch = (work.types.dims(node.input[0]) or (None,))[0]
    if len(dims) != 1 or dims[0] is None or batch is None:
        return ""
    if dims[0] == batch:
        return _LENGTHS
    twice = isinstance(batch, int) and dims[0] == 2 * batch and node.op_type == "Attention"
    return _ENDS if twice else ""


def hide(work: Rewriting, scores: str, query: str, key: str, hidden: Hidden) -> str:
    """The scores (batch, head, query, key), lower where a query may not see a key."""
    if hidden.form != _NONE:
        unseen = _unseen(work, key, hidden)
        scores = work.add("Add", [scores, _lowered(work, unseen, scores, hidden.value)])
    if hidden.causal:
        later = _later(work, query, key)
        lowest = {"float16": -65504.0}.get(work.types.dtype(scores), -3.4028234663852886e38)
        scores = work.add("Where", [later, work.number(lowest, scores), scores])
    return scores


def _lowered(work: Rewriting, unseen: str, like: str, value: float) -> str:
    return work.add("Where", [unseen, work.number(value, like), work.number(0, like)])


def _unseen(work: Rewriting, key: str, hidden: Hidden) -> str:
    """Booleans, broadcastable to the scores, for the keys that are hidden."""
    mask = hidden.mask
    if hidden.form in (_KEYS, _PAIRS):
        seen = work.add("Greater", [mask, work.number(0, mask)])
        axes = (1, 2) if hidden.form == _KEYS else (1,)
        return unsqueezed(work, work.add("Not", [seen]), *axes)
    places = _places(work, key)
    if hidden.form == _LENGTHS:
        return _not_less(work, places, mask)
    batch = work.add("Div", [work.add("Shape", [mask]), work.constant([2], "half")])
    zero = work.constant([0], "first")
    ends = work.add("Slice", [mask, zero, batch, zero])
    starts = work.add("Slice", [mask, batch, work.add("Shape", [mask]), zero])
    before = work.add("Not", [_not_less(work, places, starts)])
    return work.add("Or", [_not_less(work, places, ends), before])


def _not_less(work: Rewriting, places: str, bounds: str) -> str:
    """Which positions (key) are at or after each bound (batch), as (batch, 1, 1, key)."""
    wide = cast(work, bounds, number_of_dtype("int64"))
    column = unsqueezed(work, wide, 1)
    less = work.add("Less", [places, column])
    return unsqueezed(work, work.add("Not", [less]), 1, 2)


def _places(work: Rewriting, value: str) -> str:
    """0, 1, 2, … for each position of (batch, head, position, element)."""
    count = squeezed(work, size_of(work, value, 2), 0)
    return work.add("Range", [work.constant(0, "zero"), count, work.constant(1, "one")])


def _later(work: Rewriting, query: str, key: str) -> str:
    """Which keys come after each query; the last query is aligned with the last key."""
    keys, queries = _places(work, key), _places(work, query)
    ahead = work.add("Sub", [size_of(work, key, 2), size_of(work, query, 2)])
    rows = unsqueezed(work, work.add("Add", [queries, ahead]), 1)
    return work.add("Greater", [keys, rows])
