"""Converts operators over spatial axes: convolution, deconvolution, pooling, LRN, resize, grid sample."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from trtpipe.layers.from_onnx.node import NodeForm
from trtpipe.layers.from_onnx.pointwise import short

if TYPE_CHECKING:
    from trtpipe.json_values import Json

_MOST_SPATIAL = 3


def _convolution(form: NodeForm) -> None:
    dims = _kernel_dims(form)
    form.last(
        "convolution",
        input=form.tensor(),
        num_output_maps=dims[0],
        kernel_size=_spatial(form, dims[2:]),
        **_kernel(form),
        bias=form.weight(2, "bias"),
        **_window(form, len(dims) - 2),
        **_dilated(form),
    )


def _deconvolution(form: NodeForm) -> None:
    dims = _kernel_dims(form)
    count, groups = len(dims) - 2, form.attribute("group", 1)
    if form.attribute("output_shape"):
        form.refuse("it has an output_shape")
    window = _window(form, count)
    more = form.attribute("output_padding") or [0] * count
    if any(more):
        padding = _padding(form, count)
        if isinstance(padding, str) or any(one > other for one, other in zip(more, padding[1], strict=True)):
            form.refuse("its output_padding exceeds its padding")
        before, after = padding
        after = [one - other for one, other in zip(after, more, strict=True)]
        window = {**_stride(form, count), "pre_padding": before, "post_padding": after}
    form.last(
        "deconvolution",
        input=form.tensor(),
        num_output_maps=dims[1] * groups,
        kernel_size=_spatial(form, dims[2:]),
        **_kernel(form),
        bias=form.weight(2, "bias"),
        **window,
        **_dilated(form),
    )


def _kernel_dims(form: NodeForm) -> list[int]:
    """The kernel's dims, which must be known."""
    dims = [dim for dim in form.dims(1) if isinstance(dim, int)]
    if len(dims) != form.rank(1):
        form.refuse("the dims of its kernel are dynamic")
    return dims


def _kernel(form: NodeForm) -> dict[str, Json]:
    """The kernel as weights, or as a tensor if it is computed."""
    if form.is_constant(1):
        return {"kernel": form.weight(1, "kernel")}
    return {"kernel_tensor": form.tensor(1)}


def _spatial(form: NodeForm, sizes: list[int]) -> list[int]:
    if not 1 <= len(sizes) <= _MOST_SPATIAL:
        form.refuse(f"it has {len(sizes)} spatial axes")
    return sizes


def _dilated(form: NodeForm) -> dict[str, Json]:
    groups, dilation = form.attribute("group", 1), form.attribute("dilations")
    return {
        "num_groups": groups if groups != 1 else None,
        "dilation": dilation if any(one != 1 for one in dilation or ()) else None,
    }


def _window(form: NodeForm, count: int) -> dict[str, Json]:
    """Stride and padding; ONNX's defaults are omitted."""
    fields, padding = _stride(form, count), _padding(form, count)
    if isinstance(padding, str):
        return {**fields, "padding_mode": padding}
    before, after = padding
    if before == after:
        return {**fields, "padding": before} if any(before) else fields
    return {**fields, "pre_padding": before, "post_padding": after}


def _stride(form: NodeForm, count: int) -> dict[str, Json]:
    strides = form.attribute("strides") or [1] * count
    return {"stride": strides} if any(one != 1 for one in strides) else {}


def _padding(form: NodeForm, count: int) -> tuple[list[int], list[int]] | str:
    """Padding before and after each spatial axis, or an automatic padding mode."""
    auto = form.attribute("auto_pad", "NOTSET")
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        return str(auto.lower())
    pads = (form.attribute("pads") if auto == "NOTSET" else None) or [0] * (2 * count)
    if any(one < 0 for one in pads):
        form.refuse("its padding is negative")
    return pads[:count], pads[count:]


def _pooling(form: NodeForm) -> None:
    kernel = form.attribute("kernel_shape")
    if form.uses_output(1):
        form.refuse("its indices are used")
    if any(one != 1 for one in form.attribute("dilations") or ()):
        form.refuse("its window is dilated")
    fields = _window(form, len(kernel))
    padded = any(key.endswith("padding") for key in fields)
    counted = form.operator == "AveragePool" and form.attribute("count_include_pad", 0)
    if form.attribute("ceil_mode", 0) and "padding_mode" not in fields:
        fields["padding_mode"] = "explicit_round_up"
        if counted and padded:
            form.refuse("it counts padding and rounds up, which is not well defined for its last windows")
    kind = "max" if form.operator == "MaxPool" else "average"
    if counted and (padded or "padding_mode" in fields):
        fields["average_count_excludes_padding"] = False
    form.last("pooling", input=form.tensor(), type=kind, window_size=_spatial(form, kernel), **fields)


def _global_pooling(form: NodeForm) -> None:
    op = "max" if form.operator == "GlobalMaxPool" else "avg"
    axes = list(range(2, form.rank()))
    form.last("reduce", input=form.tensor(), op=op, axes=axes, keep_dims=True)


def _lrn(form: NodeForm) -> None:
    size = form.attribute("size")
    if size % 2 == 0 or size > 15:
        form.refuse(f"its window has {size} channels; TensorRT takes odd numbers up to 15")
    alpha, beta, k = (
        short(form.attribute(*one)) for one in (("alpha", 0.0001), ("beta", 0.75), ("bias", 1.0))
    )
    form.last("lrn", input=form.tensor(), window_size=size, alpha=alpha, beta=beta, k=k)


_COORDINATES = {
    "half_pixel": {"coordinate_transformation": "half_pixel"},
    "pytorch_half_pixel": {"coordinate_transformation": "half_pixel", "selector_for_single_pixel": "upper"},
    "align_corners": {"coordinate_transformation": "align_corners"},
    "asymmetric": {"coordinate_transformation": "asymmetric"},
}
_ROUNDING = {
    "round_prefer_floor": "half_down",
    "round_prefer_ceil": "half_up",
    "floor": "floor",
    "ceil": "ceil",
}


def _resize(form: NodeForm) -> None:
    form.only(antialias=0, keep_aspect_ratio_policy="stretch")
    mode = form.attribute("mode", "nearest")
    coordinates = form.attribute("coordinate_transformation_mode", "half_pixel")
    if coordinates not in _COORDINATES:
        form.refuse(f"its coordinate_transformation_mode is {coordinates}")
    fields: dict[str, Json] = {**_size(form), "resize_mode": mode, **_COORDINATES[coordinates]}
    if mode == "nearest":
        fields["nearest_rounding"] = _ROUNDING[form.attribute("nearest_mode", "round_prefer_floor")]
    if mode == "cubic":
        fields["cubic_coeff"] = short(form.attribute("cubic_coeff_a", -0.75))
        fields["exclude_outside"] = True if form.attribute("exclude_outside", 0) else None
    elif form.attribute("exclude_outside", 0):
        form.refuse("it excludes elements outside, which is supported only in cubic mode")
    form.last("resize", input=form.tensor(), **fields)


def _size(form: NodeForm) -> dict[str, Json]:
    """Scales or dims of every axis."""
    axes = form.attribute("axes")
    scales = form.array(2, "scales")
    if scales is not None and scales.size:
        factors = [short(float(one)) for one in scales]
        return {"scales": _on_axes(form, axes, factors, 1.0)}
    if not form.has(3):
        form.refuse("it has neither scales nor sizes")
    if axes is None:
        return {"shape": form.integers_or_tensor(3)}
    return {"shape": _on_axes(form, axes, form.ints(3, "size") or [], -1)}


def _on_axes(form: NodeForm, axes: list[int] | None, values: Sequence[Json], other: Json) -> Sequence[Json]:
    if axes is None:
        return values
    placed = dict(zip((axis % form.rank() for axis in axes), values, strict=True))
    return [placed.get(axis, other) for axis in range(form.rank())]


_GRID_MODES = {
    "linear": "linear",
    "bilinear": "linear",
    "nearest": "nearest",
    "cubic": "cubic",
    "bicubic": "cubic",
}
_GRID_PADDING = {"zeros": "fill", "border": "clamp", "reflection": "reflect"}


def _grid_sample(form: NodeForm) -> None:
    if form.rank() != 4:
        form.refuse("it does not sample exactly two spatial axes")
    form.last(
        "grid_sample",
        inputs=[form.tensor(0), form.tensor(1)],
        interpolation_mode=_GRID_MODES[form.attribute("mode", "linear")],
        sample_mode=_GRID_PADDING[form.attribute("padding_mode", "zeros")],
        align_corners=bool(form.attribute("align_corners", 0)),
    )


FORMS: dict[str, Callable[[NodeForm], None]] = {
    "Conv": _convolution,
    "ConvTranspose": _deconvolution,
    "MaxPool": _pooling,
    "AveragePool": _pooling,
    "GlobalMaxPool": _global_pooling,
    "GlobalAveragePool": _global_pooling,
    "LRN": _lrn,
    "Resize": _resize,
    "GridSample": _grid_sample,
}
