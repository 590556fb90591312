"""Layers with an equivalent declared layer: its fields, from TensorRT's attributes.

Fields and attributes both have TensorRT's names, so most are copied. Forms that a declared layer cannot express (a
computed scale, axes given by a tensor) are read in the other modules.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

from trtpipe.networks.lowering.scope import LayerScope
from trtpipe.spec.network import pointwise as points
from trtpipe.spec.network import reductions as reduced
from trtpipe.spec.network import shape_layers as shaped
from trtpipe.spec.network import spatial as spaces
from trtpipe.spec.network.fields import Declared

Fields: TypeAlias = "dict[str, object]"

_ALPHA = {
    "leaky_relu", "elu", "selu", "softplus", "hard_sigmoid", "scaled_tanh", "thresholded_relu", "clip",
}  # fmt: skip
_BETA = {"selu", "softplus", "hard_sigmoid", "scaled_tanh", "clip"}


def _input(at: LayerScope) -> Fields:
    return {"input": at.read(0).name}


def _inputs(at: LayerScope) -> Fields:
    return {"inputs": tuple(at.read(index).name for index in range(len(at.tensors)))}


def activation(at: LayerScope) -> Fields:
    """The activation; alpha and beta only if the function uses them. TensorRT's defaults are written explicitly."""
    kind = at.member("type")
    alpha: Fields = {"alpha": at.number("alpha")} if kind in _ALPHA else {}
    beta: Fields = {"beta": at.number("beta")} if kind in _BETA else {}
    return {**_input(at), "type": kind, **alpha, **beta}


def elementwise(at: LayerScope) -> Fields:
    """The operation; TensorRT broadcasts axes of length 1, but never adds axes."""
    at.equal_ranks(at.read(0), at.read(1))
    return {**_inputs(at), "op": at.member("op")}


def unary(at: LayerScope) -> Fields:
    """The operation."""
    return {**_input(at), "op": at.member("op")}


def scale(at: LayerScope) -> Fields:
    """The coefficients that are given."""
    given = {name: at.weights_named(name) for name in ("scale", "shift", "power")}
    used: Fields = {name: found for name, found in given.items() if found is not None}
    return {**_input(at), "mode": at.member("mode"), "channel_axis": at.whole("channel_axis"), **used}


def _windowed(at: LayerScope, window: str) -> Fields:
    mode = at.member("padding_mode")
    fields: Fields = {
        **_input(at),
        window: at.sizes(f"{window}_nd"),
        "stride": at.sizes("stride_nd"),
        "padding_mode": mode,
    }
    if mode.startswith("explicit"):
        fields |= {name: at.sizes(name) for name in ("pre_padding", "post_padding")}
    return fields


def convolution(at: LayerScope) -> Fields:
    """The kernel is weights or an input; a bias that is an input has a name too, which the scope resolves."""
    kernel = at.weights_named("kernel")
    bias = at.weights_named("bias") or ("bias" if at.maybe(2) else None)
    return {
        **_windowed(at, "kernel_size"),
        "num_output_maps": at.whole("num_output_maps"),
        "kernel": kernel,
        "kernel_tensor": None if kernel else at.read(1).name,
        "bias": bias,
        "num_groups": at.whole("num_groups"),
        "dilation": at.sizes("dilation_nd"),
    }


def pooling(at: LayerScope) -> Fields:
    """The kind of pooling and its window."""
    return {
        **_windowed(at, "window_size"),
        "type": at.member("type"),
        "blend_factor": at.number("blend_factor"),
        "average_count_excludes_padding": at.flag("average_count_excludes_padding"),
    }


def padding(at: LayerScope) -> Fields:
    """Zeros around the last two axes."""
    return {
        **_input(at),
        "pre_padding": at.sizes("pre_padding_nd"),
        "post_padding": at.sizes("post_padding_nd"),
    }


def lrn(at: LayerScope) -> Fields:
    """The window and its numbers."""
    return {
        **_input(at),
        "window_size": at.whole("window_size"),
        **{name: at.number(name) for name in ("alpha", "beta", "k")},
    }


def resize(at: LayerScope) -> Fields:
    """By a tensor of dims, by scales, or to fixed dims."""
    fields: Fields = {
        **_input(at),
        "resize_mode": at.member("resize_mode"),
        "coordinate_transformation": at.member("coordinate_transformation"),
        "nearest_rounding": at.member("nearest_rounding"),
        "cubic_coeff": at.number("cubic_coeff"),
        "exclude_outside": at.flag("exclude_outside"),
    }
    if at.member("selector_for_single_pixel") == "upper":
        fields["selector_for_single_pixel"] = "upper"
    if at.maybe(1):
        return {**fields, "shape": at.read(1).name}
    scales = at.attribute("scales")
    if isinstance(scales, tuple) and scales:
        return {**fields, "scales": tuple(float(one) for one in scales if isinstance(one, (int, float)))}
    return {**fields, "shape": at.sizes("shape")}


def grid_sample(at: LayerScope) -> Fields:
    """The interpolation mode, and the values outside the input."""
    return {
        **_inputs(at),
        "interpolation_mode": at.member("interpolation_mode"),
        "align_corners": at.flag("align_corners"),
        "sample_mode": at.member("sample_mode"),
    }


def shuffle(at: LayerScope) -> Fields:
    """Without a reshape there are no dims; computed dims are the second input."""
    rank = at.rank(at.read(0))
    fields: Fields = {**_input(at), "zero_is_placeholder": at.flag("zero_is_placeholder")}
    reshaped: object = at.read(1).name if at.maybe(1) else at.sizes("reshape_dims")
    if reshaped is not None:
        fields["reshape_dims"] = reshaped
    for name, axes in (("first_transpose", rank), ("second_transpose", at.rank_made)):
        order = (at.sizes(name) or ())[:axes]
        if order != tuple(range(axes)):
            fields[name] = order
    return fields


def concatenation(at: LayerScope) -> Fields:
    """The axis."""
    return {**_inputs(at), "axis": at.whole("axis")}


def gather(at: LayerScope) -> Fields:
    """The gather mode and its axes."""
    fields: Fields = {**_inputs(at), "mode": at.member("mode")}
    together = at.whole("num_elementwise_dims")
    if fields["mode"] == "nd":
        return {**fields, "num_elementwise_dims": together}
    if together:
        at.refuse(f"has num_elementwise_dims {together} with mode {fields['mode']}, which takes 0")
    return {**fields, "axis": at.whole("axis")}


def scatter(at: LayerScope) -> Fields:
    """The scatter mode and its axis."""
    fields: Fields = {**_inputs(at), "mode": at.member("mode")}
    return {**fields, "axis": at.whole("axis")} if fields["mode"] == "element" else fields


def non_zero(at: LayerScope) -> Fields:
    """The indices' type."""
    return {**_input(at), "indices_type": at.dtype_made}


def constant(at: LayerScope) -> Fields:
    """The values and their dims."""
    shape, named = at.sizes("shape"), at.weights_named("weights")
    if named is None:
        at.refuse("has no values")
    return {"weights": named, "shape": shape}


def reduce(at: LayerScope) -> Fields:
    """The axes are a bit mask."""
    axes = at.axes_in("axes")
    op = at.member("op")
    return {**_input(at), "op": op, "axes": axes, "keep_dims": at.flag("keep_dims")}


def softmax(at: LayerScope) -> Fields:
    """One axis, as a bit mask."""
    return {**_input(at), "axes": at.axes_in("axes")}


def topk(at: LayerScope) -> Fields:
    """TopK; k is a number or a tensor."""
    k = at.read(1).name if at.maybe(1) else at.whole("k")
    indices = at.made[1].dtype
    return {**_input(at), "op": at.member("op"), "k": k, "axes": at.axes_in("axes"), "indices_type": indices}


def matrix_multiply(at: LayerScope) -> Fields:
    """The operations on the inputs; both have the same number of batch axes."""
    axes = [
        at.rank(at.read(index)) - (1 if at.member(op) == "vector" else 2)
        for index, op in enumerate(("op0", "op1"))
    ]
    if axes[0] != axes[1]:
        at.refuse(f"multiplies collections over {axes[0]} and {axes[1]} axes, which TensorRT does not take")
    return {**_inputs(at), "op0": at.member("op0"), "op1": at.member("op1")}


def input_only(at: LayerScope) -> Fields:
    """Layers of one input that have no attributes."""
    return _input(at)


Declaring = tuple[type[Declared], Callable[[LayerScope], Fields]]

DECLARED: Mapping[str, Declaring] = {
    "CONVOLUTION": (spaces.Convolution, convolution),
    "DECONVOLUTION": (spaces.Deconvolution, convolution),
    "POOLING": (spaces.Pooling, pooling),
    "PADDING": (spaces.Padding, padding),
    "LRN": (spaces.LRN, lrn),
    "RESIZE": (spaces.Resize, resize),
    "GRID_SAMPLE": (spaces.GridSample, grid_sample),
    "ACTIVATION": (points.Activation, activation),
    "ELEMENTWISE": (points.ElementWise, elementwise),
    "UNARY": (points.Unary, unary),
    "SCALE": (points.Scale, scale),
    "SHUFFLE": (shaped.Shuffle, shuffle),
    "CONCATENATION": (shaped.Concatenation, concatenation),
    "GATHER": (shaped.Gather, gather),
    "SCATTER": (shaped.Scatter, scatter),
    "NON_ZERO": (shaped.NonZero, non_zero),
    "SHAPE": (shaped.Shape, input_only),
    "CONSTANT": (shaped.Constant, constant),
    "REDUCE": (reduced.Reduce, reduce),
    "SOFTMAX": (reduced.SoftMax, softmax),
    "TOPK": (reduced.TopK, topk),
    "MATRIX_MULTIPLY": (reduced.MatrixMultiply, matrix_multiply),
}
"""By type of layer: the declared layer, and its fields."""
