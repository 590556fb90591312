"""Layers that keep the shape or broadcast: activation, scale, elementwise, unary, cast, select, identity."""

from __future__ import annotations

from typing import Literal

from trtpipe.spec.fields import Number
from trtpipe.spec.network.fields import DType, ManyInputs, OneInput, WeightRef


class Activation(OneInput):
    """TensorRT's add_activation, IActivationLayer; any shape, which it keeps.

    ONNX: relu → Relu, sigmoid → Sigmoid, tanh → Tanh, leaky_relu (x, or alpha * x below 0) → LeakyRelu, elu
    (x, or alpha * (exp(x) - 1) below 0) → Elu, selu (beta * x, or beta * (alpha * exp(x) - alpha) below 0) → Selu,
    softsign (x / (1 + |x|)) → Softsign, softplus (alpha * log(exp(beta * x) + 1)) → Softplus with Mul,
    clip (between alpha and beta) → Clip, hard_sigmoid (alpha * x + beta between 0 and 1) → HardSigmoid,
    scaled_tanh (alpha * tanh(beta * x)) → Tanh with Mul, thresholded_relu (x above alpha, else 0) → ThresholdedRelu,
    gelu_erf and gelu_tanh → Gelu.
    """

    layer: Literal["activation"]
    """Always `activation`."""
    type: Literal[
        "relu", "sigmoid", "tanh", "leaky_relu", "elu", "selu", "softsign", "softplus", "clip",
        "hard_sigmoid", "scaled_tanh", "thresholded_relu", "gelu_erf", "gelu_tanh",
    ]  # fmt: skip
    """The function."""
    alpha: Number | None = None
    """The function's first parameter. Default: 0.01 for leaky_relu, 1 for elu, softplus, thresholded_relu and
    scaled_tanh, 1.6732632 for selu, 0.2 for hard_sigmoid; clip needs it."""
    beta: Number | None = None
    """The function's second parameter. Default: 1.0507010 for selu, 1 for softplus and scaled_tanh, 0.5 for
    hard_sigmoid; clip needs it."""


class ParametricReLU(OneInput):
    """TensorRT's add_parametric_relu, IParametricReLULayer → ONNX PRelu. x, or slopes * x below 0; keeps the shape."""

    layer: Literal["parametric_relu"]
    """Always `parametric_relu`."""
    slopes: WeightRef
    """Weights that broadcast to the input, aligned at the last axis; weights with one element per channel count as
    Cx1x1."""


class Scale(OneInput):
    """TensorRT's add_scale_nd, IScaleLayer → ONNX Mul, Add and Pow. (x * scale + shift) ^ power; keeps the shape."""

    layer: Literal["scale"]
    """Always `scale`."""
    mode: Literal["uniform", "channel", "elementwise"]
    """One coefficient for all, one per channel, or one per element (of all axes but the batch)."""
    scale: WeightRef | None = None
    """The factor; default: 1."""
    shift: WeightRef | None = None
    """The offset that is added; default: 0."""
    power: WeightRef | None = None
    """The exponent; default: 1."""
    channel_axis: int = 1
    """The axis of the channels, for mode `channel`."""


class ElementWise(ManyInputs):
    """TensorRT's add_elementwise, IElementWiseLayer; two inputs that broadcast as in NumPy.

    ONNX: sum → Add, prod → Mul, max → Max, min → Min, sub → Sub, div → Div, pow → Pow, floor_div → Floor of Div (of
    whole numbers: Div less Mod), and, or, xor (of booleans) → And, Or, Xor; equal, greater, less give booleans.
    """

    layer: Literal["elementwise"]
    """Always `elementwise`."""
    op: Literal[
        "sum", "prod", "max", "min", "sub", "div", "pow", "floor_div", "and", "or", "xor", "equal", "greater", "less",
    ]  # fmt: skip
    """The operation."""


class Unary(OneInput):
    """TensorRT's add_unary, IUnaryLayer; keeps the shape.

    ONNX: the operator of that name; recip → Reciprocal; round is to the nearest, halves to even; isinf, isnan and not
    give booleans.
    """

    layer: Literal["unary"]
    """Always `unary`."""
    op: Literal[
        "exp", "log", "sqrt", "recip", "abs", "neg", "sin", "cos", "tan", "sinh", "cosh", "asin", "acos", "atan",
        "asinh", "acosh", "atanh", "ceil", "floor", "erf", "not", "sign", "round", "isinf", "isnan",
    ]  # fmt: skip
    """The operation."""


class Cast(OneInput):
    """TensorRT's add_cast, ICastLayer → ONNX Cast; keeps the shape."""

    layer: Literal["cast"]
    """Always `cast`."""
    to_type: DType
    """The output's data type."""


class Select(ManyInputs):
    """TensorRT's add_select, ISelectLayer → ONNX Where. Inputs: condition (bool), then, else; they broadcast."""

    layer: Literal["select"]
    """Always `select`."""


class Identity(OneInput):
    """TensorRT's add_identity, IIdentityLayer → ONNX Identity."""

    layer: Literal["identity"]
    """Always `identity`."""
