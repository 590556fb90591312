"""Layers that move values without computing: concat, slice, flatten, reshape, permute, tile, crop, shuffle.

Axes may be written from the end, and mean what Caffe's layer catalogue says.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from trtpipe.canonical.builder import Dim
from trtpipe.frontends.caffe_format.layer import Dims, Layer, Lowering, Tensor, product, shown
from trtpipe.frontends.caffe_format.params import Params
from trtpipe.frontends.caffe_format.reshape import Part, reshape, size_of, slice_axes

_END = 2**63 - 1
_MOST_AXES = 32  # Caffe's kMaxBlobAxes
_MOST_CHANNELS = 1 << 20  # the most channels of a shuffle, whose order becomes a constant


def merged(layer: Layer, shapes: Sequence[Dims], but: int | None = None) -> list[Dim]:
    """The dims that all shapes have, apart from axis `but`; raises ModelError when they differ."""
    first = shapes[0]
    made: list[Dim] = list(first)
    for dims in shapes[1:]:
        differs = len(dims) != len(first) or any(
            axis != but and isinstance(one, int) and isinstance(made[axis], int) and one != made[axis]
            for axis, one in enumerate(dims)
        )
        if differs:
            every = ", ".join(map(shown, shapes[:8])) + (", …" if len(shapes) > 8 else "")
            apart = "" if but is None else f", apart from axis {but}"
            raise layer.refuse(f"its bottoms must have the same shape{apart}, and are {every}")
        made = [
            one if isinstance(one, int) else (known or one) for one, known in zip(dims, made, strict=True)
        ]
    return made


def _alias_axis(params: Params, alias: str) -> int:
    """`axis`, or its older name; 1 when neither is written."""
    if "axis" in params and alias in params:
        raise params.refuse(alias, f"axis is given together with {alias}", "leave out one of them")
    return params.integer(alias, 1) if alias in params else params.integer("axis", 1)


def _concat(layer: Layer) -> Tensor:
    layer.expect_inputs(1, 10**6)
    params = layer.params("concat_param")
    shapes = [layer.dims(index) for index in range(len(layer.inputs))]
    axis = layer.axis(_alias_axis(params, "concat_dim"), len(shapes[0]))
    made = merged(layer, shapes, but=axis)
    sizes = [dims[axis] for dims in shapes]
    made[axis] = sum(size for size in sizes if isinstance(size, int)) if product(sizes) is not None else None
    return layer.node("Concat", layer.inputs, axis=axis).shaped(made)


def _slice(layer: Layer) -> list[Tensor]:
    """Parts that end at the slice points, or equal ones."""
    x, dims, params = layer.only_input(), layer.dims(), layer.params("slice_param")
    axis = layer.axis(_alias_axis(params, "slice_dim"), len(dims))
    points, count, size = params.integers("slice_point", least=1), len(layer.tops), dims[axis]
    if points and len(points) != count - 1:
        raise params.refuse("slice_point", f"{count} tops need {count - 1} slice points, not {len(points)}")
    if not points and not isinstance(size, int):
        raise layer.refuse(f"axis {axis} is dynamic: equal parts of it are not known", "give slice points")
    if not points and isinstance(size, int):
        if size % count:
            raise layer.refuse(f"axis {axis} of size {size} cannot be divided into {count} equal parts")
        points = [size // count * number for number in range(1, count)]
    last = size if isinstance(size, int) else _END
    bounds = [0, *points, last]
    if any(begin >= end for begin, end in pairwise(bounds)):
        raise layer.refuse(f"slice points {points} do not rise within axis {axis} of size {size}")
    made = []
    for number, (begin, end) in enumerate(pairwise(bounds)):
        length = None if end == _END else end - begin
        part = slice_axes(layer, x, [begin], [end], [axis], f"part_{number}")
        made.append(part.shaped([*dims[:axis], length, *dims[axis + 1 :]]))
    return made


def _split(layer: Layer) -> list[Tensor]:
    return [layer.only_input()] * len(layer.tops)


def _flatten(layer: Layer) -> Tensor:
    """Axes `axis` to `end_axis` become one."""
    x, dims, params = layer.only_input(), layer.dims(), layer.params("flatten_param")
    first = layer.axis(params.integer("axis", 1), len(dims))
    last = layer.axis(params.integer("end_axis", -1), len(dims))
    if (first, last) == (1, len(dims) - 1):
        return layer.node("Flatten", [x], axis=1).shaped([dims[0], product(dims[1:])])
    if first > last:
        raise layer.refuse(f"axis {first} lies behind end_axis {last}")
    parts: list[Part] = [(axis,) for axis in range(len(dims))]
    parts[first : last + 1] = [tuple(range(first, last + 1))]
    return reshape(layer, x, parts)


def _reshape(layer: Layer) -> Tensor:
    """`shape` replaces `num_axes` axes from `axis` on: 0 copies an axis, -1 is inferred."""
    x, dims, params = layer.only_input(), layer.dims(), layer.params("reshape_param")
    first = layer.axis(params.integer("axis", 0), len(dims), end=True)
    replaced = params.integer("num_axes", -1, least=-1)
    end = len(dims) if replaced == -1 else first + replaced
    if end > len(dims):
        raise params.refuse("num_axes", f"axes {first} to {end - 1} are more than its bottom's {len(dims)}")
    written = params.message("shape").integers("dim", least=-1)
    if len(written) > _MOST_AXES:
        raise params.refuse("shape", f"a blob has at most {_MOST_AXES} axes")
    if written.count(-1) > 1:
        raise params.refuse("shape", "only one dim may be -1")
    parts: list[Part] = [(axis,) for axis in range(first)]
    for position, dim in enumerate(written):
        if dim == 0 and first + position >= end:
            raise params.refuse("shape", f"dim {position} is 0, and its bottom has no axis to copy there")
        parts.append((first + position,) if dim == 0 else dim)
    parts += [(axis,) for axis in range(end, len(dims))]
    _check_count(layer, dims, parts)
    return reshape(layer, x, parts)


def _check_count(layer: Layer, dims: Dims, parts: Sequence[Part]) -> None:
    """Raises ModelError when the number of values changes; copied axes need not be known."""
    copied = {part[0] for part in parts if isinstance(part, tuple)}
    into = product([dim for axis, dim in enumerate(dims) if axis not in copied])
    out = product([part for part in parts if isinstance(part, int) and part != -1]) or 1
    rest = -1 in parts
    new = "x".join(str(part) if isinstance(part, int) else shown([dims[part[0]]]) for part in parts)
    if into is None and not rest:
        remedy = "write 0 for an unchanged axis, or -1 for an inferred one"
        raise layer.refuse(f"its bottom is {shown(dims)}, and {new} would fix its dynamic size", remedy)
    if into is not None and (into % out if rest else into != out):
        raise layer.refuse(f"its bottom, {shown(dims)}, cannot be reshaped to {new}")


def _permute(layer: Layer) -> Tensor:
    x, dims = layer.only_input(), layer.dims()
    order = layer.params("permute_param").integers("order", least=0)
    order += [axis for axis in range(len(dims)) if axis not in order]
    if sorted(order) != list(range(len(dims))):
        raise layer.refuse(f"order {order} is not an order of its bottom's {len(dims)} axes")
    return layer.node("Transpose", [x], perm=order).shaped([dims[axis] for axis in order])


def _tile(layer: Layer) -> Tensor:
    x, dims, params = layer.only_input(), layer.dims(), layer.params("tile_param")
    axis, tiles = layer.axis(params.integer("axis", 1), len(dims)), params.integer("tiles", 0)
    if not 1 <= tiles <= 2**31:
        raise params.refuse("tiles", "tiles must be 1 or more")
    repeats = [tiles if one == axis else 1 for one in range(len(dims))]
    size = dims[axis]
    made = [*dims[:axis], size * tiles if isinstance(size, int) else None, *dims[axis + 1 :]]
    return layer.node("Tile", [x, layer.constant(repeats, "repeats")]).shaped(made)


def _crop(layer: Layer) -> Tensor:
    """The first bottom, from `offset` on, in the size of the second, for the axes from `axis` on."""
    layer.expect_inputs(2)
    x, dims, wanted = layer.inputs[0], layer.dims(0), layer.dims(1)
    params = layer.params("crop_param")
    first = layer.axis(params.integer("axis", 2), len(dims))
    axes = range(first, len(dims))
    offsets = params.integers("offset", least=0) or [0]
    offsets = offsets * len(axes) if len(offsets) == 1 else offsets
    if len(offsets) != len(axes) or len(wanted) != len(dims):
        raise layer.refuse(
            f"{len(offsets)} offsets do not fit {len(axes)} axes of {shown(dims)}, {shown(wanted)}"
        )
    ends: list[int | Tensor] = []
    for axis, offset in zip(axes, offsets, strict=True):
        size, target = dims[axis], wanted[axis]
        if not isinstance(target, int):
            length = size_of(layer, layer.inputs[1], axis, f"size_{axis}")
            offset_name = layer.constant([offset], f"offset_{axis}")
            ends.append(layer.node("Add", [length, offset_name], f"end_{axis}") if offset else length)
            continue
        if isinstance(size, int) and offset + target > size:
            fact = f"axis {axis} of size {size} cannot be cropped to {target} from {offset} on"
            raise layer.refuse(fact)
        ends.append(offset + target)
    return slice_axes(layer, x, offsets, ends, list(axes)).shaped([*dims[:first], *wanted[first:]])


def _shuffle_channel(layer: Layer) -> Tensor:
    """Channels [groups, rest] become [rest, groups]."""
    x, dims = layer.only_input(), layer.dims(ranks=(4,))
    group = layer.params("shuffle_channel_param").integer("group", 1, least=1)
    channels = layer.fixed(dims, 1, 2, "a shuffle of channels")
    if channels % group or channels > _MOST_CHANNELS:
        raise layer.refuse(f"{channels} channels cannot be divided into {group} groups")
    rest = channels // group
    order = [number * rest + within for within in range(rest) for number in range(group)]
    return layer.node("Gather", [x, layer.constant(order, "order")], axis=1).shaped(dims)


LOWERINGS: dict[str, Lowering] = {
    "Concat": _concat,
    "Crop": _crop,
    "Flatten": _flatten,
    "Permute": _permute,
    "Reshape": _reshape,
    "ShuffleChannel": _shuffle_channel,
    "Slice": _slice,
    "Split": _split,
    "Tile": _tile,
}
