"""Lowers layers over spatial axes: convolution, pooling, fully_connected, padding, lrn, resize, grid_sample."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from trtpipe.canonical.summary import Dim
from trtpipe.layers.scope import Scope
from trtpipe.layers.values import Value, may_equal, shape_text
from trtpipe.spec.network.spatial import (
    LRN,
    Convolution,
    Deconvolution,
    FullyConnected,
    GridSample,
    Padding,
    Pooling,
    Resize,
)

if TYPE_CHECKING:
    from trtpipe.canonical.builder import Attribute

_Windowed = Convolution | Deconvolution | Pooling


def convolution(layer: Convolution, at: Scope) -> list[str]:
    """Conv; rounding up is written as padding at the end, which needs fixed sizes."""
    x, axes = at.input, len(layer.kernel_size)
    channels = _channels(layer, at, x, axes)
    if layer.num_output_maps % layer.num_groups:
        at.refuse(
            f"has {layer.num_output_maps} output maps in {layer.num_groups} groups",
            "make num_output_maps a multiple of num_groups", "num_groups",
        )  # fmt: skip
    dilation = _per_axis(layer, at, "dilation", axes, 1)
    kernel = _kernel(at, (layer.num_output_maps, channels // layer.num_groups, *layer.kernel_size))
    bias = at.weights("bias", (layer.num_output_maps,))
    extents = [d * (k - 1) + 1 for d, k in zip(dilation, layer.kernel_size, strict=True)]
    stride = _per_axis(layer, at, "stride", axes, 1)
    padding = _padding(layer, at, axes)
    _fits(at, x, extents, padding, "kernel_size")
    if layer.padding_mode == "explicit_round_up":
        padding = _rounded_up(at, x, extents, stride, padding)
    made = at.emit(
        "Conv", x.name, kernel, bias, kernel_shape=layer.kernel_size, strides=stride, dilations=dilation,
        group=layer.num_groups, **_pads(layer, padding),
    )  # fmt: skip
    return [made]


def deconvolution(layer: Deconvolution, at: Scope) -> list[str]:
    """ConvTranspose; the `same` modes become explicit padding (see auto_pad of ONNX's ConvTranspose)."""
    x, axes = at.input, len(layer.kernel_size)
    channels = _channels(layer, at, x, axes)
    if layer.num_output_maps % layer.num_groups:
        at.refuse(
            f"has {layer.num_output_maps} output maps in {layer.num_groups} groups",
            "make num_output_maps a multiple of num_groups", "num_groups",
        )  # fmt: skip
    kernel = _kernel(at, (channels, layer.num_output_maps // layer.num_groups, *layer.kernel_size))
    bias = at.weights("bias", (layer.num_output_maps,))
    stride = _per_axis(layer, at, "stride", axes, 1)
    dilation = _per_axis(layer, at, "dilation", axes, 1)
    padding, more = _padding(layer, at, axes), None
    if layer.padding_mode.startswith("same"):
        totals = [d * (k - 1) + 1 - s for d, k, s in zip(dilation, layer.kernel_size, stride, strict=True)]
        small = [max(total, 0) // 2 for total in totals]
        large = [max(total, 0) - half for total, half in zip(totals, small, strict=True)]
        padding = [*small, *large] if layer.padding_mode == "same_upper" else [*large, *small]
        more = [max(-total, 0) for total in totals] if min(totals) < 0 else None
    made = at.emit(
        "ConvTranspose", x.name, kernel, bias, kernel_shape=layer.kernel_size, strides=stride, pads=padding,
        dilations=dilation, group=layer.num_groups, output_padding=more,
    )  # fmt: skip
    return [made]


def pooling(layer: Pooling, at: Scope) -> list[str]:
    """MaxPool, AveragePool, or both."""
    x, axes = at.input, len(layer.window_size)
    _spatial(layer, at, x, axes, "window_size")
    padding = _padding(layer, at, axes)
    for index, (size, pad) in enumerate(zip((*layer.window_size, *layer.window_size), padding, strict=True)):
        if pad >= size:
            axis = index % axes
            at.refuse(
                f"has a window of {size} and a padding of {pad} on spatial axis {axis}",
                "make the padding smaller than the window", "window_size",
            )  # fmt: skip
    _fits(at, x, layer.window_size, padding, "window_size")
    window: dict[str, Attribute] = {
        "kernel_shape": layer.window_size,
        "strides": _per_axis(layer, at, "stride", axes, 1),
        "ceil_mode": 1 if layer.padding_mode == "explicit_round_up" else None,
    }
    if layer.type == "max":
        return [at.emit("MaxPool", x.name, **window, **_pads(layer, padding))]
    average = _average(layer, at, window, padding)
    if layer.type == "average":
        return [average]
    largest = at.emit("MaxPool", x.name, **window, **_pads(layer, padding))
    share = at.constant(layer.blend_factor, "blend_factor", x.dtype)
    rest = at.constant(1 - layer.blend_factor, "rest", x.dtype)
    return [at.emit("Add", at.emit("Mul", largest, rest), at.emit("Mul", average, share))]


def _average(layer: Pooling, at: Scope, window: dict[str, Attribute], padding: list[int]) -> str:
    x = at.input
    if layer.average_count_excludes_padding or not any(padding):
        included = 0 if layer.average_count_excludes_padding else 1
        if window["ceil_mode"]:
            included = 0  # padding that rounding up adds at the end never counts in an average
        return at.emit("AveragePool", x.name, count_include_pad=included, **window, **_pads(layer, padding))
    if not window["ceil_mode"]:
        return at.emit("AveragePool", x.name, count_include_pad=1, **window, **_pads(layer, padding))
    padded = _zero_padded(at, padding[: len(padding) // 2], padding[len(padding) // 2 :])
    return at.emit("AveragePool", padded, count_include_pad=0, **window)


def fully_connected(layer: FullyConnected, at: Scope) -> list[str]:
    """Gemm over the flattened features."""
    x = at.input
    rank = at.rank(x)
    if rank not in (2, 4):
        at.refuse(
            f"reads '{x.name}' {x.text} of {rank} axes; it must be batch x features, or batch x C x H x W",
            "flatten it first, or use matrix_multiply", "input",
        )  # fmt: skip
    features = 1
    for axis in range(1, rank):
        features *= at.size(x, axis, "the features")
    kernel = at.weights("kernel", (layer.num_outputs, features))
    bias = at.weights("bias", (layer.num_outputs,))
    rows = x.name if rank == 2 else at.emit("Flatten", x.name, axis=1)
    made = at.emit("Gemm", rows, kernel, bias, transB=1)
    return [made if rank == 2 else at.emit("Unsqueeze", made, at.constant([2, 3], "axes"))]


def padding(layer: Padding, at: Scope) -> list[str]:
    """Pad with zeros."""
    if len(layer.pre_padding) > at.rank(at.input):
        at.refuse(
            f"pads {len(layer.pre_padding)} axes; '{at.input.name}' {at.input.text} has fewer",
            "",
            "pre_padding",
        )
    return [_zero_padded(at, layer.pre_padding, layer.post_padding)]


def lrn(layer: LRN, at: Scope) -> list[str]:
    """LRN, which TensorRT and ONNX define alike."""
    return [
        at.emit(
            "LRN", at.input.name, size=layer.window_size, alpha=layer.alpha, beta=layer.beta, bias=layer.k
        )
    ]


_ROUNDING = {
    "half_up": "round_prefer_ceil", "half_down": "round_prefer_floor", "floor": "floor", "ceil": "ceil",
}  # fmt: skip


def resize(layer: Resize, at: Scope) -> list[str]:
    """Resize by scales or to a size."""
    x = at.input
    rank = at.rank(x)
    transformation: str = layer.coordinate_transformation
    if layer.selector_for_single_pixel == "upper":
        if transformation != "half_pixel":
            at.refuse(
                f"has selector_for_single_pixel upper with {transformation}, which has no ONNX form",
                "use formula, or half_pixel", "selector_for_single_pixel",
            )  # fmt: skip
        transformation = "pytorch_half_pixel"
    scales = sizes = None
    if layer.scales is not None:
        _as_many(at, "scales", len(layer.scales), rank)
        scales = at.constant(layer.scales, "scales", "float32")
    else:
        sizes = _sizes(layer, at, rank)
    made = at.emit(
        "Resize", x.name, None, scales, sizes, mode=layer.resize_mode,
        coordinate_transformation_mode=transformation,
        nearest_mode=_ROUNDING[layer.nearest_rounding] if layer.resize_mode == "nearest" else None,
        cubic_coeff_a=layer.cubic_coeff if layer.resize_mode == "cubic" else None,
        exclude_outside=1 if layer.exclude_outside else None,
    )  # fmt: skip
    return [made]


def _sizes(layer: Resize, at: Scope, rank: int) -> str:
    if isinstance(layer.shape, str):
        sizes = at.reads[("shape",)]
        return sizes.name if sizes.dtype == "int64" else at.emit("Cast", sizes.name, to=7)
    shape = list(layer.shape or ())
    _as_many(at, "shape", len(shape), rank)
    dims = at.dims(at.input)
    kept = [
        dim if size == -1 and isinstance(dim, int) else size for size, dim in zip(shape, dims, strict=True)
    ]
    if -1 not in kept:
        return at.constant(kept, "sizes")
    pieces = [
        at.emit("Shape", at.input.name, start=axis, end=axis + 1)
        if size == -1
        else at.constant([size], f"size_{axis}")
        for axis, size in enumerate(kept)
    ]
    return at.emit("Concat", *pieces, axis=0)


def grid_sample(layer: GridSample, at: Scope) -> list[str]:
    """GridSample."""
    x, grid = at.expect_inputs("data", "grid")
    modes = {"linear": "bilinear", "cubic": "bicubic"} if at.opset < 20 else {}
    edges = {"fill": "zeros", "clamp": "border", "reflect": "reflection"}
    made = at.emit(
        "GridSample", x.name, grid.name, mode=modes.get(layer.interpolation_mode, layer.interpolation_mode),
        align_corners=int(layer.align_corners), padding_mode=edges[layer.sample_mode],
    )  # fmt: skip
    return [made]


def _zero_padded(at: Scope, before: Sequence[int], after: Sequence[int]) -> str:
    """The input with zeros around its last axes."""
    leading = [0] * (at.rank(at.input) - len(before))
    pads = at.constant([*leading, *before, *leading, *after], "pads")
    return at.emit("Pad", at.input.name, pads, at.constant(0, "zero", at.input.dtype))


def _kernel(at: Scope, dims: tuple[int, ...]) -> str | None:
    """The kernel with these dims: weights, or a tensor whose dims may equal them."""
    tensor = at.tensor("kernel_tensor")
    if tensor is None:
        return at.weights("kernel", dims)
    if tensor.dims is not None and not (
        len(tensor.dims) == len(dims) and all(map(may_equal, tensor.dims, dims))
    ):
        at.refuse(
            f"takes '{tensor.name}' {tensor.text} as its kernel instead of {shape_text(dims)}",
            "",
            "kernel_tensor",
        )
    return tensor.name


def _channels(layer: Convolution | Deconvolution, at: Scope, x: Value, axes: int) -> int:
    _spatial(layer, at, x, axes, "kernel_size")
    dim = at.dims(x)[1]
    channels = dim if isinstance(dim, int) else _channels_of_kernel(layer, at, x)
    if channels % layer.num_groups:
        at.refuse(
            f"has {layer.num_groups} groups, but '{x.name}' {x.text} has {channels} channels",
            "make num_groups divide the channels", "num_groups",
        )  # fmt: skip
    return channels


def _channels_of_kernel(layer: Convolution | Deconvolution, at: Scope, x: Value) -> int:
    """The number of input channels, computed from the kernel's weights when the input's is dynamic."""
    tensor = at.tensor("kernel_tensor")
    if tensor is not None:
        return (
            at.size(tensor, 0, "the channels")
            if isinstance(layer, Deconvolution)
            else (at.size(tensor, 1, "the channels") * layer.num_groups)
        )
    elements = math.prod(at.dims_of_weights(layer.kernel, "kernel"))
    maps, each = layer.num_output_maps, math.prod(layer.kernel_size)
    kernels = maps * each if isinstance(layer, Convolution) else maps // layer.num_groups * each
    if not kernels or elements % kernels:
        at.size(x, 1, "the channels")
    return elements // kernels * (layer.num_groups if isinstance(layer, Convolution) else 1)


def _spatial(layer: _Windowed, at: Scope, x: Value, axes: int, name: str) -> None:
    if at.rank(x) != axes + 2:
        given = list(getattr(layer, name))
        at.refuse(
            f"has {name} {given} for {axes} spatial axes, but '{x.name}' {x.text} has {max(at.rank(x) - 2, 0)}",
            "give one number for each axis after batch and channels", name,
        )  # fmt: skip


def _per_axis(layer: _Windowed, at: Scope, name: str, axes: int, default: int) -> list[int]:
    given = getattr(layer, name)
    if given is None:
        return [default] * axes
    _as_many(at, name, len(given), axes, "spatial ")
    return list(given)


def _as_many(at: Scope, name: str, given: int, wanted: int, kind: str = "") -> None:
    if given != wanted:
        at.refuse(
            f"has {given} numbers in {name}, but there are {wanted} {kind}axes", "give one per axis", name
        )


def _padding(layer: _Windowed, at: Scope, axes: int) -> list[int]:
    """Zeros before every axis, then after every axis."""
    if layer.padding is not None:
        return _per_axis(layer, at, "padding", axes, 0) * 2
    return _per_axis(layer, at, "pre_padding", axes, 0) + _per_axis(layer, at, "post_padding", axes, 0)


def _pads(layer: _Windowed, padding: list[int]) -> dict[str, Attribute]:
    if layer.padding_mode.startswith("same"):
        return {"auto_pad": layer.padding_mode.upper()}
    return {"pads": padding} if any(padding) else {}


def _fits(at: Scope, x: Value, extents: Sequence[int], padding: Sequence[int], name: str) -> None:
    """Rejects a window that is larger than its input."""
    for axis, (extent, size) in enumerate(zip(extents, at.dims(x)[2:], strict=True)):
        room = size + padding[axis] + padding[axis + len(extents)] if isinstance(size, int) else extent
        same = getattr(at.layer, "padding_mode", "").startswith("same")
        if room < extent and not same:
            at.refuse(
                f"has a window of {extent} on spatial axis {axis}, but '{x.name}' {x.text} with its padding has {room}",
                "make the window smaller or the padding larger", name,
            )  # fmt: skip


def _rounded_up(
    at: Scope, x: Value, extents: Sequence[int], stride: Sequence[int], padding: Sequence[int]
) -> list[int]:
    """The padding, increased at the end so that the last, partial window is complete."""
    axes = len(extents)
    made = list(padding)
    for axis in range(axes):
        if stride[axis] == 1:
            continue
        size: Dim = at.size(x, axis + 2, f"spatial axis {axis} to round its output up")
        assert isinstance(size, int)
        made[axes + axis] += -(size + padding[axis] + padding[axes + axis] - extents[axis]) % stride[axis]
    return made
