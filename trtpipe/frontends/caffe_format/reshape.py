"""Reshapes and slices whose sizes may be known only when the engine runs.

Constants if all sizes are known; otherwise ONNX nodes that compute the sizes from the input's shape.
"""

from __future__ import annotations

from collections.abc import Sequence

from trtpipe.canonical.builder import Dim
from trtpipe.frontends.caffe_format.layer import Dims, Layer, Tensor, product

Part = int | tuple[int, ...]
"""A size, -1 for what is left, or the axes of the input whose product it is."""


def reshape(layer: Layer, x: Tensor, parts: Sequence[Part], part: str = "") -> Tensor:
    """`x`, whose dims are known, with a size for each of `parts`."""
    assert x.dims is not None
    sizes = [_size(one, x.dims) for one in parts]
    shape = _as_constant(parts, sizes)
    if shape is not None:
        target = layer.constant(shape, f"{part}/shape" if part else "shape")
    else:
        target = _as_nodes(layer, x, parts, sizes, part).name
    return layer.node("Reshape", [x, target], part).shaped(_with_rest(sizes, x.dims))


def _size(part: Part, dims: Dims) -> Dim:
    if isinstance(part, int):
        return part
    if len(part) == 1:
        return dims[part[0]]
    return product([dims[axis] for axis in part])


def _with_rest(sizes: Sequence[Dim], dims: Dims) -> list[Dim]:
    """The sizes with -1 computed, if possible."""
    total, others = product(dims), product([size for size in sizes if size != -1])
    rest = total // others if total is not None and others else None
    return [rest if size == -1 else size for size in sizes]


def _as_constant(parts: Sequence[Part], sizes: Sequence[Dim]) -> list[int] | None:
    """The target of a Reshape if it can be constant: 0 copies the same axis, -1 is inferred."""
    target: list[int] = []
    for position, (part, size) in enumerate(zip(parts, sizes, strict=True)):
        if isinstance(size, int):
            target.append(size)
        else:
            target.append(0 if part == (position,) else -1)
    return target if target.count(-1) <= 1 else None


def _as_nodes(layer: Layer, x: Tensor, parts: Sequence[Part], sizes: Sequence[Dim], part: str) -> Tensor:
    """The target as a tensor made of the input's shape."""
    prefix = f"{part}/" if part else ""
    shape = layer.node("Shape", [x], f"{prefix}shape_of")
    pieces: list[Tensor | str] = []
    for position, (one, size) in enumerate(zip(parts, sizes, strict=True)):
        name = f"{prefix}size_{position}"
        if isinstance(size, int):
            pieces.append(layer.constant([size], name))
            continue
        assert not isinstance(one, int)
        factors = [_gathered(layer, shape, axis, f"{name}_{axis}") for axis in one]
        piece = factors[0]
        for axis, factor in zip(one[1:], factors[1:], strict=True):
            piece = layer.node("Mul", [piece, factor], f"{name}_{axis}_product")
        pieces.append(piece)
    return layer.node("Concat", pieces, f"{prefix}sizes", axis=0)


def slice_axes(
    layer: Layer,
    x: Tensor,
    starts: Sequence[int],
    ends: Sequence[int | Tensor],
    axes: Sequence[int],
    part: str = "",
) -> Tensor:
    """`x` from `starts` to `ends` along `axes`; an end may be a tensor of one int64."""
    prefix = f"{part}/" if part else ""
    fixed = [end for end in ends if isinstance(end, int)]
    if len(fixed) == len(ends):
        behind: Tensor | str = layer.constant(fixed, f"{prefix}ends")
    else:
        pieces = [
            end if isinstance(end, Tensor) else layer.constant([end], f"{prefix}end_{axis}")
            for end, axis in zip(ends, axes, strict=True)
        ]
        behind = layer.node("Concat", pieces, f"{prefix}ends", axis=0)
    begin = layer.constant(list(starts), f"{prefix}starts")
    return layer.node("Slice", [x, begin, behind, layer.constant(list(axes), f"{prefix}axes")], part)


def size_of(layer: Layer, x: Tensor, axis: int, part: str) -> Tensor:
    """The size of an axis as a tensor of one int64."""
    return _gathered(layer, layer.node("Shape", [x], f"{part}_shape"), axis, part)


def _gathered(layer: Layer, shape: Tensor, axis: int, part: str) -> Tensor:
    return layer.node("Gather", [shape, layer.constant([axis], f"{part}_axis")], part)
