"""Every core operation of UFF against NumPy, in the layouts that files have."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.frontends.uff_cases import const, lowered, mark, node, outcome, placeholder, run, written
from trtpipe.errors import ModelError

N, H, W, C = 2, 7, 6, 4


def random(*shape: int, low: float = -1.0, high: float = 1.0) -> np.ndarray:
    """Numbers that depend on the shape alone."""
    return np.random.default_rng(len(shape) + sum(shape)).uniform(low, high, shape).astype(np.float32)


def assert_close(result: np.ndarray, expected: np.ndarray) -> None:
    assert result.shape == np.shape(expected)
    np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-5)


def same_pads(size: int, reach: int, stride: int) -> tuple[int, int]:
    total = max((math.ceil(size / stride) - 1) * stride + reach - size, 0)
    return total // 2, total - total // 2


def windows(x, kernel, strides, pads, dilation=(1, 1), fill=0.0):
    """Patches of an NHWC array: [N, out H, out W, kernel H, kernel W, C]."""
    x = np.pad(x, ((0, 0), pads[0], pads[1], (0, 0)), constant_values=fill)
    reach = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    out = [(x.shape[1 + i] - reach[i]) // strides[i] + 1 for i in (0, 1)]
    rows = [
        [
            x[:, a * strides[0] :, b * strides[1] :][:, : reach[0] : dilation[0], : reach[1] : dilation[1]]
            for b in range(out[1])
        ]
        for a in range(out[0])
    ]
    return np.moveaxis(np.array(rows), 2, 0)


def conv(x, kernel, strides=(1, 1), pads=((0, 0), (0, 0)), dilation=(1, 1), groups=1):
    """NHWC by HWIO."""
    patches = windows(x, kernel.shape[:2], strides, pads, dilation)
    parts = zip(np.split(patches, groups, -1), np.split(kernel, groups, -1), strict=True)
    return np.concatenate([np.einsum("nabhwc,hwck->nabk", patch, part) for patch, part in parts], -1)


def conv_transpose(x, kernel, strides, size, begins):
    """NHWC by [H, W, out, in], as the gradient of a convolution: every input pixel adds a kernel to the result."""
    out = np.zeros((len(x), size[0] + 99, size[1] + 99, kernel.shape[2]), np.float32)
    for a in range(x.shape[1]):
        for b in range(x.shape[2]):
            patch = np.einsum("nc,hwkc->nhwk", x[:, a, b], kernel)
            at = a * strides[0], b * strides[1]
            out[:, at[0] : at[0] + kernel.shape[0], at[1] : at[1] + kernel.shape[1]] += patch
    return out[:, begins[0] : begins[0] + size[0], begins[1] : begins[1] + size[1]]


LAST = ["N+C", "+CK"]


@pytest.mark.parametrize("strides", [(1, 1), (2, 3)])
@pytest.mark.parametrize("padding", ["same", "valid", (1, 2)])
def test_conv_of_channels_last(tmp_path, strides, padding):
    x, kernel = random(N, H, W, C), random(3, 2, C, 5)
    fields = {"implicit_padding": padding} if isinstance(padding, str) else {"padding": list(padding)}
    pads = {
        "same": [same_pads(size, k, s) for size, k, s in zip((H, W), (3, 2), strides, strict=True)],
        "valid": [(0, 0), (0, 0)],
        (1, 2): [(1, 1), (2, 2)],
    }[padding]

    made = node("Conv", "y", "x", "k", orders=LAST, strides=list(strides), dilation=[1, 1], **fields)

    assert_close(outcome(tmp_path, [const("k", kernel), made], x=x), conv(x, kernel, strides, pads))


def test_conv_of_channels_first_without_orders(tmp_path):
    x, kernel = random(N, C, H, W), random(5, C, 3, 3)

    result = outcome(
        tmp_path, [const("k", kernel), node("Conv", "y", "x", "k", strides=[], dilation=[])], x=x
    )

    expected = conv(x.transpose(0, 2, 3, 1), kernel.transpose(2, 3, 1, 0))
    assert_close(result, expected.transpose(0, 3, 1, 2))


def test_dilated_conv_keeps_its_size(tmp_path):
    x, kernel = random(N, H, W, C), random(3, 3, C, 2)
    made = node("Conv", "y", "x", "k", orders=LAST, dilation=[2, 1], implicit_padding="same")

    pads = [same_pads(H, 5, 1), same_pads(W, 3, 1)]
    assert_close(
        outcome(tmp_path, [const("k", kernel), made], x=x), conv(x, kernel, pads=pads, dilation=(2, 1))
    )


def test_same_padding_of_open_sizes_is_left_to_the_engine(tmp_path):
    x, kernel = random(1, H, W, C), random(3, 3, C, 2)
    nodes = [
        *mark("y"),
        placeholder("x", [-1, -1, -1, C]),
        const("k", kernel),
        node("Conv", "y", "x", "k", orders=LAST, strides=[2, 2], implicit_padding="same"),
    ]
    lowered(written(tmp_path, nodes), tmp_path / "model.onnx")

    pads = [same_pads(size, 3, 2) for size in (H, W)]
    assert_close(run(tmp_path / "model.onnx", {"x": x})["y"], conv(x, kernel, (2, 2), pads))


@pytest.mark.parametrize("multiplier", [1, 2])
def test_depthwise_conv_has_a_multiplier(tmp_path, multiplier):
    x, kernel = random(N, H, W, C), random(3, 3, C, multiplier)
    made = node("Conv", "y", "x", "k", orders=LAST, number_groups=C)

    result = outcome(tmp_path, [const("k", kernel), made], x=x)

    expected = np.einsum("nabhwc,hwcm->nabcm", windows(x, (3, 3), (1, 1), [(0, 0), (0, 0)]), kernel)
    assert_close(result, expected.reshape(*expected.shape[:3], C * multiplier))


def test_conv_in_groups(tmp_path):
    x, kernel = random(N, H, W, C), random(3, 3, C // 2, 6)

    result = outcome(
        tmp_path, [const("k", kernel), node("Conv", "y", "x", "k", orders=LAST, number_groups=2)], x=x
    )

    assert_close(result, conv(x, kernel, groups=2))


@pytest.mark.parametrize(("padding", "size"), [("same", (14, 17)), ("same", (13, 18)), ("valid", (15, 18))])
def test_conv_transpose_makes_the_size_it_is_told(tmp_path, padding, size):
    x, kernel = random(N, 7, 6, C), random(3, 3, 5, C)
    made = node(
        "ConvTranspose", "y", "x", "k", "s", orders=["N+C", "+KC"], strides=[2, 3], implicit_padding=padding
    )
    shape = const("s", [-1, *size, 5], "int32")

    result = outcome(tmp_path, [const("k", kernel), shape, made], x=x)

    pads = [same_pads(one, 3, s) for one, s in zip(size, (2, 3), strict=True)]
    begins = [pad[0] for pad in pads] if padding == "same" else [0, 0]
    assert_close(result, conv_transpose(x, kernel, (2, 3), size, begins))


def test_conv_transpose_takes_its_size_from_a_shape_with_an_open_batch(tmp_path):
    x, kernel = random(N, 7, 6, C), random(2, 2, 5, C)
    nodes = [
        const("k", kernel), const("0", [0], "int32"), const("1", [1], "int32"), const("two", 2, "int32"),
        const("2", [2], "int32"), const("12", 12, "int32"), const("5", 5, "int32"),
        node("Shape", "shape", "x"),
        node("StridedSlice", "n", "shape", "0", "1", "1", begin_mask=0, end_mask=0, shrink_axis_mask=1),
        node("StridedSlice", "h", "shape", "1", "2", "1", begin_mask=0, end_mask=0, shrink_axis_mask=1),
        node("Binary", "hh", "h", "two", func="mul"),
        node("Stack", "s", "n", "hh", "12", "5", axis=0),
        node("ConvTranspose", "y", "x", "k", "s", orders=["N+C", "+KC"], strides=[2, 2], implicit_padding="same"),
    ]  # fmt: skip

    assert_close(outcome(tmp_path, nodes, x=x), conv_transpose(x, kernel, (2, 2), (14, 12), (0, 0)))


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("func", ["max", "avg"])
def test_pool(tmp_path, func, padding):
    x = random(N, H, W, C)
    made = node(
        "Pool", "y", "x", orders=["N+C"], func=func, kernel=[3, 2], strides=[2, 2], implicit_padding=padding
    )

    result = outcome(tmp_path, [made], x=x)

    pads = [same_pads(H, 3, 2), same_pads(W, 2, 2)] if padding == "same" else [(0, 0), (0, 0)]
    patches = windows(x, (3, 2), (2, 2), pads, fill=np.nan)
    assert_close(result, (np.nanmax if func == "max" else np.nanmean)(patches, (3, 4)))


@pytest.mark.parametrize("left", ["NC", "CN"])
@pytest.mark.parametrize("right", ["CK", "KC"])
def test_fully_connected_in_every_order(tmp_path, left, right):
    x, weights = random(3, 4), random(4, 5)
    stored = const("w", weights if right == "CK" else weights.T)
    made = node("FullyConnected", "y", "x", "w", orders=[left, right])

    result = outcome(tmp_path, [stored, made], batch=None, x=x if left == "NC" else x.T)

    assert_close(result, x @ weights)


def test_lrn_sums_channels_on_either_side(tmp_path):
    x = random(N, H, W, 9)
    made = node("LRN", "y", "x", orders=["N+C"], window_size=2, alpha=0.5, beta=0.75, k=1.5)

    result = outcome(tmp_path, [made], x=x)

    sums = np.stack([(x[..., max(c - 2, 0) : c + 3] ** 2).sum(-1) for c in range(9)], -1)
    assert_close(result, x / (1.5 + 0.5 * sums) ** 0.75)


def test_batch_norm_of_channels_last(tmp_path):
    x, (gamma, beta, mean) = random(N, H, W, C), random(3, C)
    variance = random(C, low=0.1)
    values = {"g": gamma, "b": beta, "m": mean, "v": variance}
    made = node("BatchNorm", "y", "x", *values, orders=["N+C"], epsilon=0.01)

    result = outcome(tmp_path, [*(const(*one) for one in values.items()), made], x=x)

    assert_close(result, (x - mean) / np.sqrt(variance + 0.01) * gamma + beta)


@pytest.mark.parametrize("shape", [(N, 5), (N, H, W, C)])
def test_softmax_over_axis_0_is_over_the_channels(tmp_path, shape):
    x = random(*shape)

    result = outcome(tmp_path, [node("Softmax", "y", "x", orders=["N+C"], axis=0)], x=x)

    assert_close(result, np.exp(x) / np.exp(x).sum(-1, keepdims=True))


def test_softmax_over_another_axis_is_over_the_files_own(tmp_path):
    x = random(N, H, W, C)

    result = outcome(tmp_path, [node("Softmax", "y", "x", orders=["N+C"], axis=2)], x=x)

    assert_close(result, np.exp(x) / np.exp(x).sum(2, keepdims=True))


BINARY = {
    "min": np.minimum, "max": np.maximum, "mul": np.multiply, "sub": np.subtract, "div": np.divide, "add": np.add,
    "pow": np.power,
}  # fmt: skip


@pytest.mark.parametrize("func", BINARY)
def test_binary(tmp_path, func):
    x, z = random(N, H, C, low=0.5), random(H, 1, low=0.5)

    assert_close(
        outcome(tmp_path, [const("z", z), node("Binary", "y", "x", "z", func=func)], x=x), BINARY[func](x, z)
    )


UNARY = {
    "neg": np.negative, "exp": np.exp, "log": np.log, "abs": np.abs, "sqrt": np.sqrt, "rsqrt": lambda x: x**-0.5,
    "square": np.square, "sin": np.sin, "cos": np.cos, "tan": np.tan, "sinh": np.sinh, "cosh": np.cosh,
    "asin": np.arcsin, "acos": np.arccos, "atan": np.arctan, "asinh": np.arcsinh, "acosh": np.arccosh,
    "atanh": np.arctanh, "ceil": np.ceil, "floor": np.floor,
}  # fmt: skip
_POSITIVE = ("log", "sqrt", "rsqrt")


@pytest.mark.parametrize("func", UNARY)
def test_unary(tmp_path, func):
    low, high = (1.1, 3.0) if func == "acosh" else (0.1, 0.9) if func in _POSITIVE else (-0.9, 0.9)
    x = random(N, 9, low=low, high=high)

    assert_close(outcome(tmp_path, [node("Unary", "y", "x", func=func)], x=x), UNARY[func](x))


ACTIVATION = {
    "relu": lambda x: np.maximum(x, 0), "relu6": lambda x: np.clip(x, 0, 6), "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "tanh": np.tanh, "elu": lambda x: np.where(x < 0, np.expm1(x), x),
    "selu": lambda x: 1.0507009873554805 * np.where(x < 0, 1.6732632423543772 * np.expm1(x), x),
    "softsign": lambda x: x / (1 + np.abs(x)), "softplus": lambda x: np.log1p(np.exp(x)),
}  # fmt: skip


@pytest.mark.parametrize("func", ACTIVATION)
def test_activation(tmp_path, func):
    x = random(N, 9, low=-9, high=9)

    assert_close(outcome(tmp_path, [node("Activation", "y", "x", func=func)], x=x), ACTIVATION[func](x))


def test_leaky_relu(tmp_path):
    x = random(N, 9)

    assert_close(
        outcome(tmp_path, [node("LeakyRelu", "y", "x", alpha=0.2)], x=x), np.where(x < 0, 0.2 * x, x)
    )


def test_identity(tmp_path):
    x = random(N, 9)

    assert_close(outcome(tmp_path, [node("Identity", "y", "x")], x=x), x)


REDUCE = {"sum": np.sum, "prod": np.prod, "max": np.max, "min": np.min, "mean": np.mean}


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("axes", [(1, 2), (3,), (0, -1)])
@pytest.mark.parametrize("func", REDUCE)
def test_reduce_behind_a_channels_last_pool(tmp_path, func, axes, keep):
    x = random(N, H, W, C)
    nodes = [
        node("Pool", "pool", "x", orders=["N+C"], func="max", kernel=[1, 1]),
        node("Reduce", "y", "pool", func=func, axes=list(axes), keepdims=keep),
    ]

    assert_close(outcome(tmp_path, nodes, x=x), REDUCE[func](x, axes, keepdims=keep))


@pytest.mark.parametrize(("operation", "reference"), [("ArgMax", np.argmax), ("ArgMin", np.argmin)])
def test_arg(tmp_path, operation, reference):
    x = random(N, H, W, C)

    result = outcome(tmp_path, [node(operation, "y", "x", axis=-1)], x=x)

    assert result.dtype == np.int32
    assert_close(result, reference(x, -1))


@pytest.mark.parametrize("axis", [1, -1])
def test_concat_and_stack(tmp_path, axis):
    x, z = random(N, H, C), random(N, H, C) + 1

    assert_close(
        outcome(tmp_path, [node("Concat", "y", "x", "z", axis=axis)], x=x, z=z), np.concatenate([x, z], axis)
    )
    assert_close(
        outcome(tmp_path, [node("Stack", "y", "x", "z", axis=axis)], x=x, z=z), np.stack([x, z], axis)
    )


def test_expand_dims_squeeze_flatten_and_transpose(tmp_path):
    x = random(N, 1, W, 1)

    assert_close(outcome(tmp_path, [node("ExpandDims", "y", "x", axis=-2)], x=x), np.expand_dims(x, -2))
    assert_close(outcome(tmp_path, [node("Squeeze", "y", "x", axes=[3])], x=x), x[..., 0])
    assert_close(outcome(tmp_path, [node("Squeeze", "y", "x")], x=x), x[:, 0, :, 0])
    assert_close(outcome(tmp_path, [node("Flatten", "y", "x")], x=x), x.reshape(N, -1))
    turned = x.transpose(2, 0, 3, 1)
    assert_close(outcome(tmp_path, [node("Transpose", "y", "x", permutation=[2, 0, 3, 1])], x=x), turned)


def test_reshape_to_a_constant(tmp_path):
    x = random(N, 6, C)

    nodes = [const("s", [-1, 3, 2 * C], "int32"), node("Reshape", "y", "x", "s")]

    assert_close(outcome(tmp_path, nodes, x=x), x.reshape(-1, 3, 2 * C))


def test_reshape_to_a_shape_that_is_computed(tmp_path):
    x = random(N, 6, C)
    nodes = [
        const("0", [0], "int32"), const("1", [1], "int32"), const("24", 24, "int32"),
        node("Shape", "shape", "x"),
        node("StridedSlice", "n", "shape", "0", "1", "1", begin_mask=0, end_mask=0, shrink_axis_mask=1),
        node("Stack", "s", "n", "24", axis=0),
        node("Reshape", "y", "x", "s"),
    ]  # fmt: skip

    path = written(tmp_path, [*mark("y"), placeholder("x", [-1, 6, C]), *nodes])
    model = lowered(path, tmp_path / "model.onnx")

    assert [one.op_type for one in model.graph.node] == ["Reshape"], "what is left open is the batch alone"
    assert_close(run(tmp_path / "model.onnx", {"x": x})["y"], x.reshape(N, 24))


def test_reshape_to_a_shape_with_two_open_sizes(tmp_path):
    x = random(N, 5, C)
    nodes = [
        const("0", [0], "int32"), const("1", [1], "int32"), const("2", [2], "int32"), const("4", [C], "int32"),
        node("Shape", "shape", "x"),
        node("StridedSlice", "n", "shape", "0", "1", "1", begin_mask=0, end_mask=0, shrink_axis_mask=0),
        node("StridedSlice", "h", "shape", "1", "2", "1", begin_mask=0, end_mask=0, shrink_axis_mask=0),
        node("Concat", "s", "h", "n", "4", axis=0),
        node("Reshape", "y", "x", "s"),
    ]  # fmt: skip
    path = written(tmp_path, [*mark("y"), placeholder("x", [-1, -1, C]), *nodes])
    lowered(path, tmp_path / "model.onnx")

    assert_close(run(tmp_path / "model.onnx", {"x": x})["y"], x.reshape(5, N, C))


def test_shape(tmp_path):
    result = outcome(tmp_path, [node("Shape", "y", "x")], x=random(N, H, C))

    assert result.dtype == np.int32
    assert_close(result, np.array([N, H, C]))


@pytest.mark.parametrize(
    ("bounds", "masks", "expected"),
    [
        (([0, 1], [9, -1], [1, 2]), (0, 0, 0), np.s_[:, 1:-1:2]),
        (([0, 1, 3], [0, 9, 0], [1, 1, -1]), (0b101, 0b101, 0), np.s_[:, 1:9, ::-1]),
        (([0, -2, 1], [0, 0, 3], [1, 1, 1]), (0b001, 0b001, 0b010), np.s_[:, -2, 1:3]),
        (([1, 2], [2, 3], [1, 1]), (0, 0, 0b11), np.s_[1, 2]),
        (([0], [0], [1]), (1, 1, 0), np.s_[:]),
    ],
)
def test_strided_slice(tmp_path, bounds, masks, expected):
    x = random(N, H, W, C)
    names = ("begin", "end", "strides")
    fields = dict(zip(("begin_mask", "end_mask", "shrink_axis_mask"), masks, strict=True))
    nodes = [const(name, value, "int32") for name, value in zip(names, bounds, strict=True)]

    assert_close(
        outcome(tmp_path, [*nodes, node("StridedSlice", "y", "x", *names, **fields)], x=x), x[expected]
    )


def test_strided_slice_with_bounds_that_are_computed(tmp_path):
    x, like = random(N, H, C), random(N, 3, 2)
    nodes = [
        const("begin", [0, 1, 0], "int32"), const("one", [1, 1, 1], "int32"), node("Shape", "end", "like"),
        node("StridedSlice", "y", "x", "begin", "end", "one", begin_mask=0, end_mask=0, shrink_axis_mask=0),
    ]  # fmt: skip

    assert_close(outcome(tmp_path, nodes, x=x, like=like), x[:, 1:3, :2])


def test_pad_before_and_behind_a_channels_last_conv(tmp_path):
    x, kernel = random(N, H, W, C), random(1, 1, C, C)
    pads = [[0, 0], [1, 2], [0, 3], [0, 1]]
    nodes = [
        const("p", pads, "int32"), const("k", kernel),
        node("Conv", "conv", "x", "k", orders=LAST), node("Pad", "y", "conv", "p"),
    ]  # fmt: skip

    assert_close(outcome(tmp_path, nodes, x=x), np.pad(conv(x, kernel), pads))
    assert_close(
        outcome(tmp_path, [const("p", pads, "int32"), node("Pad", "y", "x", "p")], x=x), np.pad(x, pads)
    )


def test_gather(tmp_path):
    table, x = random(9, C), np.array([[1, 8], [0, 3]], np.int32)

    assert_close(outcome(tmp_path, [const("t", table), node("Gather", "y", "t", "x")], x=x), table[x])
    nodes = [const("i", [2, 0], "int32"), node("GatherV2", "y", "x", "i", axis=-1)]
    assert_close(outcome(tmp_path, nodes, x=random(N, H, C)), random(N, H, C)[..., [2, 0]])


def test_half_and_integer_constants_keep_their_types(tmp_path):
    x = random(N, 9).astype(np.float16)

    result = outcome(tmp_path, [const("h", np.float16(2)), node("Binary", "y", "x", "h", func="mul")], x=x)

    assert result.dtype == np.float16
    assert_close(result, x * np.float16(2))


def test_channels_last_chains_need_a_transpose_at_either_end_only(tmp_path):
    x, kernel, bias = random(N, H, W, C), random(3, 3, C, C), random(C)
    nodes = [
        const("k", kernel), const("b", bias), const("two", np.float32(2)),
        node("Conv", "a", "x", "k", orders=LAST, implicit_padding="same"),
        node("Binary", "b1", "b", "a", func="add"), node("Activation", "r", "b1", func="relu"),
        node("Conv", "c", "r", "k", orders=LAST, implicit_padding="same"),
        node("Binary", "sum", "r", "c", func="add"), node("Binary", "twice", "sum", "two", func="mul"),
        node("Concat", "both", "twice", "c", axis=-1),
        node("Pool", "y", "both", orders=["N+C"], func="avg", kernel=[2, 2]),
    ]  # fmt: skip
    model = lowered(
        written(tmp_path, [*mark("y"), placeholder("x", [-1, H, W, C]), *nodes]), tmp_path / "model.onnx"
    )

    assert [one.op_type for one in model.graph.node].count("Transpose") == 2
    pads = [(1, 1), (1, 1)]
    r = np.maximum(conv(x, kernel, pads=pads) + bias, 0)
    c = conv(r, kernel, pads=pads)
    patches = windows(np.concatenate([(r + c) * 2, c], -1), (2, 2), (1, 1), [(0, 0), (0, 0)])
    assert_close(run(tmp_path / "model.onnx", {"x": x})["y"], patches.mean((3, 4)))


def test_a_transpose_in_the_file_joins_the_one_behind_a_conv(tmp_path):
    x, kernel = random(N, H, W, C), random(1, 1, C, C)
    nodes = [
        const("k", kernel), node("Conv", "c", "x", "k", orders=LAST),
        node("Transpose", "y", "c", permutation=[0, 3, 1, 2]),
    ]  # fmt: skip
    model = lowered(
        written(tmp_path, [*mark("y"), placeholder("x", [-1, H, W, C]), *nodes]), tmp_path / "model.onnx"
    )

    assert [one.op_type for one in model.graph.node] == ["Transpose", "Conv"]
    assert_close(run(tmp_path / "model.onnx", {"x": x})["y"], conv(x, kernel).transpose(0, 3, 1, 2))


WRONG = {
    "conv channels": (node("Conv", "y", "x", "k", orders=LAST), "has 4 channels, but its kernel reads 3"),
    "conv strides": (node("Conv", "y", "x", "k", orders=LAST, strides=[0, 1]), "each must be from 1"),
    "conv orders": (node("Conv", "y", "x", "k", orders=["NC"]), "does not fit 4 dimensions"),
    "unary func": (node("Unary", "y", "x", func="erf"), "it must be one of neg, exp"),
    "fc rank": (node("FullyConnected", "y", "x", "k"), "has 4 dimensions, and must have 2"),
    "transpose": (node("Transpose", "y", "x", permutation=[0, 1]), "it must be one of 4 axes"),
    "axis": (node("Concat", "y", "x", axis=9), "axis 9 is none of 4 dimensions"),
    "inputs": (node("Pool", "y", "x", "k", func="max"), "it has 2 inputs, and must have 1"),
    "types": (node("Binary", "y", "x", "i", func="add"), "float32 and int32"),
    "shape": (node("Reshape", "y", "x", "s"), "has a negative size"),
    "broadcast": (node("Binary", "y", "x", "k", func="add"), "its inputs do not fit"),
    "missing field": (node("Reduce", "y", "x", func="sum"), "its field 'axes' is missing"),
    "ellipsis": (node("StridedSlice", "y", "x", "i", "i", "i", ellipsis_mask=1), "not part of UFF"),
}


@pytest.mark.parametrize("name", WRONG)
def test_an_operation_that_does_not_fit_is_named(tmp_path, name):
    made, words = WRONG[name]
    nodes = [const("k", random(3, 3, 3, 2)), const("i", [7, 9], "int32"), const("s", [-3, 9], "int32"), made]
    path = written(tmp_path, [*mark("y"), placeholder("x", [-1, H, W, C]), *nodes])

    with pytest.raises(ModelError) as caught:
        lowered(path, tmp_path / "model.onnx")

    assert len(caught.value.problems) == 1
    assert "'y'" in str(caught.value)
    assert words in str(caught.value)
