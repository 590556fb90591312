"""Element-wise layers: activations, powers, exponentials, clips.

The formulas are those of Caffe's layer catalogue; every one keeps its bottom's shape.
"""

from __future__ import annotations

import math

from trtpipe.frontends.caffe_format.layer import Layer, Lowering, Tensor


def _unary(operator: str) -> Lowering:
    def lower(layer: Layer) -> Tensor:
        x = layer.only_input()
        return layer.node(operator, [x]).shaped(x.dims)

    return lower


def _identity(layer: Layer) -> Tensor:
    """Dropout and similar layers, which have no effect in a deployed net."""
    layer.params("dropout_param").ignore("dropout_ratio", "scale_train", "sample_weights_test")
    return layer.only_input()


def _sigmoid(layer: Layer) -> Tensor:
    layer.params("sigmoid_param")
    return _as(layer, "Sigmoid")


def _tanh(layer: Layer) -> Tensor:
    layer.params("tanh_param")
    return _as(layer, "Tanh")


def _as(layer: Layer, operator: str, alpha: float | None = None) -> Tensor:
    x = layer.only_input()
    return layer.node(operator, [x], alpha=alpha).shaped(x.dims)


def _relu(layer: Layer) -> Tensor:
    """max(x, 0) + negative_slope * min(x, 0)."""
    slope = layer.params("relu_param").number("negative_slope", 0.0)
    return _as(layer, "LeakyRelu", alpha=slope) if slope else _as(layer, "Relu")


def _relu6(layer: Layer) -> Tensor:
    return _clip_to(layer, 0.0, 6.0)


def _clip(layer: Layer) -> Tensor:
    params = layer.params("clip_param")
    for name in ("min", "max"):
        if name not in params:
            raise layer.refuse(f"clip_param needs {name!r}")
    return _clip_to(layer, params.number("min", 0.0), params.number("max", 0.0))


def _clip_to(layer: Layer, least: float, most: float) -> Tensor:
    x = layer.only_input()
    limits = [layer.constant(least, "min"), layer.constant(most, "max")]
    return layer.node("Clip", [x, *limits]).shaped(x.dims)


def _elu(layer: Layer) -> Tensor:
    return _as(layer, "Elu", alpha=layer.params("elu_param").number("alpha", 1.0))


def _prelu(layer: Layer) -> Tensor:
    """max(x, 0) + slope * min(x, 0), a slope for each channel or one for all."""
    x, dims = layer.only_input(), layer.dims()
    if layer.params("prelu_param").flag("channel_shared", False):
        slope = layer.weight(0, [1], "slope")
    else:
        if len(dims) < 2:
            raise layer.refuse("its bottom has no channel axis")
        channels = layer.fixed(dims, 1, 2, "a slope for each channel")
        slope = layer.weight(0, [channels], "slope", as_dims=[channels, *[1] * (len(dims) - 2)])
    return layer.node("PRelu", [x, slope]).shaped(dims)


def _swish(layer: Layer) -> Tensor:
    """x * sigmoid(beta * x)."""
    x = layer.only_input()
    beta = layer.params("swish_param").number("beta", 1.0)
    inner = _affine(layer, x, beta, 0.0)
    gate = layer.node("Sigmoid", [inner], "sigmoid")
    return layer.node("Mul", [x, gate]).shaped(x.dims)


def _affine(layer: Layer, x: Tensor, scale: float, shift: float) -> Tensor:
    """shift + scale * x, without nodes for operations that have no effect."""
    made = x
    if scale != 1.0:
        made = layer.node("Mul", [made, layer.constant(scale, "scale")], "scaled")
    if shift != 0.0:
        made = layer.node("Add", [made, layer.constant(shift, "shift")], "shifted")
    return made.shaped(x.dims)


def _power(layer: Layer) -> Tensor:
    """(shift + scale * x) ^ power."""
    x, params = layer.only_input(), layer.params("power_param")
    power = params.number("power", 1.0)
    inner = _affine(layer, x, params.number("scale", 1.0), params.number("shift", 0.0))
    if power == 1.0:
        return inner
    return layer.node("Pow", [inner, layer.constant(power, "power")]).shaped(x.dims)


def _exp(layer: Layer) -> Tensor:
    """base ^ (shift + scale * x); base -1 stands for e."""
    x, params = layer.only_input(), layer.params("exp_param")
    factor = _log_of_base(layer, params.number("base", -1.0))
    scale, shift = params.number("scale", 1.0), params.number("shift", 0.0)
    return layer.node("Exp", [_affine(layer, x, scale * factor, shift * factor)]).shaped(x.dims)


def _log(layer: Layer) -> Tensor:
    """log of shift + scale * x to a base; base -1 stands for e."""
    x, params = layer.only_input(), layer.params("log_param")
    factor = _log_of_base(layer, params.number("base", -1.0))
    inner = _affine(layer, x, params.number("scale", 1.0), params.number("shift", 0.0))
    natural = layer.node("Log", [inner])
    if factor == 1.0:
        return natural.shaped(x.dims)
    return layer.node("Div", [natural, layer.constant(factor, "log_base")], "based").shaped(x.dims)


def _log_of_base(layer: Layer, base: float) -> float:
    if base == -1.0:
        return 1.0
    if base <= 0.0:
        raise layer.refuse(f"base must be more than 0, or -1 for e, not {base:g}")
    return math.log(base)


def _threshold(layer: Layer) -> Tensor:
    """1 where x is more than the threshold, else 0."""
    x = layer.only_input()
    least = layer.constant(layer.params("threshold_param").number("threshold", 0.0), "threshold")
    above = layer.node("Greater", [x, least], "above")
    return layer.node("Cast", [above], to=1).shaped(x.dims)


LOWERINGS: dict[str, Lowering] = {
    "AbsVal": _unary("Abs"),
    "BNLL": _unary("Softplus"),
    "Clip": _clip,
    "Dropout": _identity,
    "ELU": _elu,
    "Exp": _exp,
    "Log": _log,
    "PReLU": _prelu,
    "Power": _power,
    "ReLU": _relu,
    "ReLU6": _relu6,
    "Sigmoid": _sigmoid,
    "Swish": _swish,
    "TanH": _tanh,
    "Threshold": _threshold,
}
