"""ONNX Runtime's Attention and MultiHeadAttention, as matrix products, a Softmax and a mask."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trtpipe.canonical.edits import integer_of, integers_of
from trtpipe.legalization.runtime_operators.masks import Hidden, hide
from trtpipe.legalization.runtime_operators.parts import (
    MICROSOFT,
    input_of,
    other_outputs,
    picked,
    real_of,
    since,
    summed,
    transposed,
    unsqueezed,
)

if TYPE_CHECKING:
    import onnx

    from trtpipe.legalization.rewrites import Rewriting, Rule


@dataclass(frozen=True)
class Heads:
    """Queries, keys and values as (batch, head, position, element)."""

    query: str
    key: str
    value: str
    size: int | None
    """The elements of a head of queries, where they are fixed."""


def _attention(work: Rewriting, node: onnx.NodeProto) -> bool:
    """Attention: queries, keys and values come from one product with the input."""
    value, weights, past = node.input[0], node.input[1], input_of(node, 4)
    sizes = _sizes(work, node, weights)
    odd = integer_of(node, "do_rotary") or integer_of(node, "past_present_share_buffer")
    mask = Hidden.of(work, node, input_of(node, 3))
    if not sizes or odd or mask is None or input_of(node, 6) or not work.floating(value):
        return False
    made = work.add("MatMul", [value, weights], name=node.name)
    parts = work.add_split(summed(work, made, input_of(node, 2)), sizes, -1)
    heads = integer_of(node, "num_heads")
    query, key, content = (_by_head(work, part, heads) for part in parts)
    if past:
        key = work.add("Concat", [picked(work, past, 0), key], axis=2)
        content = work.add("Concat", [picked(work, past, 1), content], axis=2)
    if len(node.output) > 1 and node.output[1]:
        both = [unsqueezed(work, one, 0) for one in (key, content)]
        work.add("Concat", both, node.output[1], axis=0)
    return _attend(work, node, Heads(query, key, content, sizes[0] // heads), mask, input_of(node, 5))


def _sizes(work: Rewriting, node: onnx.NodeProto, weights: str) -> list[int]:
    """The sizes of queries, keys and values; empty when they are unknown."""
    given, heads = integers_of(node, "qkv_hidden_sizes"), integer_of(node, "num_heads")
    if not given:
        whole = work.types.size(weights, -1) or 0
        given = [whole // 3] * 3 if whole % 3 == 0 else []
    usable = len(given) == 3 and heads > 0 and all(size > 0 and size % heads == 0 for size in given)
    return given if usable else []


def _by_head(work: Rewriting, value: str, heads: int) -> str:
    """(batch, position, heads x element) → (batch, head, position, element)."""
    split = work.add("Reshape", [value, work.constant([0, 0, heads, -1], "heads")])
    return transposed(work, split, [0, 2, 1, 3])


def _attend(work: Rewriting, node: onnx.NodeProto, heads: Heads, mask: Hidden, bias: str) -> bool:
    """The attention output of each query; False if the scale is unknown."""
    scale = real_of(node, "scale", 0.0) or (heads.size**-0.5 if heads.size else 0.0)
    if not scale:
        return False
    query = work.add("Mul", [heads.query, work.number(scale, heads.query)])
    scores = work.add("MatMul", [query, transposed(work, heads.key, [0, 1, 3, 2])])
    if bias:
        scores = work.add("Add", [scores, bias])
    scores = hide(work, scores, heads.query, heads.key, mask)
    shares = work.add("Softmax", [scores], axis=-1)
    made = transposed(work, work.add("MatMul", [shares, heads.value]), [0, 2, 1, 3])
    work.add("Reshape", [made, work.constant([0, 0, -1], "joined")], node.output[0])
    return True


def _multi_head(work: Rewriting, node: onnx.NodeProto) -> bool:
    """MultiHeadAttention: queries, keys and values are given, separately or packed together."""
    mask = Hidden.of(work, node, input_of(node, 4))
    odd = input_of(node, 8) or input_of(node, 9) or other_outputs(node, [0, 1, 2])
    if mask is None or odd or not work.floating(node.input[0]) or integer_of(node, "num_heads") < 1:
        return False
    heads = _heads(work, node)
    if heads is None:
        return False
    key = _with_past(work, node, heads.key, 6, 1)
    value = _with_past(work, node, heads.value, 7, 2)
    return _attend(work, node, Heads(heads.query, key, value, heads.size), mask, input_of(node, 5))


def _with_past(work: Rewriting, node: onnx.NodeProto, value: str, past: int, present: int) -> str:
    """Keys or values appended to those of the past; the result may also be an output."""
    shown = node.output[present] if len(node.output) > present else ""
    earlier = input_of(node, past)
    if earlier:
        return work.add("Concat", [earlier, value], shown, axis=2)
    return work.add("Identity", [value], shown) if shown else value


def _heads(work: Rewriting, node: onnx.NodeProto) -> Heads | None:
    """Queries, keys and values in the supported input forms; None for other forms and unknown ranks."""
    names = [input_of(node, index) for index in range(3)]
    ranks = [work.types.rank(name) if name else 0 for name in names]
    biases = _biases(work, node)
    if biases is None:
        return None
    if ranks == [5, 0, 0] and not input_of(node, 3):
        return _packed(work, names[0])
    if ranks == [3, 3, 3]:
        count = integer_of(node, "num_heads")
        size = work.types.size(names[0], -1)
        if size is None and not real_of(node, "scale", 0.0):
            return None
        moved = [summed(work, name, bias) for name, bias in zip(names, biases, strict=True)]
        query, key, value = (_by_head(work, name, count) for name in moved)
        return Heads(query, key, value, size // count if size else None)
    if ranks == [3, 4, 4]:
        return _kept_keys(work, node, names, biases)
    return _packed_pairs(work, node, names) if ranks == [3, 5, 0] and not input_of(node, 3) else None


def _biases(work: Rewriting, node: onnx.NodeProto) -> list[str] | None:
    """The parts of the bias for queries, keys and values; None if their sizes are unknown."""
    bias = input_of(node, 3)
    if not bias:
        return [""] * 3
    whole, first = work.types.size(bias, 0), work.types.size(node.input[0], -1)
    if not whole:
        return None
    second = first if work.types.rank(input_of(node, 1)) == 4 else work.types.size(input_of(node, 1), -1)
    first, second = first or whole // 3, second or first or whole // 3
    third = whole - first - second
    if third <= 0:
        return None
    return work.add_split(bias, [first, second, third], 0)


def _kept_keys(
    work: Rewriting, node: onnx.NodeProto, names: Sequence[str], biases: Sequence[str]
) -> Heads | None:
    """Keys and values that are already split by head, as in a decoder's cross attention; they have no bias."""
    count, size = integer_of(node, "num_heads"), work.types.size(names[0], -1)
    if size is None and not real_of(node, "scale", 0.0):
        return None
    query = _by_head(work, summed(work, names[0], biases[0]), count)
    return Heads(query, names[1], names[2], size // count if size else None)


def _packed(work: Rewriting, packed: str) -> Heads | None:
    """Queries, keys and values packed as (batch, position, head, 3, element)."""
    size = work.types.size(packed, -1)
    if not size:
        return None
    query, key, value = (transposed(work, picked(work, packed, index, 3), [0, 2, 1, 3]) for index in range(3))
    return Heads(query, key, value, size)


def _packed_pairs(work: Rewriting, node: onnx.NodeProto, names: Sequence[str]) -> Heads | None:
    """Separate queries, and keys and values packed as (batch, position, head, 2, element)."""
    size = work.types.size(names[1], -1)
    if not size:
        return None
    query = _by_head(work, names[0], integer_of(node, "num_heads"))
    key, value = (transposed(work, picked(work, names[1], index, 3), [0, 2, 1, 3]) for index in range(2))
    return Heads(query, key, value, size)


ATTENTION: Mapping[tuple[str, str], Rule] = {
    (MICROSOFT, "Attention"): since(13, _attention),
    (MICROSOFT, "MultiHeadAttention"): since(13, _multi_head),
}
