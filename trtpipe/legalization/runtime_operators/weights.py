"""Unpacks weights that ONNX Runtime packs into a few bits.

They become float weights, so that a variant in another precision, such as int4, starts from the values that the model
computes with.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from trtpipe.canonical.edits import integer_of
from trtpipe.legalization.runtime_operators.parts import MICROSOFT, input_of

if TYPE_CHECKING:
    import onnx

    from trtpipe.arrays import Array
    from trtpipe.legalization.rewrites import Rewriting, Rule

_MOST = 256 << 20
"""Bytes that the unpacked weights of one node may take."""
_BITS = (2, 4, 8)


def _matmul(work: Rewriting, node: onnx.NodeProto) -> bool:
    """Weights (N, blocks, packed) with a scale and a zero point per block; the default zero point is the middle."""
    value = node.input[0]
    width, depth = integer_of(node, "N"), integer_of(node, "K")
    odd = integer_of(node, "bits", 4) not in _BITS or integer_of(node, "weight_prepacked")
    if odd or input_of(node, 4) or not work.floating(value) or 4 * width * depth > _MOST:
        return False
    weights = _unpacked(work, node)
    if weights is None:
        return False
    held = work.array(weights, "weights")
    bias = input_of(node, 5)
    made = work.add("MatMul", [value, held], "" if bias else node.output[0], name=node.name)
    if bias:
        work.add("Add", [made, bias], node.output[0])
    return True


def _unpacked(work: Rewriting, node: onnx.NodeProto) -> Array | None:
    """The weights as (K, N), in the type of the scales; None if they are not constant or do not fit."""
    import numpy as np

    bits, block = integer_of(node, "bits", 4), integer_of(node, "block_size")
    width, depth = integer_of(node, "N"), integer_of(node, "K")
    packed, scales = work.values(node.input[1]), work.values(node.input[2])
    blocks = -(-depth // block) if block else 0
    if packed is None or scales is None or not blocks or scales.size != width * blocks:
        return None
    codes = _codes(packed.reshape(-1), bits)
    if codes.size != width * blocks * block:
        return None
    points = _points(work, node, bits, width, blocks)
    if points is None:
        return None
    wide = scales.reshape(width, blocks, 1).astype(np.float32)
    values = (codes.reshape(width, blocks, block).astype(np.float32) - points) * wide
    flat = values.reshape(width, blocks * block)[:, :depth]
    made: Array = np.ascontiguousarray(flat.T).astype(scales.dtype)
    return made


def _codes(packed: Array, bits: int) -> Array:
    """Unpacks integers of a few bits, the lowest bits of a byte first."""
    import numpy as np

    each = 8 // bits
    shifts = np.arange(each, dtype=np.uint8) * bits
    codes: Array = (packed[:, None].astype(np.uint8) >> shifts & (2**bits - 1)).reshape(-1)
    return codes


def _points(work: Rewriting, node: onnx.NodeProto, bits: int, width: int, blocks: int) -> Array | None:
    """The zero points as (N, blocks, 1); stored unpacked, or packed like the weights with rows padded to bytes."""
    import numpy as np

    name = input_of(node, 3)
    if not name:
        return np.full((width, blocks, 1), 2 ** (bits - 1), np.float32)
    held = work.values(name)
    if held is None:
        return None
    if held.dtype == np.uint8:
        row = -(-blocks * bits // 8)
        if held.size != width * row:
            return None
        codes = _codes(held.reshape(-1), bits).reshape(width, -1)[:, :blocks]
        return codes.reshape(width, blocks, 1).astype(np.float32)
    return held.reshape(width, blocks, 1).astype(np.float32) if held.size == width * blocks else None


WEIGHTS: Mapping[tuple[str, str], Rule] = {(MICROSOFT, "MatMulNBits"): _matmul}
