"""Resize modes that the parser rejects, as products with a weight matrix for each axis, where sizes are fixed.

These are antialias, and half_pixel_symmetric coordinates. tf_half_pixel_for_nn is rewritten in a form that the parser
accepts.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from trtpipe.canonical.edits import attribute_of, integer_of, integers_of
from trtpipe.canonical.tensors import number_of_dtype
from trtpipe.legalization.misreadings.scope import Scope, changed, named

if TYPE_CHECKING:
    import onnx

    from trtpipe.arrays import Array, Dtype
    from trtpipe.canonical.builder import Attribute

_COMPUTED = ("float32", "float16", "bfloat16")
_REACH = {"linear": 1.0, "cubic": 2.0}
"""How far the filter of a mode reaches."""


def rewrite_resize(node: onnx.NodeProto, scope: Scope) -> list[onnx.NodeProto] | None:
    """Rewrites the node as a product along each axis whose size changes; None if sizes are not fixed.

    Antialias has no effect if no axis becomes shorter, and is dropped then.
    """
    if _is_tensorflows_nearest(node):
        same: dict[str, Attribute] = {_WAY: "half_pixel", "nearest_mode": "round_prefer_ceil"}
        return [changed(node, **same)]
    symmetric = _text(node, _WAY, "half_pixel") == "half_pixel_symmetric"
    if (
        not (integer_of(node, "antialias") or symmetric)
        or _text(node, "keep_aspect_ratio_policy", "stretch") != "stretch"
    ):
        return None
    mode, sizes = _text(node, "mode", "nearest"), scope.sizes(node.input[0])
    factors = _factors(node, scope, sizes)
    if factors is None or mode not in _REACH:
        return None
    if all(factor >= 1 for _, _, factor, _ in factors) and not symmetric:
        return [changed(node, "antialias")]
    if scope.dtype(node.input[0]) not in _COMPUTED or _text(node, _WAY, "half_pixel") not in _PLACES:
        return None
    return _products(node, scope, [one for one in factors if one[1] != one[3]], len(sizes))


_WAY = "coordinate_transformation_mode"


def _is_tensorflows_nearest(node: onnx.NodeProto) -> bool:
    """Whether it is floor((i + 0.5) / scale), which equals subtracting half a pixel and rounding halves up.

    The parser accepts these coordinates only with `round_prefer_floor`, which selects another pixel.
    """
    said = (_text(node, name, "") for name in ("mode", _WAY, "nearest_mode"))
    return tuple(said) == ("nearest", "tf_half_pixel_for_nn", "floor")


def _text(node: onnx.NodeProto, name: str, default: str) -> str:
    found = attribute_of(node, name)
    return found.decode(errors="replace") if isinstance(found, bytes) else default


_Factor = tuple[int, int, float, int]
"""An axis, its size before, the factor, and its size after."""


def _factors(node: onnx.NodeProto, scope: Scope, sizes: list[int | None]) -> list[_Factor] | None:
    """The change of size along each named axis; None if it is not fixed."""
    named_axes = integers_of(node, "axes") or list(range(len(sizes)))
    axes = [axis % len(sizes) for axis in named_axes] if sizes else []
    scales = scope.array(node.input[2]) if len(node.input) > 2 and node.input[2] else None
    wanted = scope.array(node.input[3]) if len(node.input) > 3 and node.input[3] else None
    given = wanted if wanted is not None and wanted.size else scales
    if not axes or given is None or given.size != len(axes) or not (given > 0).all():
        return None
    found: list[_Factor] = []
    for axis, number in zip(axes, given.tolist(), strict=True):
        size = sizes[axis]
        if size is None:
            if number != 1 or given is wanted:
                return None
            continue
        after = int(number) if given is wanted else math.floor(size * number)
        factor = after / size if given is wanted else float(number)
        found.append((axis, size, factor, after))
    return found


def _products(node: onnx.NodeProto, scope: Scope, factors: list[_Factor], rank: int) -> list[onnx.NodeProto]:
    """Multiplies the last axis from the right and the one before from the left; others are moved to the end."""
    nodes: list[onnx.NodeProto] = []
    value, near = node.input[0], node.output[0]

    def add(operator: str, *inputs: str, **attributes: list[int]) -> str:
        nodes.append(scope.node(operator, list(inputs), near, **attributes))
        return str(nodes[-1].output[0])

    for axis, size, factor, after in factors:
        weights = _weights(node, size, after, factor).astype(_dtype(scope, node.input[0]))
        if axis == rank - 2:
            value = add("MatMul", scope.constant(f"{near}/weights", weights), value)
            continue
        held = scope.constant(f"{near}/weights", weights.T.copy())
        order = [at for at in range(rank) if at != axis] + [axis]
        turned = value if axis == rank - 1 else add("Transpose", value, perm=order)
        value = add("MatMul", turned, held)
        if axis != rank - 1:
            value = add("Transpose", value, perm=[order.index(at) for at in range(rank)])
    if not nodes:
        return [named("Identity", [value], node.output, name=node.name)]
    nodes[-1].output[0], nodes[-1].name = near, node.name
    return nodes


def _dtype(scope: Scope, name: str) -> Dtype:
    import onnx

    made: Dtype = onnx.helper.tensor_dtype_to_np_dtype(number_of_dtype(scope.dtype(name)))
    return made


_PLACES: dict[str, Callable[[int, int, int, float], float]] = {
    "align_corners": lambda at, size, after, factor: at * (size - 1) / (after - 1) if after > 1 else 0.0,
    "asymmetric": lambda at, size, after, factor: at / factor,
    "half_pixel": lambda at, size, after, factor: (at + 0.5) / factor - 0.5,
    "half_pixel_symmetric": lambda at, size, after, factor: (
        size / 2 * (1 - after / (factor * size)) + (at + 0.5) / factor - 0.5
    ),
    "pytorch_half_pixel": lambda at, size, after, factor: (at + 0.5) / factor - 0.5 if after > 1 else 0.0,
}
"""Where an output lies in the input."""


def _weights(node: onnx.NodeProto, size: int, after: int, factor: float) -> Array:
    """The filter of each output (output, input), widened by the factor of shrinking, with sum 1."""
    import numpy as np

    mode, place = _text(node, "mode", "nearest"), _PLACES[_text(node, _WAY, "half_pixel")]
    wide = max(1.0, 1.0 / factor) if integer_of(node, "antialias") else 1.0
    reach = _REACH[mode] * wide
    found = attribute_of(node, "cubic_coeff_a")
    bend = found if isinstance(found, float) else -0.75
    made = np.zeros((after, size))
    for row in range(after):
        centre = place(row, size, after, factor) + 0.5
        first, last = math.floor(centre - reach + 0.5), math.floor(centre + reach + 0.5)
        for column in range(first, last):
            weight = _filter(mode, (column - centre + 0.5) / wide, bend)
            inside = 0 <= column < size
            if inside or not integer_of(node, "exclude_outside"):
                made[row, min(max(column, 0), size - 1)] += weight
        made[row] /= made[row].sum()
    return made


def _filter(mode: str, distance: float, bend: float) -> float:
    near = abs(distance)
    if mode == "linear":
        return max(0.0, 1.0 - near)
    if near < 1:
        return ((bend + 2) * near - (bend + 3)) * near * near + 1
    return (((near - 5) * near + 8) * near - 4) * bend if near < 2 else 0.0
