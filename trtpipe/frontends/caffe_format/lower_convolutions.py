"""Convolution and deconvolution, in any number of spatial dimensions.

Weights are [outputs, inputs / group, kernel…] for a convolution and [inputs, outputs / group, kernel…] for a
deconvolution, as in ONNX; sizes round down (conv_layer.cpp, deconv_layer.cpp).
"""

from __future__ import annotations

from dataclasses import dataclass

from trtpipe.canonical.builder import Dim
from trtpipe.frontends.caffe_format.layer import Dims, Layer, Lowering, Tensor
from trtpipe.frontends.caffe_format.params import Params

_SIZES = 1 << 20  # no kernel, stride or pad is larger


@dataclass(frozen=True, slots=True)
class Window:
    """A sliding window, a number for each spatial axis."""

    kernel: list[int]
    stride: list[int]
    pad: list[int]
    dilation: list[int]
    rounds_up: bool = True
    """Whether a last window that reaches beyond the padding counts; only pooling asks."""


def read_window(layer: Layer, params: Params, axes: int, *, kernel: bool = True) -> Window:
    """The window of a parameter block; `kernel` says whether it must have one. Raises ModelError."""
    return Window(
        _spatial(layer, params, "kernel_size", ("kernel_h", "kernel_w"), axes, default=None)
        if kernel
        else [],
        _spatial(layer, params, "stride", ("stride_h", "stride_w"), axes, default=1),
        _spatial(layer, params, "pad", ("pad_h", "pad_w"), axes, default=0),
        _spatial(layer, params, "dilation", (), axes, default=1),
    )


def _spatial(
    layer: Layer, params: Params, name: str, pair: tuple[str, ...], axes: int, *, default: int | None
) -> list[int]:
    """One number for all axes, one for each, or NAME_h and NAME_w where there are two."""
    least = 0 if default == 0 else 1
    values = params.integers(name, least=least)
    separate = [params.integer(one, default or 0, least=least) for one in pair if one in params]
    if separate:
        if values:
            raise params.refuse(
                pair[0], f"{name} is given together with {pair[0]} and {pair[1]}", "leave out one of them"
            )
        if axes != 2:
            raise params.refuse(pair[0], f"{pair[0]} and {pair[1]} apply only to 2 spatial axes, not {axes}")
        if len(separate) == 1 and default is None:
            raise params.refuse(pair[0], f"{pair[0]} and {pair[1]} must both be given")
        values = [params.integer(one, default or 0, least=least) for one in pair]
    if not values and default is None:
        raise layer.refuse(f"it has no {name}")
    values = values or [default or 0]
    if len(values) not in (1, axes) or max(values) > _SIZES:
        raise params.refuse(name, f"{name} must have 1 or {axes} values of at most {_SIZES}")
    return values if len(values) == axes else values * axes


def _convolution(layer: Layer) -> Tensor:
    return _convolve(layer, "Conv")


def _deconvolution(layer: Layer) -> Tensor:
    return _convolve(layer, "ConvTranspose")


def _depthwise(layer: Layer) -> Tensor:
    """A convolution with a group for each channel, whatever `group` says."""
    return _convolve(layer, "Conv", depthwise=True)


def _convolve(layer: Layer, operator: str, *, depthwise: bool = False) -> Tensor:
    x, dims = layer.only_input(), layer.dims()
    params = layer.params("convolution_param")
    if layer.axis(params.integer("axis", 1), len(dims)) != 1 or len(dims) < 3:
        raise layer.refuse("its channels must be axis 1, with spatial axes behind them")
    window = read_window(layer, params, len(dims) - 2)
    into = layer.fixed(dims, 1, 2, "a convolution's number of channels")
    outputs = params.integer("num_output", into if depthwise else 0, least=1) or 0
    if not outputs:
        raise layer.refuse("it has no num_output")
    group = params.integer("group", 1, least=1)
    group = into if depthwise else group
    if into % group or outputs % group:
        raise params.refuse(
            "group", f"{into} inputs and {outputs} outputs cannot be divided into {group} groups"
        )
    shape = [outputs, into // group] if operator == "Conv" else [into, outputs // group]
    inputs: list[Tensor | str] = [x, layer.weight(0, [*shape, *window.kernel], "weights")]
    if params.flag("bias_term", True):
        inputs.append(layer.weight(1, [outputs], "bias"))
    made = layer.node(
        operator,
        inputs,
        group=group,
        kernel_shape=window.kernel,
        strides=window.stride,
        pads=window.pad * 2,
        dilations=window.dilation,
    )
    return made.shaped(_sized(layer, dims, outputs, window, operator))


def _sized(layer: Layer, dims: Dims, outputs: int, window: Window, operator: str) -> Dims:
    made: list[Dim] = [dims[0], outputs]
    for axis, size in enumerate(dims[2:]):
        kernel, stride, pad, dilation = (
            one[axis] for one in (window.kernel, window.stride, window.pad, window.dilation)
        )
        reach = dilation * (kernel - 1) + 1
        if not isinstance(size, int):
            same = operator == "Conv" and stride == 1 and reach == 2 * pad + 1
            made.append(size if same else None)
            continue
        out = (
            (size + 2 * pad - reach) // stride + 1
            if operator == "Conv"
            else stride * (size - 1) + reach - 2 * pad
        )
        if out < 1:
            raise layer.refuse(
                f"a kernel that reaches {reach} with pad {pad} exceeds the size {size} (axis {axis + 2})"
            )
        made.append(out)
    return tuple(made)


LOWERINGS: dict[str, Lowering] = {
    "Convolution": _convolution,
    "Deconvolution": _deconvolution,
    "DepthwiseConvolution": _depthwise,
}
