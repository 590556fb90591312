"""One network for each kind of layer, and each form of it that becomes other ONNX, with what it must yield.

`yields` is plain NumPy. Inputs have their batch first; a case is run with that batch fixed and dynamic. `refused`
is what TensorRT-RTX says of a layer that it does not build.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tests.layers import numpy_layers as ref

RANDOM = np.random.default_rng(7)
Arrays = dict[str, np.ndarray]


def floats(*shape: int, low: float = -2, high: float = 2) -> np.ndarray:
    return RANDOM.uniform(low, high, shape).astype(np.float32)


@dataclass(frozen=True)
class Case:
    name: str
    layers: tuple[dict[str, Any], ...]
    inputs: Arrays
    yields: Callable[..., Any]
    weights: Arrays = field(default_factory=dict)
    outputs: tuple[str, ...] = ("y",)
    dynamic: bool = True
    """Whether it can be run with a dynamic batch."""
    refused: str = ""
    close: float = 1e-5

    def __str__(self) -> str:
        return self.name


X = floats(2, 4, 6, 5)
VOLUME = floats(2, 2, 4, 5, 3)
LINE = floats(2, 4, 9)
ROWS = floats(2, 6)
KINDS: list[Case] = []


def one(
    name: str, kind: str, feeds: Any, yields: Callable[..., Any], held: Arrays | None = None, /, **more: Any
):
    """A case of one layer `y`; what Case has goes there, the rest are the layer's attributes."""
    arrays = feeds if isinstance(feeds, dict) else {"x": feeds}
    about = {key: more.pop(key) for key in ("outputs", "dynamic", "refused", "close") if key in more}
    names = about.pop("outputs", None)
    layer = {"layer": kind, "name": "y", **more}
    if len(arrays) > 1 and "inputs" not in layer and "input" not in layer:
        layer["inputs"] = list(arrays)
    KINDS.append(Case(name, (layer,), arrays, yields, held or {}, names or ("y",), **about))


# Convolution, deconvolution
W2, B = floats(6, 4, 3, 3), floats(6)
one("convolution", "convolution", X, ref.convolution, {"w": W2, "b": B},
    num_output_maps=6, kernel_size=[3, 3], kernel="w", bias="b")  # fmt: skip
one("convolution-flat-weights", "convolution", X, lambda x, w: ref.convolution(x, w.reshape(6, 4, 3, 3)),
    {"w": W2.reshape(-1)}, num_output_maps=6, kernel_size=[3, 3], kernel="w")  # fmt: skip
one("convolution-strided-padded-dilated", "convolution", X,
    lambda x, w: ref.convolution(x, w, None, [2, 1], [2, 1, 1, 3], [1, 2]), {"w": W2}, num_output_maps=6,
    kernel_size=[3, 3], kernel="w", stride=[2, 1], pre_padding=[2, 1], post_padding=[1, 3], dilation=[1, 2],
)  # fmt: skip
one("convolution-groups", "convolution", X, lambda x, w: ref.convolution(x, w, groups=2), {"w": floats(6, 2, 3, 3)},
    num_output_maps=6, kernel_size=[3, 3], kernel="w", num_groups=2)  # fmt: skip
one("convolution-round-up", "convolution", X, lambda x, w: ref.convolution(x, w, None, [2, 2], ceil=True), {"w": W2},
    num_output_maps=6, kernel_size=[3, 3], kernel="w", stride=[2, 2], padding_mode="explicit_round_up")  # fmt: skip
one("convolution-same-upper", "convolution", X, lambda x, w: ref.convolution(x, w, None, [2, 2], [0, 1, 1, 1]),
    {"w": W2}, num_output_maps=6, kernel_size=[3, 3], kernel="w", stride=[2, 2], padding_mode="same_upper")  # fmt: skip
one("convolution-same-lower", "convolution", X, lambda x, w: ref.convolution(x, w, None, [2, 2], [1, 1, 0, 1]),
    {"w": W2}, num_output_maps=6, kernel_size=[3, 3], kernel="w", stride=[2, 2], padding_mode="same_lower")  # fmt: skip
one("convolution-3d", "convolution", VOLUME, lambda x, w: ref.convolution(x, w, None, [1, 2, 1], [1, 0, 1] * 2),
    {"w": floats(3, 2, 3, 2, 3)}, num_output_maps=3, kernel_size=[3, 2, 3], kernel="w", stride=[1, 2, 1],
    padding=[1, 0, 1])  # fmt: skip
one("convolution-1d", "convolution", LINE, lambda x, w: ref.convolution(x, w, None, [2]), {"w": floats(3, 4, 3)},
    num_output_maps=3, kernel_size=[3], kernel="w", stride=[2])  # fmt: skip
one("deconvolution", "deconvolution", X, lambda x, w, b: ref.deconvolution(x, w, b, [2, 2], [1, 0, 0, 1]),
    {"w": floats(4, 3, 3, 3), "b": floats(3)}, num_output_maps=3, kernel_size=[3, 3], kernel="w", bias="b",
    stride=[2, 2], pre_padding=[1, 0], post_padding=[0, 1])  # fmt: skip
one("deconvolution-groups-dilated", "deconvolution", X,
    lambda x, w: ref.deconvolution(x, w, dilation=[1, 2], groups=2), {"w": floats(4, 3, 2, 2)}, num_output_maps=6,
    kernel_size=[2, 2], kernel="w", num_groups=2, dilation=[1, 2])  # fmt: skip
one("deconvolution-same-upper", "deconvolution", X, lambda x, w: ref.deconvolution(x, w, None, [2, 2], [0, 0, 1, 1]),
    {"w": floats(4, 2, 3, 3)}, num_output_maps=2, kernel_size=[3, 3], kernel="w", stride=[2, 2],
    padding_mode="same_upper")  # fmt: skip
one("deconvolution-3d", "deconvolution", VOLUME, lambda x, w: ref.deconvolution(x, w, None, [1, 2, 1]),
    {"w": floats(2, 2, 2, 2, 2)}, num_output_maps=2, kernel_size=[2, 2, 2], kernel="w", stride=[1, 2, 1])  # fmt: skip

KERNEL = {"layer": "constant", "name": "k", "weights": "w"}
KINDS.append(
    Case("convolution-kernel-tensor", (KERNEL, {"layer": "convolution", "name": "y", "input": "x", "kernel_tensor": "k",
         "num_output_maps": 6, "kernel_size": [3, 3], "num_groups": 2}), {"x": X},
         lambda x, w: ref.convolution(x, w, groups=2), {"w": floats(6, 2, 3, 3)}))  # fmt: skip
KINDS.append(
    Case("deconvolution-kernel-tensor", (KERNEL, {"layer": "deconvolution", "name": "y", "input": "x",
         "kernel_tensor": "k", "num_output_maps": 6, "kernel_size": [2, 2], "num_groups": 2}), {"x": X},
         lambda x, w: ref.deconvolution(x, w, groups=2), {"w": floats(4, 3, 2, 2)}))  # fmt: skip

# Pooling
one("pooling-max", "pooling", X, lambda x: ref.pooling(x, "max", [3, 2], [2, 2], [1, 0, 1, 1]), type="max",
    window_size=[3, 2], stride=[2, 2], pre_padding=[1, 0], post_padding=[1, 1])  # fmt: skip
one("pooling-average", "pooling", X, lambda x: ref.pooling(x, "average", [3, 3], [2, 2], [1] * 4), type="average",
    window_size=[3, 3], stride=[2, 2], padding=[1, 1])  # fmt: skip
one("pooling-average-counts-padding", "pooling", X,
    lambda x: ref.pooling(x, "average", [3, 3], [2, 2], [1] * 4, False), type="average", window_size=[3, 3],
    stride=[2, 2], padding=[1, 1], average_count_excludes_padding=False)  # fmt: skip
one("pooling-average-counts-padding-round-up", "pooling", floats(2, 3, 5, 6),
    lambda x: ref.pooling(x, "average", [3, 3], [2, 2], [1] * 4, False, True), type="average", window_size=[3, 3],
    stride=[2, 2], padding=[1, 1], average_count_excludes_padding=False, padding_mode="explicit_round_up")  # fmt: skip
one("pooling-round-up", "pooling", X, lambda x: ref.pooling(x, "max", [3, 3], [2, 2], ceil=True), type="max",
    window_size=[3, 3], stride=[2, 2], padding_mode="explicit_round_up")  # fmt: skip
one("pooling-blend", "pooling", X, lambda x: 0.75 * ref.pooling(x, "max", [2, 2]) + 0.25 * ref.pooling(
    x, "average", [2, 2]), type="max_average_blend", window_size=[2, 2], blend_factor=0.25)  # fmt: skip
one("pooling-same-upper", "pooling", X, lambda x: ref.pooling(x, "max", [2, 2], [2, 2], [0, 0, 0, 1]), type="max",
    window_size=[2, 2], stride=[2, 2], padding_mode="same_upper")  # fmt: skip
one("pooling-3d", "pooling", VOLUME, lambda x: ref.pooling(x, "average", [2, 3, 2], [2, 1, 1]), type="average",
    window_size=[2, 3, 2], stride=[2, 1, 1])  # fmt: skip

# Fully connected, padding, LRN
one("fully-connected", "fully_connected", ROWS, lambda x, w, b: x @ w.T + b, {"w": floats(3, 6), "b": floats(3)},
    num_outputs=3, kernel="w", bias="b")  # fmt: skip
one("fully-connected-images", "fully_connected", X, lambda x, w: (x.reshape(2, -1) @ w.T).reshape(2, 3, 1, 1),
    {"w": floats(3, 120)}, num_outputs=3, kernel="w", close=1e-4)  # fmt: skip
one("padding", "padding", X, lambda x: np.pad(x[..., 1:], ((0, 0), (0, 0), (1, 2), (0, 3))), pre_padding=[1, -1],
    post_padding=[2, 3])  # fmt: skip
one("lrn", "lrn", X, lambda x: ref.lrn(x, 3, 0.1, 0.75, 2.0), window_size=3, alpha=0.1, beta=0.75, k=2.0)

# Activations, with defaults and with parameters of their own
ERF = np.vectorize(math.erf)
SELU_A, SELU_B = 1.67326319217681884765625, 1.05070102214813232421875
ACTIVATIONS: dict[str, tuple[Callable[[Any], Any], dict[str, float]]] = {
    "relu": (lambda x: np.maximum(x, 0), {}),
    "sigmoid": (ref.sigmoid, {}),
    "tanh": (np.tanh, {}),
    "leaky_relu": (lambda x: np.where(x < 0, 0.3 * x, x), {"alpha": 0.3}),
    "elu": (lambda x: np.where(x < 0, 0.5 * (np.exp(x) - 1), x), {"alpha": 0.5}),
    "selu": (lambda x: SELU_B * np.where(x > 0, x, SELU_A * np.exp(x) - SELU_A), {}),
    "softsign": (lambda x: x / (1 + abs(x)), {}),
    "softplus": (lambda x: 0.5 * np.log(np.exp(2 * x) + 1), {"alpha": 0.5, "beta": 2.0}),
    "clip": (lambda x: np.clip(x, -0.5, 1.25), {"alpha": -0.5, "beta": 1.25}),
    "hard_sigmoid": (lambda x: np.clip(0.3 * x + 0.4, 0, 1), {"alpha": 0.3, "beta": 0.4}),
    "scaled_tanh": (lambda x: 1.5 * np.tanh(0.5 * x), {"alpha": 1.5, "beta": 0.5}),
    "thresholded_relu": (lambda x: np.where(x > 0.5, x, 0), {"alpha": 0.5}),
    "gelu_erf": (lambda x: 0.5 * x * (1 + ERF(math.sqrt(0.5) * x)), {}),
    "gelu_tanh": (
        lambda x: 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (0.044715 * x**3 + x))),
        {},
    ),
}
for kind, (function, parameters) in ACTIVATIONS.items():
    one(f"activation-{kind}", "activation", X, function, type=kind, **parameters)
one(
    "activation-leaky_relu-default",
    "activation",
    X,
    lambda x: np.where(x < 0, 0.01 * x, x),
    type="leaky_relu",
)
one("activation-softplus-default", "activation", X, lambda x: np.log(np.exp(x) + 1), type="softplus")

# Elementwise, unary
LEFT, RIGHT = floats(2, 3, 4), floats(2, 1, 4)
BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "sum": np.add, "prod": np.multiply, "max": np.maximum, "min": np.minimum, "sub": np.subtract,
    "div": np.divide, "floor_div": np.floor_divide, "greater": np.greater, "less": np.less,
}  # fmt: skip
for op, binary in BINARY.items():
    one(f"elementwise-{op}", "elementwise", {"a": LEFT, "b": RIGHT}, binary, op=op)
one("elementwise-pow", "elementwise", {"a": abs(LEFT) + 0.1, "b": RIGHT}, np.power, op="pow")
one("elementwise-equal", "elementwise", {"a": LEFT.round(), "b": RIGHT.round()}, np.equal, op="equal")
one("elementwise-constant", "elementwise", LEFT, lambda x: x * 2.5, op="prod", inputs=["x", 2.5])
WHOLE, DIVISORS = np.array([[7, -7, 8], [-8, 9, -9]], np.int32), np.array([[2, 2, -3], [-3, 4, 4]], np.int32)
one(
    "elementwise-floor_div-whole", "elementwise", {"a": WHOLE, "b": DIVISORS}, np.floor_divide, op="floor_div"
)
one("elementwise-div-whole", "elementwise", {"a": WHOLE, "b": DIVISORS},
    lambda a, b: np.trunc(a / b).astype(np.int32), op="div")  # fmt: skip
TRUTHS = {"a": np.array([[True, True], [False, False]]), "b": np.array([[True, False], [True, False]])}
LOGIC = {"and": np.logical_and, "or": np.logical_or, "xor": np.logical_xor}
for op, binary in LOGIC.items():
    one(f"elementwise-{op}", "elementwise", TRUTHS, binary, op=op)
UNARY: dict[str, tuple[Callable[[Any], Any], np.ndarray]] = {
    "exp": (np.exp, LEFT), "log": (np.log, abs(LEFT) + 0.1), "sqrt": (np.sqrt, abs(LEFT)), "abs": (np.abs, LEFT),
    "recip": (lambda x: 1 / x, abs(LEFT) + 0.5), "neg": (np.negative, LEFT), "sin": (np.sin, LEFT),
    "cos": (np.cos, LEFT), "tan": (np.tan, LEFT / 2), "sinh": (np.sinh, LEFT), "cosh": (np.cosh, LEFT),
    "asin": (np.arcsin, LEFT / 2), "acos": (np.arccos, LEFT / 2), "atan": (np.arctan, LEFT),
    "asinh": (np.arcsinh, LEFT), "acosh": (np.arccosh, abs(LEFT) + 1), "atanh": (np.arctanh, LEFT / 2.5),
    "ceil": (np.ceil, LEFT), "floor": (np.floor, LEFT), "erf": (ERF, LEFT), "sign": (np.sign, LEFT.round()),
    "round": (np.round, np.array([[-2.5, -1.5, -0.4], [0.5, 1.5, 2.6]], np.float32)),
    "isinf": (np.isinf, np.array([[np.inf, 1, -np.inf], [0, np.nan, 2]], np.float32)),
    "isnan": (np.isnan, np.array([[np.inf, 1, -np.inf], [0, np.nan, 2]], np.float32)),
    "not": (np.logical_not, TRUTHS["b"]),
}  # fmt: skip
for op, (function, array) in UNARY.items():
    one(f"unary-{op}", "unary", array, function, op=op)

# Parametric ReLU, scale, cast, select, identity
one("parametric-relu", "parametric_relu", X, lambda x, s: np.where(x < 0, x * s.reshape(4, 1, 1), x),
    {"s": floats(4)}, slopes="s")  # fmt: skip
one("parametric-relu-uniform", "parametric_relu", ROWS, lambda x: np.where(x < 0, x * 0.25, x), slopes=[0.25])
one(
    "scale-uniform",
    "scale",
    abs(X),
    lambda x: (x * 2 + 1) ** 0.5,
    mode="uniform",
    scale=2,
    shift=[1.0],
    power=0.5,
)
one("scale-channel", "scale", X, lambda x, s, t: x * s.reshape(4, 1, 1) + t.reshape(4, 1, 1),
    {"s": floats(4), "t": floats(4)}, mode="channel", scale="s", shift="t")  # fmt: skip
one(
    "scale-last-axis",
    "scale",
    X,
    lambda x, s: x * s,
    {"s": floats(5)},
    mode="channel",
    scale="s",
    channel_axis=3,
)
one("scale-elementwise", "scale", X, lambda x, t: x + t.reshape(4, 6, 5), {"t": floats(120)}, mode="elementwise",
    shift="t")  # fmt: skip
one("cast-int32", "cast", X, lambda x: x.astype(np.int32), to_type="int32")
one("cast-float16", "cast", X, lambda x: x.astype(np.float16), to_type="float16")
one("select", "select", {"c": LEFT > 0, "a": LEFT, "b": RIGHT}, np.where)
one(
    "select-constant",
    "select",
    {"c": LEFT > 0, "a": LEFT},
    lambda c, a: np.where(c, a, -1),
    inputs=["c", "a", -1],
)
one("identity", "identity", X, lambda x: x)

# Shuffle and the like
one("shuffle", "shuffle", X, lambda x: x.transpose(0, 2, 3, 1).reshape(2, 3, -1).transpose(0, 2, 1),
    first_transpose=[0, 2, 3, 1], reshape_dims=[0, 3, 40], second_transpose=[0, 2, 1])  # fmt: skip
one("shuffle-transpose", "shuffle", X, lambda x: x.transpose(0, 3, 1, 2), first_transpose=[0, 3, 1, 2])
one("shuffle-infer", "shuffle", X, lambda x: x.reshape(-1, 20), reshape_dims=[-1, 20])
one("shuffle-zero", "shuffle", floats(2, 0, 3), lambda x: x.reshape(2, 3, 0), reshape_dims=[2, 3, 0],
    zero_is_placeholder=False, dynamic=False)  # fmt: skip
one("squeeze", "squeeze", floats(2, 1, 3, 1), lambda x: x.reshape(2, 3), axes=[1, -1])
one("unsqueeze", "unsqueeze", ROWS, lambda x: x.reshape(2, 1, 6, 1), axes=[1, -1])
one("flatten", "flatten", X, lambda x: x.reshape(2, -1))
one("flatten-behind", "flatten", X, lambda x: x.reshape(8, -1), axis=2)
one(
    "concatenation",
    "concatenation",
    {"a": X, "b": floats(2, 1, 6, 5)},
    lambda a, b: np.concatenate([a, b], 1),
    axis=1,
)
one("shape", "shape", X, lambda x: np.array(x.shape))
one("constant", "constant", X, lambda x, c: c, {"c": floats(2, 3)}, weights="c", outputs=("y", "z"))
one(
    "non-zero",
    "non_zero",
    LEFT.round(),
    lambda x: np.stack(np.nonzero(x)).astype(np.int32),
    refused="NonZero plugin creator",
)
one(
    "fill", "fill", X, lambda x: np.full((2, 3), 1.5, np.float32), shape=[2, 3], alpha=1.5, outputs=("y", "z")
)
one("fill-steps", "fill", X, lambda x: 1 + 0.5 * np.arange(4, dtype=np.float32), shape=[4], alpha=1, beta=0.5,
    outputs=("y", "z"))  # fmt: skip
one(
    "one-hot",
    "one_hot",
    np.array([[0, 2], [1, 3]], np.int32),
    lambda x: np.eye(4, dtype=np.float32)[x],
    depth=4,
)
one("one-hot-values", "one_hot", np.array([[0, 2], [1, 3]], np.int32),
    lambda x: np.where(np.eye(4, dtype=bool)[x], 5, -5).transpose(0, 2, 1).astype(np.float32), depth=4,
    values=[-5.0, 5.0], axis=1)  # fmt: skip

# Slice
one("slice", "slice", X, lambda x: x[:, 1:3, 5:0:-2], axes=[1, 2], start=[1, 5], shape=[2, 3], stride=[1, -2])
one("slice-to-the-front", "slice", X, lambda x: x[:, ::-1], axes=[1], start=[3], shape=[4], stride=[-1])
one("slice-all-axes", "slice", X, lambda x: x[0:1, 1:4:2], start=[0, 1, 0, 0], shape=[1, 2, 6, 5],
    stride=[1, 2, 1, 1])  # fmt: skip
for mode, numpy_mode in {"wrap": "wrap", "clamp": "edge", "reflect": "reflect"}.items():
    one(f"slice-{mode}", "slice", X,
        lambda x, m=numpy_mode: np.pad(x, ((0, 0), (0, 0), (2, 1), (0, 0)), mode=m)[:, :, ::2],
        axes=[2], start=[-2], shape=[5], stride=[2], mode=mode)  # fmt: skip
one("slice-fill", "slice", X, lambda x: np.pad(x, ((0, 0), (0, 0), (2, 1), (0, 0)), constant_values=9)[:, :, ::2],
    axes=[2], start=[-2], shape=[5], stride=[2], mode="fill", fill=9)  # fmt: skip
one("slice-repeats", "slice", X, lambda x: np.broadcast_to(x[:, 1:2, ::2], (2, 5, 3, 5)), axes=[1, 2], start=[1, 0],
    shape=[5, 3], stride=[0, 2])  # fmt: skip
one("slice-expands", "slice", floats(2, 1, 3), lambda x: np.broadcast_to(x, (2, 4, 3)), axes=[1, 2], start=[0, 0],
    shape=[4, 3], stride=[0, 1])  # fmt: skip
one("slice-wraps-twice", "slice", X, lambda x: x.take(range(-9, 9), 2, mode="wrap"), axes=[2], start=[-9], shape=[18],
    mode="wrap")  # fmt: skip
one("slice-reflects-twice", "slice", X, lambda x: np.pad(x, ((0, 0), (0, 0), (9, 8), (0, 0)), mode="reflect"), axes=[2],
    start=[-9], shape=[23], mode="reflect")  # fmt: skip
one("slice-wraps-and-repeats", "slice", X, lambda x: np.broadcast_to(x[:, 1:2], (2, 2, 6, 5)).take(range(-3, 9), 2,
    mode="wrap"), axes=[1, 2], start=[1, -3], shape=[2, 12], stride=[0, 1], mode="wrap")  # fmt: skip

# Gather, scatter, reverse sequence
INDICES = np.array([[2, 0, 1], [1, 1, 0]], np.int32)
one("gather", "gather", {"x": X, "i": INDICES}, lambda x, i: x[:, i], axis=1)
one("gather-constant", "gather", X, lambda x: x[:, 2], axis=1, inputs=["x", 2])
one("gather-element", "gather", {"x": LEFT, "i": INDICES.reshape(2, 3, 1)},
    lambda x, i: np.take_along_axis(x[..., :1], i, 1), axis=1, mode="element")  # fmt: skip
one("gather-nd", "gather", {"x": LEFT, "i": np.array([[2, 3], [0, 1]], np.int32)},
    lambda x, i: np.stack([x[0, 2, 3], x[1, 0, 1]]), mode="nd", num_elementwise_dims=1)  # fmt: skip
one("scatter-element", "scatter", {"x": LEFT, "i": INDICES.reshape(2, 3, 1)[:, :1], "u": floats(2, 1, 1)},
    lambda x, i, u: np.stack([np.where((np.arange(3) == i[n, 0, 0])[:, None] & (np.arange(4) == 0), u[n, 0, 0], x[n])
    for n in range(2)]), mode="element", axis=1)  # fmt: skip
one("scatter-nd", "scatter", {"x": LEFT, "i": np.array([[0, 1], [1, 2]], np.int32), "u": floats(2, 4)},
    lambda x, i, u: np.stack([np.where((np.arange(3) == i[n, 1])[:, None], u[n], x[n]) for n in range(2)]),
    mode="nd")  # fmt: skip
one("reverse-sequence", "reverse_sequence", {"x": LEFT, "n": np.array([2, 3], np.int32)},
    lambda x, n: np.stack([x[0, [1, 0, 2]], x[1, ::-1]]), batch_axis=0, sequence_axis=1)  # fmt: skip

# Resize, grid sample
for transformation in ("asymmetric", "half_pixel", "align_corners"):
    one(f"resize-linear-{transformation}", "resize", X,
        lambda x, t=transformation: ref.resize_2d(x, (9, 10), "linear", t), shape=[-1, 4, 9, 10],
        resize_mode="linear", coordinate_transformation=transformation)  # fmt: skip
for rounding in ("floor", "ceil", "half_up", "half_down"):
    one(f"resize-nearest-{rounding}", "resize", X,
        lambda x, r=rounding: ref.resize_2d(x, (9, 10), "nearest", "half_pixel", r), scales=[1, 1, 1.5, 2],
        coordinate_transformation="half_pixel", nearest_rounding=rounding)  # fmt: skip
one("resize-keeps-channels", "resize", X, lambda x: ref.resize_2d(x, (3, 5), "nearest", "asymmetric"),
    shape=[-1, -1, 3, -1])  # fmt: skip
GRID = (
    np.stack(np.meshgrid(np.linspace(-1, 1, 5), np.linspace(-1, 1, 6)), -1)[None]
    .repeat(2, 0)
    .astype(np.float32)
)
one("grid-sample", "grid_sample", {"x": X, "g": GRID}, lambda x, g: x, align_corners=True)
one("grid-sample-clamp", "grid_sample", {"x": X, "g": GRID * 0 + 5}, lambda x, g: np.broadcast_to(
    x[:, :, -1:, -1:], x.shape), sample_mode="clamp", interpolation_mode="nearest")  # fmt: skip

# Reductions and products
for op, function in {"sum": np.sum, "prod": np.prod, "max": np.max, "min": np.min, "avg": np.mean}.items():
    one(f"reduce-{op}", "reduce", X, lambda x, f=function: f(x, axis=(2, 3)), op=op, axes=[2, -1])
one("reduce-keeps", "reduce", X, lambda x: x.mean(axis=1, keepdims=True), op="avg", axes=[1], keep_dims=True)
one("reduce-none", "reduce", X, lambda x: x, op="none", axes=[1])
one("softmax", "softmax", X, lambda x: ref.softmax(x, 1), axes=[1])
one("topk", "topk", ROWS, lambda x: (-np.sort(-x, 1)[:, :3], np.argsort(-x, 1)[:, :3].astype(np.int32)), op="max",
    k=3, axes=[1], outputs=("y", "y:1"))  # fmt: skip
one("topk-min", "topk", ROWS, lambda x: (np.sort(x, 1)[:, :1], np.argsort(x, 1)[:, :1]), op="min", k=1, axes=[-1],
    indices_type="int64", outputs=("y", "y:1"))  # fmt: skip
one("cumulative", "cumulative", ROWS, lambda x: np.cumsum(x, 1), axis=1)
one("cumulative-exclusive-reverse", "cumulative", ROWS, lambda x: np.cumsum(x[:, ::-1], 1)[:, ::-1] - x, axis=1,
    exclusive=True, reverse=True)  # fmt: skip
A3, B3 = floats(2, 3, 4), floats(2, 4, 5)
one("matrix-multiply", "matrix_multiply", {"a": A3, "b": B3}, np.matmul)
one("matrix-multiply-transposed", "matrix_multiply", {"a": A3.swapaxes(1, 2), "b": B3.swapaxes(1, 2)},
    lambda a, b: a.swapaxes(1, 2) @ b.swapaxes(1, 2), op0="transpose", op1="transpose")  # fmt: skip
one("matrix-multiply-vector", "matrix_multiply", {"a": A3, "b": floats(2, 4)},
    lambda a, b: (a @ b[..., None])[..., 0], op1="vector")  # fmt: skip
one("matrix-multiply-vectors", "matrix_multiply", {"a": floats(2, 4), "b": B3},
    lambda a, b: (a[:, None] @ b)[:, 0], op0="vector")  # fmt: skip
one(
    "einsum",
    "einsum",
    {"a": A3, "b": B3},
    lambda a, b: np.einsum("bij,bjk->bki", a, b),
    equation="bij,bjk->bki",
)

# Normalization
FOUR = {name: floats(4) for name in ("s", "b", "m")} | {"v": floats(4, low=0.5)}
SHAPED = (4, 1, 1)
one("normalization-batch", "normalization", X, lambda x, s, b, m, v: (x - m.reshape(SHAPED)) / np.sqrt(
    v.reshape(SHAPED) + 1e-3) * s.reshape(SHAPED) + b.reshape(SHAPED), FOUR, type="batch", scale="s", bias="b",
    mean="m", variance="v", epsilon=1e-3)  # fmt: skip


def normalized(x: Any, axes: tuple[int, ...], epsilon: float = 1e-5) -> Any:
    return (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + epsilon)


one("normalization-instance", "normalization", X, lambda x: normalized(x, (2, 3)), type="instance")
one("normalization-group", "normalization", X, lambda x, s, b: normalized(x.reshape(2, 2, -1), (2,)).reshape(
    x.shape) * s.reshape(SHAPED) + b.reshape(SHAPED), {"s": floats(4), "b": floats(4)}, type="group", num_groups=2,
    scale="s", bias="b")  # fmt: skip
one("normalization-layer", "normalization", X, lambda x, s, b: normalized(x, (2, 3)) * s + b,
    {"s": floats(6, 5), "b": floats(6, 5)}, type="layer", axes=[2, 3], scale="s", bias="b")  # fmt: skip
one("normalization-rms", "normalization", X, lambda x, s: x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-5) * s,
    {"s": floats(5)}, type="rms", scale="s")  # fmt: skip

# Attention
Q, K, V = floats(2, 4, 3, 8), floats(2, 2, 3, 8), floats(2, 2, 3, 6)
MASK = np.array([[1, 0, 1], [1, 1, 0], [0, 1, 1]], bool).reshape(1, 1, 3, 3).repeat(2, 0)
one(
    "attention",
    "attention",
    {"q": Q, "k": K, "v": V},
    lambda q, k, v: ref.attention(q, k, v, 0.25),
    scale=0.25,
)
one("attention-causal", "attention", {"q": Q, "k": K, "v": V},
    lambda q, k, v: ref.attention(q, k, v, 1, causal=True), causal_kind="upper_left")  # fmt: skip
one("attention-mask", "attention", {"q": Q, "k": K, "v": V, "m": MASK},
    lambda q, k, v, m: ref.attention(q, k, v, 1, m), inputs=["q", "k", "v"], mask="m")  # fmt: skip
one("attention-none", "attention", {"q": Q, "k": floats(2, 4, 3, 8), "v": floats(2, 4, 3, 6)},
    lambda q, k, v: q @ k.swapaxes(2, 3) * 0.5 @ v, norm_op="none", scale=0.5)  # fmt: skip

# NMS
CORNERS = RANDOM.uniform(0, 8, (2, 9, 2))
BOXES = np.concatenate([CORNERS, CORNERS + RANDOM.uniform(1, 5, (2, 9, 2))], 2).astype(np.float32)
SCORES = RANDOM.permutation(36).reshape(2, 9, 2).astype(np.float32) / 36


def kept(boxes: Any, scores: Any) -> Any:
    rows = ref.non_max_suppression(boxes, scores, 3, 0.3, 0.2).astype(np.int32)
    return rows, np.int32(len(rows))


one("nms", "nms", {"boxes": BOXES, "scores": SCORES}, kept, max_output_boxes_per_class=3, iou_threshold=0.3,
    score_threshold=0.2, outputs=("y", "y:1"), refused="no runners that implement it")  # fmt: skip

# Recurrent
STEPS = floats(2, 4, 3)
HIDDEN = 5
PYTORCH = ("input", "forget", "cell", "output")
LSTM_W = {"w": floats(20, 3), "r": floats(20, 5), "wb": floats(20), "rb": floats(20)}
BOTH = {**LSTM_W, **{f"{name}_": floats(*array.shape) for name, array in LSTM_W.items()}}
ZERO = np.zeros((2, HIDDEN), np.float32)


def states(*parts: Any) -> tuple[Any, ...]:
    return tuple(part[:, None] for part in parts)


def lstm(x: Any, w: Any, r: Any, wb: Any, rb: Any) -> Any:
    y, h, c = ref.lstm(x, w, r, wb, rb, ZERO, ZERO, PYTORCH)
    return y, *states(h, c)


def lstm_both(x: Any, w: Any, r: Any, wb: Any, rb: Any, w_: Any, r_: Any, wb_: Any, rb_: Any) -> Any:
    y, h, c = ref.lstm(x, w, r, wb, rb, ZERO, ZERO, PYTORCH)
    y_, h_, c_ = ref.lstm(x[:, ::-1], w_, r_, wb_, rb_, ZERO, ZERO, PYTORCH)
    return np.concatenate([y, y_[:, ::-1]], 2), np.stack([h, h_], 1), np.stack([c, c_], 1)


LSTM_OUT = ("y", "y:1", "y:2")
one("lstm", "lstm", STEPS, lstm, LSTM_W, hidden_size=5, input_weights="w", recurrent_weights="r", input_bias="wb",
    recurrent_bias="rb", gate_order=list(PYTORCH), outputs=LSTM_OUT)  # fmt: skip
one("lstm-bidirection", "lstm", STEPS, lstm_both, BOTH, hidden_size=5, direction="bidirection",
    input_weights=["w", "w_"], recurrent_weights=["r", "r_"], input_bias=["wb", "wb_"], recurrent_bias=["rb", "rb_"],
    gate_order=list(PYTORCH), outputs=LSTM_OUT)  # fmt: skip
H0, C0 = floats(2, 1, 5), floats(2, 1, 5)


def lstm_from(x: Any, h: Any, c: Any, w: Any, r: Any) -> Any:
    y, h, c = ref.lstm(x, w, r, 0, 0, h[:, 0], c[:, 0], ("input", "output", "forget", "cell"))
    return y, *states(h, c)


one("lstm-states", "lstm", {"x": STEPS, "h": H0, "c": C0}, lstm_from, {"w": LSTM_W["w"], "r": LSTM_W["r"]},
    input="x", hidden_size=5, input_weights="w", recurrent_weights="r", hidden_state="h", cell_state="c",
    outputs=LSTM_OUT)  # fmt: skip
GRU_W = {"w": floats(15, 3), "r": floats(15, 5), "wb": floats(15), "rb": floats(15)}
for linear in (True, False):

    def gru(x: Any, w: Any, r: Any, wb: Any, rb: Any, linear: bool = linear) -> Any:
        y, h = ref.gru(x, w, r, wb, rb, ZERO, ("reset", "update", "hidden"), linear)
        return y, *states(h)

    one(f"gru-{'linear' if linear else 'reset'}-first", "gru", STEPS, gru, GRU_W, hidden_size=5, input_weights="w",
        recurrent_weights="r", input_bias="wb", recurrent_bias="rb", gate_order=["reset", "update", "hidden"],
        linear_before_reset=linear, outputs=("y", "y:1"))  # fmt: skip
RNN_W = {"w": floats(5, 3), "r": floats(5, 5)}


def rnn(x: Any, w: Any, r: Any) -> Any:
    y, h = ref.rnn(x, w, r, 0, 0, ZERO)
    return y, *states(h)


def rnn_reverse(x: Any, w: Any, r: Any) -> Any:
    y, h = ref.rnn(x[:, ::-1], w, r, 0, 0, ZERO, lambda v: np.maximum(v, 0))
    return y[:, ::-1], *states(h)


one("rnn", "rnn", STEPS, rnn, RNN_W, hidden_size=5, input_weights="w", recurrent_weights="r",
    outputs=("y", "y:1"))  # fmt: skip
one("rnn-relu-reverse", "rnn", STEPS, rnn_reverse, RNN_W, op="relu", direction="reverse", hidden_size=5,
    input_weights="w", recurrent_weights="r", outputs=("y", "y:1"))  # fmt: skip


# Quantize, dequantize: pairs, as TensorRT wants them
def pair(**about: Any) -> tuple[dict[str, Any], ...]:
    to_type = about.pop("to_type", "int8")
    return (
        {"layer": "quantize", "name": "q", "to_type": to_type, **about},
        {"layer": "dequantize", "name": "y", **about},
    )


def rounded(x: Any, scale: Any, low: int = -128, high: int = 127) -> Any:
    return np.clip(np.round(x / scale), low, high) * scale


KINDS.append(Case("quantize-tensor", pair(scale=0.05), {"x": X}, lambda x: rounded(x, np.float32(0.05))))
KINDS.append(
    Case("quantize-axis", pair(scale="s", axis=1), {"x": X}, lambda x, s: rounded(x, s.reshape(SHAPED)),
         {"s": floats(4, low=0.02, high=0.1)}))  # fmt: skip
BLOCKS = floats(4, 2, low=0.05, high=0.2)
KINDS.append(
    Case("quantize-block-int4", ({"layer": "constant", "name": "w", "weights": "w"},
         *pair(scale="s", block_shape=[1, 3], to_type="int4"),
         {"layer": "matrix_multiply", "name": "z", "inputs": ["x", "y"], "op1": "transpose"}), {"x": ROWS},
         lambda x, w, s: x @ rounded(w, s.repeat(3, 1), -8, 7).T, {"w": floats(4, 6, low=-1, high=1), "s": BLOCKS},
         outputs=("z",)))  # fmt: skip


# Dims that are tensors
def of_dims(name: str, yields: Callable[..., Any], *layers: dict[str, Any], **inputs: np.ndarray) -> None:
    KINDS.append(
        Case(name, ({"layer": "shape", "name": "dims", "input": "x"}, *layers), inputs or {"x": X}, yields)
    )


PICK = {"layer": "slice", "name": "last", "start": [2], "shape": [2]}
of_dims("dims-fill", lambda x: np.full(x.shape, 0.5, np.float32), {"layer": "fill", "name": "y", "shape": "dims",
        "alpha": 0.5})  # fmt: skip
of_dims("dims-fill-steps", lambda x: np.arange(6, dtype=np.int32) * 3 + 1, {**PICK, "shape": [1]},
        {"layer": "fill", "name": "y", "shape": "last", "alpha": 1, "beta": 3, "to_type": "int32"})  # fmt: skip
of_dims("dims-shuffle", lambda x, y: y.reshape(x.shape), {"layer": "shuffle", "name": "y", "input": "rows",
        "reshape_dims": "dims"}, x=X, rows=floats(2, 120))  # fmt: skip
of_dims("dims-slice", lambda x, z: z[:, :, :6, :5], PICK, {"layer": "slice", "name": "y", "input": "larger",
        "axes": [2, 3], "start": [0, 0], "shape": "last"}, x=X, larger=floats(2, 3, 7, 9))  # fmt: skip
of_dims("dims-slice-expands", lambda x, z: np.broadcast_to(z[:, 1:2], x.shape), {"layer": "slice", "name": "y",
        "input": "larger", "start": [0, 1, 0, 0], "shape": "dims", "stride": [1, 0, 1, 0]}, x=X,
        larger=floats(2, 3, 6, 1))  # fmt: skip
of_dims("dims-slice-expands-some-axes", lambda x, z: np.broadcast_to(z[:, :, 2:3, 4:5], (2, 3, 6, 5)), PICK,
        {"layer": "slice", "name": "y", "input": "larger", "axes": [2, 3], "start": [2, 4], "shape": "last",
        "stride": [0, 0]}, x=X, larger=floats(2, 3, 7, 9))  # fmt: skip
of_dims("dims-slice-by-a-tensor", lambda x, z: np.broadcast_to(z[:, :, :6, 1:2], (2, 3, 6, 5)), PICK,
        {"layer": "constant", "name": "step", "weights": [1, 0]}, {"layer": "slice", "name": "y", "input": "larger",
        "axes": [2, 3], "start": [0, 1], "shape": "last", "stride": "step"}, x=X,
        larger=floats(2, 3, 7, 9))  # fmt: skip
of_dims("dims-slice-backwards", lambda x, z: z[:, :, 6:0:-1, 8:3:-1], PICK, {"layer": "slice", "name": "y",
        "input": "larger", "axes": [2, 3], "start": [6, 8], "shape": "last", "stride": [-1, -1]}, x=X,
        larger=floats(2, 3, 7, 9))  # fmt: skip
of_dims("dims-slice-fill", lambda x, z: np.pad(z, ((0, 0), (0, 0), (1, 4), (2, 2)), constant_values=9), PICK,
        {"layer": "slice", "name": "y", "input": "smaller", "axes": [2, 3], "start": [-1, -2], "shape": "last",
        "mode": "fill", "fill": 9}, x=X, smaller=floats(2, 3, 1, 1))  # fmt: skip
of_dims("dims-resize", lambda x, z: ref.resize_2d(z, (6, 5), "nearest", "asymmetric"), {"layer": "resize", "name": "y",
        "input": "larger", "shape": "dims"}, x=X, larger=floats(2, 4, 7, 9))  # fmt: skip

CASES = {case.name: case for case in KINDS}
