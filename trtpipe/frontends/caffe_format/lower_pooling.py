"""Pooling as Caffe computes it (pooling_layer.cpp), and LRN within a channel, which uses it.

Output sizes are rounded up, and a last window that would begin after the input and its padding is left out. With size
n, kernel k, stride s and pad p that is ceil((n + 2p - k) / s) + 1 windows, but no more than ceil((n + p) / s), which is
exactly what rounding down gives with min(p + s - 1, k - 1) of padding at the end. So the sizes need not be known, and
TensorRT's own rounding up, which keeps that last window, is not used.

An average counts the padding as zeros up to p after the input, and nothing beyond that.
"""

from __future__ import annotations

from dataclasses import replace

from trtpipe.canonical.builder import Dim
from trtpipe.frontends.caffe_format.layer import Dims, Layer, Lowering, Tensor
from trtpipe.frontends.caffe_format.lower_convolutions import Window, read_window
from trtpipe.frontends.caffe_format.params import Params


def _pooling(layer: Layer) -> Tensor:
    x, dims = layer.only_input(), layer.dims(ranks=(4, 5))
    params = layer.params("pooling_param")
    method = params.choice("pool", "MAX", ("MAX", "AVE", "STOCHASTIC"))
    if method == "STOCHASTIC":
        raise params.refuse("pool", "STOCHASTIC pooling is random", "use AVE or MAX when the net is deployed")
    if len(layer.tops) > 1:
        raise layer.refuse("a second top, the positions of the maxima, cannot be built")
    if params.flag("global_pooling", False):
        return _global(layer, params, x, dims, method)
    window = read_window(layer, params, len(dims) - 2)
    if window.dilation != [1] * len(window.kernel):
        raise params.refuse("dilation", "Caffe has no dilated pooling")
    if any(pad >= kernel for pad, kernel in zip(window.pad, window.kernel, strict=True)):
        raise params.refuse("pad", f"pad {window.pad} must be less than the kernel {window.kernel}")
    rounds_up = _rounds_up(params)
    return pool(layer, x, dims, method, replace(window, rounds_up=rounds_up))


def _rounds_up(params: Params) -> bool:
    up = params.choice("round_mode", "CEIL", ("CEIL", "FLOOR")) == "CEIL"
    return params.flag("ceil_mode", up)  # some forks spell it this way


def _global(layer: Layer, params: Params, x: Tensor, dims: Dims, method: str) -> Tensor:
    for name in ("kernel_size", "kernel_h", "kernel_w"):
        if name in params:
            raise params.refuse(
                name, "with global_pooling the kernel follows from the bottom's size", "leave it out"
            )
    window = read_window(layer, params, len(dims) - 2, kernel=False)
    _rounds_up(params)
    if any(window.pad) or any(stride != 1 for stride in window.stride):
        raise params.refuse("pad", "global_pooling allows no pad, and only a stride of 1")
    operator = "GlobalMaxPool" if method == "MAX" else "GlobalAveragePool"
    return layer.node(operator, [x]).shaped([*dims[:2], *[1] * (len(dims) - 2)])


def pool(
    layer: Layer,
    x: Tensor,
    dims: Dims,
    method: str,
    window: Window,
    part: str = "",
) -> Tensor:
    """Pools `x` by `MAX` or `AVE` along all axes after the second."""
    out: list[Dim] = list(dims[:2])
    behind = []
    for axis, size in enumerate(dims[2:]):
        kernel, stride, pad = window.kernel[axis], window.stride[axis], window.pad[axis]
        extra = min(pad + stride - 1, kernel - 1) if window.rounds_up else pad
        if not isinstance(size, int):
            same = stride == 1 and kernel == 2 * pad + 1
            out.append(size if same else None)
            behind.append(extra)
            continue
        windows = (size + pad + extra - kernel) // stride + 1
        if (
            window.rounds_up
            and not any(window.pad)
            and stride > kernel
            and -(-(size - kernel) // stride) >= windows
        ):
            fact = f"its last window begins after the input, of size {size}: Caffe does not define its result"
            raise layer.refuse(fact, "set round_mode: FLOOR, or pad the input")
        if windows < 1:
            raise layer.refuse(
                f"a kernel of {kernel} with pad {pad} is larger than the input, of size {size}"
            )
        out.append(windows)
        behind.append(max(0, (windows - 1) * stride + kernel - size - pad))
    if method == "MAX":
        made = _pooled(layer, x, window, [*window.pad, *behind], part)
    else:
        made = _average(layer, x, window, behind, part)
    return made.shaped(out)


def _pooled(
    layer: Layer,
    x: Tensor,
    window: Window,
    pads: list[int],
    part: str,
    counted: int | None = None,
) -> Tensor:
    """The largest of each window or, with `counted`, the average, which counts the padding if that is 1."""
    return layer.node(
        "MaxPool" if counted is None else "AveragePool",
        [x],
        part,
        kernel_shape=window.kernel,
        strides=window.stride,
        pads=pads,
        count_include_pad=counted,
    )


def _average(layer: Layer, x: Tensor, window: Window, behind: list[int], part: str) -> Tensor:
    """An average; padding that counts is added by a Pad node if the window extends beyond it."""
    if all(extra <= pad for extra, pad in zip(behind, window.pad, strict=True)):
        return _pooled(layer, x, window, [*window.pad, *behind], part, 1)
    axes = len(window.pad)
    if any(window.pad):
        pads = layer.constant([0, 0, *window.pad, 0, 0, *window.pad], "pads")
        x = layer.node("Pad", [x, pads], f"{part}/padded" if part else "padded")
    rest = [max(0, extra - pad) for extra, pad in zip(behind, window.pad, strict=True)]
    return _pooled(layer, x, window, [*[0] * axes, *rest], part, 0)


def _lrn(layer: Layer) -> Tensor:
    """x / (k + alpha / n * sum of squares over n channels) ^ beta, or over n x n values of one channel.

    Within a channel k is 1, whatever is written (lrn_layer.cpp).
    """
    x, dims = layer.only_input(), layer.dims(ranks=(4,))
    params = layer.params("lrn_param")
    size = params.integer("local_size", 5, least=1)
    alpha, beta = params.number("alpha", 1.0), params.number("beta", 0.75)
    bias = params.number("k", 1.0)
    if size % 2 == 0:
        raise params.refuse("local_size", f"local_size must be odd, not {size}")
    region = params.choice("norm_region", "ACROSS_CHANNELS", ("ACROSS_CHANNELS", "WITHIN_CHANNEL"))
    if region == "ACROSS_CHANNELS":
        return layer.node("LRN", [x], size=size, alpha=alpha, beta=beta, bias=bias).shaped(dims)
    squares = layer.node("Mul", [x, x], "squares")
    window = Window([size] * 2, [1] * 2, [(size - 1) // 2] * 2, [1] * 2)
    mean = pool(layer, squares, dims, "AVE", window, "mean")
    scaled = layer.node("Mul", [mean, layer.constant(alpha, "alpha")], "scaled")
    shifted = layer.node("Add", [scaled, layer.constant(1.0, "one")], "shifted")
    power = layer.node("Pow", [shifted, layer.constant(-beta, "minus_beta")], "power")
    return layer.node("Mul", [x, power]).shaped(dims)


LOWERINGS: dict[str, Lowering] = {"LRN": _lrn, "Pooling": _pooling}
