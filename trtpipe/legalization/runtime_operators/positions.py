"""Rotary position embeddings of ONNX Runtime: elements of a head rotated by the angles of their position."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from trtpipe.canonical.edits import integer_of
from trtpipe.legalization.runtime_operators.parts import (
    MICROSOFT,
    picked,
    real_of,
    since,
    size_of,
    squeezed,
    unsqueezed,
)

if TYPE_CHECKING:
    import onnx

    from trtpipe.legalization.rewrites import Rewriting, Rule


def _rotary(work: Rewriting, node: onnx.NodeProto) -> bool:
    """RotaryEmbedding of (batch, position, heads x element) or (batch, head, position, element)."""
    value, places, cosine = node.input[0], node.input[1], node.input[2]
    rank, half = work.types.rank(value), work.types.size(cosine, -1)
    odd = integer_of(node, "is_packed_batching") or real_of(node, "scale", 1.0) != 1.0
    if odd or rank not in (3, 4) or not half or work.types.rank(places) not in (1, 2):
        return False
    head = _head_size(work, node, half)
    if not head or not work.floating(value):
        return False
    if rank == 3:
        split = work.add("Reshape", [value, work.constant([0, 0, -1, head], "heads")])
        angles = _angles(work, node, value, 1, 2)
    else:
        split, angles = value, _angles(work, node, value, 2, 1)
    turned = _turned(work, node, split, angles, half, head)
    if rank == 3:
        work.add("Reshape", [turned, work.add("Shape", [value])], node.output[0], name=node.name)
    else:
        work.add("Identity", [turned], node.output[0], name=node.name)
    return True


def _head_size(work: Rewriting, node: onnx.NodeProto, half: int) -> int | None:
    """The size of a head; all elements are rotated unless `rotary_embedding_dim` limits them."""
    turning, heads = integer_of(node, "rotary_embedding_dim"), integer_of(node, "num_heads")
    if not turning:
        return 2 * half
    whole = work.types.size(node.input[0], -1)
    if not whole or 2 * half != turning:
        return None
    if work.types.rank(node.input[0]) == 4:
        return whole
    return whole // heads if heads and whole % heads == 0 else None


def _angles(work: Rewriting, node: onnx.NodeProto, value: str, axis: int, head_axis: int) -> tuple[str, str]:
    """Cosines and sines of each position, with an axis for the heads."""
    places = node.input[1]
    if work.types.rank(places) == 1:  # the position of the first token; the others follow it
        count = squeezed(work, size_of(work, value, axis), 0)
        steps = work.add("Range", [work.constant(0, "zero"), count, work.constant(1, "one")])
        places = unsqueezed(work, work.add("Add", [steps, places]), 0)
    cosine, sine = (
        unsqueezed(work, work.add("Gather", [table, places]), head_axis) for table in node.input[2:4]
    )
    return cosine, sine


def _turned(
    work: Rewriting,
    node: onnx.NodeProto,
    value: str,
    angles: tuple[str, str],
    half: int,
    head: int,
) -> str:
    """Rotates pairs of elements: neighbours if interleaved, otherwise one element from each half."""
    rest = head - 2 * half
    parts = work.add_split(value, [2 * half, rest], -1) if rest else [value]
    if integer_of(node, "interleaved"):
        pairs = work.add("Reshape", [parts[0], work.constant([0, 0, 0, half, 2], "pairs")])
        first, second = (picked(work, pairs, index, 4) for index in range(2))
    else:
        first, second = work.add_split(parts[0], [half, half], -1)
    cosine, sine = angles
    left = work.add("Sub", [work.add("Mul", [first, cosine]), work.add("Mul", [second, sine])])
    right = work.add("Add", [work.add("Mul", [first, sine]), work.add("Mul", [second, cosine])])
    if integer_of(node, "interleaved"):
        both = [unsqueezed(work, one, 4) for one in (left, right)]
        shape = work.constant([0, 0, 0, -1], "joined")
        turned = work.add("Reshape", [work.add("Concat", both, axis=4), shape])
    else:
        turned = work.add("Concat", [left, right], axis=-1)
    return work.add("Concat", [turned, *parts[1:]], axis=-1) if rest else turned


POSITIONS: Mapping[tuple[str, str], Rule] = {(MICROSOFT, "RotaryEmbedding"): since(13, _rotary)}
