"""Converts elementwise operators to declared layers: activation, unary, elementwise, cast, select, quantize."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from trtpipe.layers.from_onnx.node import DECLARED_TYPES, NodeForm

if TYPE_CHECKING:
    from trtpipe.json_values import Json

_UNARY = {
    "Exp": "exp", "Log": "log", "Sqrt": "sqrt", "Reciprocal": "recip", "Abs": "abs", "Neg": "neg", "Sin": "sin",
    "Cos": "cos", "Tan": "tan", "Sinh": "sinh", "Cosh": "cosh", "Asin": "asin", "Acos": "acos", "Atan": "atan",
    "Asinh": "asinh", "Acosh": "acosh", "Atanh": "atanh", "Ceil": "ceil", "Floor": "floor", "Erf": "erf",
    "Not": "not", "Sign": "sign", "Round": "round", "IsInf": "isinf", "IsNaN": "isnan",
}  # fmt: skip

_BINARY = {
    "Add": "sum", "Mul": "prod", "Sub": "sub", "Div": "div", "And": "and", "Or": "or", "Xor": "xor",
    "Equal": "equal", "Greater": "greater", "Less": "less",
}  # fmt: skip

_MANY = {"Max": "max", "Min": "min", "Sum": "sum"}

_ACTIVATIONS: dict[str, tuple[str, dict[str, tuple[str, float | None]]]] = {
    "Relu": ("relu", {}),
    "Sigmoid": ("sigmoid", {}),
    "Tanh": ("tanh", {}),
    "Softsign": ("softsign", {}),
    "Softplus": ("softplus", {}),
    "LeakyRelu": ("leaky_relu", {"alpha": ("alpha", 0.01)}),
    "Elu": ("elu", {"alpha": ("alpha", 1.0)}),
    "ThresholdedRelu": ("thresholded_relu", {"alpha": ("alpha", 1.0)}),
    "Selu": ("selu", {"alpha": ("alpha", 1.6732632), "beta": ("gamma", 1.0507010)}),
    "HardSigmoid": ("hard_sigmoid", {"alpha": ("alpha", 0.2), "beta": ("beta", 0.5)}),
}
"""ONNX operator → TensorRT's activation, and its parameters: the attribute that each is, and ONNX's default."""


def _activation(form: NodeForm) -> None:
    kind, parameters = _ACTIVATIONS[form.operator]
    given = {name: short(form.attribute(*said)) for name, said in parameters.items()}
    form.last("activation", input=form.tensor(), type=kind, **given)


def short(value: float) -> float:
    """A float32 attribute with the fewest digits that identify it."""
    import numpy as np

    return float(str(np.float32(value)))


def _gelu(form: NodeForm) -> None:
    kind = "gelu_tanh" if form.attribute("approximate", "none") == "tanh" else "gelu_erf"
    form.last("activation", input=form.tensor(), type=kind)


def _hard_swish(form: NodeForm) -> None:
    x = form.tensor()
    gate = form.step("activation", "gate", input=x, type="hard_sigmoid", alpha=short(1 / 6), beta=0.5)
    form.last("elementwise", op="prod", inputs=[x, gate])


def _clip(form: NodeForm) -> None:
    bounds = [_bound(form, index) for index in (1, 2)]
    if form.dtype() == "float32" and None not in bounds:
        form.last("activation", input=form.tensor(), type="clip", alpha=bounds[0], beta=bounds[1])
        return
    given = [(index, op) for index, op in ((1, "max"), (2, "min")) if form.has(index)]
    x = form.tensor()
    for index, op in given[:-1]:
        x = form.elementwise(op, x, form.operand(index), op)
    if not given:
        form.last("identity", input=x)
    for index, op in given[-1:]:
        form.last("elementwise", op=op, inputs=[x, form.operand(index)])


def _bound(form: NodeForm, index: int) -> float | None:
    """A constant, finite bound; None for any other bound, and without a bound."""
    array = form.array(index, "bound") if form.is_constant(index) else None
    value = math.inf if array is None else float(array.reshape(-1)[0])
    return short(value) if math.isfinite(value) else None


def _prelu(form: NodeForm) -> None:
    dims, slopes = form.dims(0), form.constant_tensor(1, "slope").dims
    channels = dims[1] if len(dims) > 1 else None
    if len(dims) > 2 and len(slopes) == 1 and slopes[0] != 1 and slopes[0] == channels:
        form.refuse("its slopes apply to the last axis, but there are as many as channels")
    form.last("parametric_relu", input=form.tensor(), slopes=form.weight(1, "slope"))


def _unary(form: NodeForm) -> None:
    form.only(detect_negative=1, detect_positive=1)
    form.last("unary", input=form.tensor(), op=_UNARY[form.operator])


def _pair(form: NodeForm) -> list[Json]:
    """Both inputs; a small constant is written inline if the other input determines its type."""
    constant = [form.is_constant(index) for index in (0, 1)]
    if all(constant) or form.dtype(0) != form.dtype(1):
        return [form.tensor(0), form.tensor(1)]
    return [form.operand(index) for index in (0, 1)]


def _binary(form: NodeForm) -> None:
    form.last("elementwise", op=_BINARY[form.operator], inputs=_pair(form))


def _pow(form: NodeForm) -> None:
    if form.dtype(0) == form.dtype(1):
        form.last("elementwise", op="pow", inputs=_pair(form))
        return
    to_type = declared_type(form, form.dtype(0))
    exponent = form.step("cast", "exponent", input=form.tensor(1), to_type=to_type)
    form.last("elementwise", op="pow", inputs=[form.tensor(0), exponent])


def _or_equal(op: str) -> Callable[[NodeForm], None]:
    def made(form: NodeForm) -> None:
        one, other = _pair(form)
        strictly = form.elementwise(op, one, other, op)
        equal = form.elementwise("equal", one, other, "equal")
        form.last("elementwise", op="or", inputs=[strictly, equal])

    return made


def _mod(form: NodeForm) -> None:
    form.only(fmod=0)
    if "int" not in form.dtype():
        form.refuse(f"it divides {form.dtype()}")
    one, other = form.tensor(0), form.tensor(1)
    times = form.elementwise("floor_div", one, other, "times")
    whole = form.elementwise("prod", times, other, "whole")
    form.last("elementwise", op="sub", inputs=[one, whole])


def _many(form: NodeForm) -> None:
    _chain(form, _MANY[form.operator], len(form.node.input))


def _mean(form: NodeForm) -> None:
    count = len(form.node.input)
    total = form.tensor(0)
    for index in range(1, count):
        total = form.elementwise("sum", total, form.tensor(index), f"sum_{index}")
    form.last("elementwise", op="div", inputs=[total, float(count)])


def _chain(form: NodeForm, op: str, count: int) -> None:
    if count == 1:
        form.last("identity", input=form.tensor(0))
        return
    if count == 2:
        form.last("elementwise", op=op, inputs=_pair(form))
        return
    found = form.tensor(0)
    for index in range(1, count - 1):
        found = form.elementwise(op, found, form.tensor(index), f"{op}_{index}")
    form.last("elementwise", op=op, inputs=[found, form.tensor(count - 1)])


def declared_type(form: NodeForm, dtype: str) -> str:
    """TensorRT's name of an element type. Raises NoForm."""
    if dtype not in DECLARED_TYPES:
        form.refuse(f"{dtype} is not a type of TensorRT's")
    return DECLARED_TYPES[dtype]


def _cast(form: NodeForm) -> None:
    from trtpipe.canonical.tensors import dtype_name

    form.only(saturate=1)
    form.last("cast", input=form.tensor(), to_type=declared_type(form, dtype_name(form.attribute("to"))))


def _dropout(form: NodeForm) -> None:
    if form.uses_output(1):
        form.refuse("its mask is used")
    training = form.array(2, "training mode")
    if training is not None and training.any():
        form.refuse("it is in training mode")
    _identity(form)


def _identity(form: NodeForm) -> None:
    form.last("identity", input=form.tensor())


def _select(form: NodeForm) -> None:
    form.last("select", inputs=[form.tensor(0), form.tensor(1), form.tensor(2)])


def _quantize(form: NodeForm) -> None:
    from trtpipe.canonical.tensors import dtype_name

    zero = form.constant_tensor(2, "zero point") if form.has(2) else None
    given = form.attribute("output_dtype", 0)
    dtype = dtype_name(given) if given else dtype_name(zero.data_type) if zero is not None else "uint8"
    to_type = declared_type(form, dtype)
    if to_type not in ("int8", "fp8", "int4", "fp4"):
        form.refuse(f"it makes {to_type}, and TensorRT quantizes to int8, fp8, int4 and fp4")
    form.last("quantize", input=form.tensor(), **_scaled(form), to_type=to_type)


def _dequantize(form: NodeForm) -> None:
    form.constant_tensor(1, "scale")
    form.last("dequantize", input=form.tensor(), **_scaled(form), to_type=declared_type(form, form.dtype(1)))


def _scaled(form: NodeForm) -> dict[str, Json]:
    block, axis = form.attribute("block_size", 0), form.attribute("axis", 1)
    scale = form.constant_tensor(1, "scale")
    zero = form.array(2, "zero point")
    fields: dict[str, Json] = {"scale": form.weight(1, "scale")}
    if zero is not None and zero.astype("float32").any():
        fields["zero_point"] = form.weight(2, "zero point")
    if block:
        sizes = [1] * form.rank()
        sizes[axis] = block
        fields["block_shape"] = sizes
    elif len(scale.dims):
        fields["axis"] = axis
    return fields


FORMS: dict[str, Callable[[NodeForm], None]] = {
    **dict.fromkeys(_ACTIVATIONS, _activation),
    **dict.fromkeys(_UNARY, _unary),
    **dict.fromkeys(_BINARY, _binary),
    **dict.fromkeys(_MANY, _many),
    "Gelu": _gelu,
    "HardSwish": _hard_swish,
    "Clip": _clip,
    "PRelu": _prelu,
    "Pow": _pow,
    "GreaterOrEqual": _or_equal("greater"),
    "LessOrEqual": _or_equal("less"),
    "Mod": _mod,
    "Mean": _mean,
    "Cast": _cast,
    "Identity": _identity,
    "Dropout": _dropout,
    "Where": _select,
    "QuantizeLinear": _quantize,
    "DequantizeLinear": _dequantize,
}
