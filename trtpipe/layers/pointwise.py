"""Lowers layers that keep the shape or broadcast: activation, scale, elementwise, unary, cast, select, identity."""

from __future__ import annotations

import math

from trtpipe.canonical.tensors import number_of_dtype
from trtpipe.layers.scope import Scope
from trtpipe.layers.values import FLOATS, Value, dtype_of, may_broadcast
from trtpipe.spec.network.pointwise import (
    Activation,
    Cast,
    ElementWise,
    Identity,
    ParametricReLU,
    Scale,
    Select,
    Unary,
)

# The ONNX operator, and the default alpha and beta; None if the function has no such parameter.
_ACTIVATIONS: dict[str, tuple[str, float | None, float | None]] = {
    "relu": ("Relu", None, None),
    "sigmoid": ("Sigmoid", None, None),
    "tanh": ("Tanh", None, None),
    "softsign": ("Softsign", None, None),
    "gelu_erf": ("Gelu", None, None),
    "gelu_tanh": ("Gelu", None, None),
    "leaky_relu": ("LeakyRelu", 0.01, None),
    "elu": ("Elu", 1.0, None),
    "thresholded_relu": ("ThresholdedRelu", 1.0, None),
    "selu": ("Selu", 1.67326319217681884765625, 1.05070102214813232421875),
    "hard_sigmoid": ("HardSigmoid", 0.2, 0.5),
    "softplus": ("Softplus", 1.0, 1.0),
    "scaled_tanh": ("Tanh", 1.0, 1.0),
    "clip": ("Clip", math.nan, math.nan),
}


def activation(layer: Activation, at: Scope) -> list[str]:
    """The operator of that name, with Mul around it where ONNX's has fewer parameters."""
    operator, alpha, beta = _ACTIVATIONS[layer.type]
    alpha = _parameter(layer, at, "alpha", alpha)
    beta = _parameter(layer, at, "beta", beta)
    x = at.input
    if layer.type in ("softplus", "scaled_tanh"):
        assert alpha is not None and beta is not None
        inner = at.emit(operator, _times(at, x.name, beta, "beta"))
        return [_times(at, inner, alpha, "alpha")]
    if layer.type == "clip":
        assert alpha is not None and beta is not None
        bounds = [at.constant(bound, name, x.dtype) for name, bound in (("alpha", alpha), ("beta", beta))]
        return [at.emit("Clip", x.name, *bounds)]
    if layer.type.startswith("gelu"):
        approximate = "tanh" if layer.type == "gelu_tanh" else None
        return [at.emit("Gelu", x.name, approximate=approximate)]
    second = {"selu": "gamma"}.get(layer.type, "beta")
    parameters: dict[str, float | None] = {"alpha": alpha, second: beta}
    return [at.emit(operator, x.name, **parameters)]


def _parameter(layer: Activation, at: Scope, name: str, default: float | None) -> float | None:
    given: float | None = getattr(layer, name)
    if default is None and given is not None:
        at.refuse(f"has {name}, which {layer.type} does not take", f"leave {name} out", name)
    if default is not None and math.isnan(default) and given is None:
        at.refuse(f"has no {name}, which {layer.type} needs", f"for example {name}: 0.0", "type")
    return default if given is None else given


def _times(at: Scope, tensor: str, factor: float, hint: str) -> str:
    return tensor if factor == 1 else at.emit("Mul", tensor, at.constant(factor, hint, at.input.dtype))


def parametric_relu(layer: ParametricReLU, at: Scope) -> list[str]:
    """PRelu; slopes with one value per channel become C x 1 x 1."""
    x = at.input
    dims = at.dims(x)
    own = at.dims_of_weights(layer.slopes, "slopes")
    count = math.prod(own)
    if len(dims) > 2 and len(own) == 1 and dims[1] == count:
        own = (count, *(1 for _ in dims[2:]))
    if len(own) > len(dims) or not all(
        one in (1, dim) or not isinstance(dim, int)
        for one, dim in zip(reversed(own), reversed(dims), strict=False)
    ):
        at.refuse(f"has slopes {list(own)}, which do not broadcast to '{x.name}' {x.text}", "", "slopes")
    return [at.emit("PRelu", x.name, at.weights("slopes", own))]


def scale(layer: Scale, at: Scope) -> list[str]:
    """Mul, Add and Pow, as far as they are given."""
    x = at.input
    dims = at.dims(x)
    made = x.name
    for name, operator in (("scale", "Mul"), ("shift", "Add"), ("power", "Pow")):
        if getattr(layer, name) is not None:
            made = at.emit(operator, made, _coefficients(layer, at, name, len(dims)))
    return [made]


def _coefficients(layer: Scale, at: Scope, name: str, rank: int) -> str | None:
    x = at.input
    if layer.mode == "uniform":
        own = at.dims_of_weights(getattr(layer, name), name)
        return at.weights(name, () if own == () else (1,))
    if layer.mode == "elementwise":
        return at.weights(name, [at.size(x, axis, f"axis {axis}") for axis in range(1, rank)])
    axis = at.axis(layer.channel_axis, rank, "channel_axis")
    own = at.dims_of_weights(getattr(layer, name), name)
    channels = at.dims(x)[axis]
    if not isinstance(channels, int):  # dynamic: it must be as many as coefficients
        channels = math.prod(own)
    if math.prod(own) != channels:
        at.refuse(
            f"has {name} {list(own)}, but '{x.name}' {x.text} has {channels} channels on axis {axis}",
            "",
            name,
        )
    values = at.weights_array(getattr(layer, name), own, x.dtype, name)
    return at.constant(values.reshape(channels, *(1 for _ in range(rank - axis - 1))), name, x.dtype)


_OPERATIONS = {
    "sum": "Add", "prod": "Mul", "max": "Max", "min": "Min", "sub": "Sub", "div": "Div", "pow": "Pow",
    "and": "And", "or": "Or", "xor": "Xor", "equal": "Equal", "greater": "Greater", "less": "Less",
}  # fmt: skip


def elementwise(layer: ElementWise, at: Scope) -> list[str]:
    """The operator of that name; floor_div is composed of several."""
    first, second = at.expect_inputs("first", "second")
    broadcastable(at, first, second)
    if layer.op != "floor_div":
        return [at.emit(_OPERATIONS[layer.op], first.name, second.name)]
    if first.dtype in FLOATS:
        return [at.emit("Floor", at.emit("Div", first.name, second.name))]
    left = at.emit("Mod", first.name, second.name)  # remainder with the divisor's sign
    return [at.emit("Div", at.emit("Sub", first.name, left), second.name)]


def broadcastable(at: Scope, *values: Value) -> None:
    """Rejects inputs whose shapes do not broadcast."""
    first = values[0]
    for other in values[1:]:
        if first.dims is not None and other.dims is not None and not may_broadcast(first.dims, other.dims):
            at.refuse(
                f"reads '{first.name}' {first.text} and '{other.name}' {other.text}, which do not broadcast",
                "on each axis, counted from the last, they must be equal or 1", "inputs",
            )  # fmt: skip


_UNARY = {
    "recip": "Reciprocal", "isinf": "IsInf", "isnan": "IsNaN", "exp": "Exp", "log": "Log", "sqrt": "Sqrt",
    "abs": "Abs", "neg": "Neg", "sin": "Sin", "cos": "Cos", "tan": "Tan", "sinh": "Sinh", "cosh": "Cosh",
    "asin": "Asin", "acos": "Acos", "atan": "Atan", "asinh": "Asinh", "acosh": "Acosh", "atanh": "Atanh",
    "ceil": "Ceil", "floor": "Floor", "erf": "Erf", "not": "Not", "sign": "Sign", "round": "Round",
}  # fmt: skip


def unary(layer: Unary, at: Scope) -> list[str]:
    """The operator of that name."""
    return [at.emit(_UNARY[layer.op], at.input.name)]


def cast(layer: Cast, at: Scope) -> list[str]:
    """Cast."""
    return [at.emit("Cast", at.input.name, to=number_of_dtype(dtype_of(layer.to_type)))]


def select(layer: Select, at: Scope) -> list[str]:
    """Where."""
    condition, chosen, other = select_inputs(layer, at)
    broadcastable(at, condition, chosen, other)
    broadcastable(at, chosen, other)
    return [at.emit("Where", condition.name, chosen.name, other.name)]


def select_inputs(layer: Select, at: Scope) -> tuple[Value, Value, Value]:
    """Condition, then, else; inline numbers take the type of the other value, not of the condition."""
    if len(layer.inputs) != 3:
        at.refuse(f"has {len(layer.inputs)} inputs instead of 3", "give condition, then, else", "inputs")
    written = list(layer.inputs)
    tensors = [at.reads[("inputs", i)] for i in (1, 2) if isinstance(written[i], str)]
    like = tensors[0].dtype if tensors else "float32"
    types = ("bool", like, like)
    found = [
        at.reads[("inputs", index)] if isinstance(one, str) else at.inline(one, f"input{index}", types[index])
        for index, one in enumerate(written)
    ]
    return found[0], found[1], found[2]


def identity(layer: Identity, at: Scope) -> list[str]:
    """Identity."""
    return [at.input.name]
