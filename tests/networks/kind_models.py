"""Small ONNX models that bring out each kind of layer that TensorRT's parser makes, with many of its attributes."""

from __future__ import annotations

import ml_dtypes
import numpy as np
from onnx import TensorProto, helper, numpy_helper

FLOAT, INT32, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT32, TensorProto.INT64, TensorProto.BOOL
IMAGE = ("n", 4, 9, 8)
_RNG = np.random.default_rng(11)


def weights(name, *shape, scale=0.4):
    return numpy_helper.from_array((_RNG.normal(size=shape) * scale).astype(np.float32), name)


def const(name, value, dtype=np.int64):
    return numpy_helper.from_array(np.asarray(value, dtype), name)


def value(name, shape, kind=FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def node(op, inputs, outputs, **attributes):
    """A node named after what it makes; `x w` are two inputs, and `-` is one left out."""
    read = ["" if one == "-" else one for one in inputs.split()]
    return helper.make_node(op, read, outputs.split(), name=f"{op}_{outputs.split()[0]}", **attributes)


def model(nodes, inputs, outputs, constants=(), opset=18, ir=10):
    graph = helper.make_graph(nodes, "net", inputs, outputs, list(constants))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir)


def lone(op, inputs="x", constants=(), shape=IMAGE, kind=FLOAT, *, out=FLOAT, opset=18, **attributes):
    """A model of one node that reads `x` and constants, and makes `y`."""
    made = node(op, inputs, "y", **attributes)
    return model([made], [value("x", shape, kind)], [value("y", None, out)], constants, opset)


def two(op, first=(3, 4), second=(3, 4), kind=FLOAT, out=FLOAT, opset=18, **attributes):
    """A model of one node that reads `a` and `b`."""
    inputs = [value("a", first, kind), value("b", second, kind)]
    return model([node(op, "a b", "y", **attributes)], inputs, [value("y", None, out)], (), opset)


def windows():
    """Convolutions and pooling."""
    kernel, wide = weights("w", 6, 2, 3, 2), {"kernel_shape": [3, 2]}
    yield (
        "conv",
        lone(
            "Conv",
            "x w b",
            [kernel, weights("b", 6)],
            group=2,
            pads=[1, 0, 2, 1],
            strides=[2, 1],
            dilations=[1, 2],
        ),
    )
    yield "conv_1d", lone("Conv", "x w", [weights("w", 5, 4, 3)], (2, 4, 11), pads=[2, 1], strides=[2])
    yield (
        "conv_3d",
        lone("Conv", "x w", [weights("w", 5, 4, 2, 3, 2)], (1, 4, 5, 6, 5), pads=[0, 1, 0, 1, 2, 1]),
    )
    yield (
        "conv_same",
        lone("Conv", "x w", [weights("w", 5, 4, 3, 2)], (1, 4, 9, 8), auto_pad="SAME_LOWER", strides=[2, 2]),
    )
    computed = [node("Add", "k one", "w"), node("Conv", "x w", "y", pads=[1, 1, 1, 1])]
    inputs = [value("x", (1, 4, 9, 8)), value("k", (5, 4, 3, 3))]
    yield "conv_computed", model(computed, inputs, [value("y", None)], [const("one", 1, np.float32)])
    yield (
        "deconv",
        lone(
            "ConvTranspose",
            "x w b",
            [weights("w", 4, 3, 3, 2), weights("b", 6)],
            group=2,
            strides=[2, 3],
            pads=[1, 0, 0, 1],
        ),
    )
    yield (
        "deconv_padded",
        lone(
            "ConvTranspose",
            "x w",
            [weights("w", 4, 3, 3, 3)],
            strides=[2, 2],
            output_padding=[1, 0],
            dilations=[2, 1],
        ),
    )
    yield "max_pool", lone("MaxPool", **wide, pads=[1, 1, 1, 0], strides=[3, 2], ceil_mode=1)
    yield "average_pool", lone("AveragePool", **wide, pads=[1, 1, 1, 0], strides=[2, 1])
    yield (
        "average_counting",
        lone("AveragePool", **wide, pads=[1, 1, 1, 0], strides=[2, 1], count_include_pad=1),
    )
    yield "average_rounded_up", lone("AveragePool", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)
    for op in ("GlobalAveragePool", "GlobalMaxPool"):
        yield op, lone(op)
    yield "global_lp", lone("GlobalLpPool", p=2)


def elements():
    """Activations, unary and element-wise operations, casts."""
    for op in ("Relu", "Sigmoid", "Tanh", "Softsign", "Softplus", "HardSwish", "Mish"):
        yield op, lone(op)
    yield "LeakyRelu", lone("LeakyRelu", alpha=0.2)
    yield "Elu", lone("Elu", alpha=0.7)
    yield "Selu", lone("Selu", alpha=1.5, gamma=0.8)
    yield "HardSigmoid", lone("HardSigmoid", alpha=0.3, beta=0.4)
    yield "ThresholdedRelu", lone("ThresholdedRelu", alpha=0.3)
    yield "Gelu", lone("Gelu", opset=20)
    yield "Gelu_tanh", lone("Gelu", opset=20, approximate="tanh")
    yield "Clip", lone("Clip", "x low high", [const("low", -0.3, np.float32), const("high", 0.5, np.float32)])
    yield "Clip_below", lone("Clip", "x low", [const("low", -0.3, np.float32)])
    yield "PRelu", lone("PRelu", "x s", [weights("s", 4, 1, 1)])
    for op in (
        "Exp",
        "Abs",
        "Neg",
        "Sin",
        "Cos",
        "Tan",
        "Sinh",
        "Cosh",
        "Asinh",
        "Atan",
        "Ceil",
        "Floor",
        "Erf",
        "Sign",
        "Round",
    ):
        yield op, lone(op)
    for op in ("Sqrt", "Log", "Reciprocal", "Acosh"):
        nodes = [node("Abs", "x", "p"), node("Add", "p more", "q"), node(op, "q", "y")]
        yield op, model(nodes, [value("x", IMAGE)], [value("y", None)], [const("more", 1.5, np.float32)])
    for op in ("Asin", "Acos", "Atanh"):
        nodes = [node("Tanh", "x", "p"), node(op, "p", "y")]
        yield op, model(nodes, [value("x", IMAGE)], [value("y", None)])
    yield "IsNaN", lone("IsNaN", out=BOOL)
    yield "IsInf", lone("IsInf", out=BOOL)
    yield "Not", lone("Not", shape=(3, 4), kind=BOOL, out=BOOL)
    for op in ("Add", "Sub", "Mul", "Div"):
        yield op, two(op, (3, 4), (1, 4))
    for op in ("Max", "Min"):
        yield op, two(op, (3, 4), (4,))
    for op in ("Equal", "Greater", "Less", "GreaterOrEqual"):
        yield op, two(op, kind=INT32, out=BOOL)
    for op in ("And", "Or", "Xor"):
        yield op, two(op, kind=BOOL, out=BOOL)
    positive = [node("Abs", "a", "p"), node("Pow", "p b", "y")]
    yield "Pow", model(positive, [value("a", (3, 4)), value("b", (3, 4))], [value("y", None)])
    shifted = [
        node("Add", "b c", "d"),
        node("Div", "a d", "p"),
        node("Mod", "a d", "q"),
        node("Add", "p q", "y"),
    ]
    integers = [value("a", (5,), INT32), value("b", (5,), INT32)]
    yield (
        "whole_numbers",
        model(shifted, integers, [value("y", None, INT32)], [const("c", [-5, -2, 1, 2, 3], np.int32)]),
    )
    for kind, name in ((TensorProto.FLOAT16, "half"), (INT32, "int32"), (INT64, "int64"), (BOOL, "bool")):
        yield f"Cast_{name}", lone("Cast", out=kind, to=kind)
    inputs = [value("c", (3, 4), BOOL), value("a", (3, 4)), value("b", (1, 4))]
    yield "Where", model([node("Where", "c a b", "y")], inputs, [value("y", None)])


def shapes():
    """Layers that move elements."""
    yield "Transpose", lone("Transpose", perm=[0, 2, 3, 1])
    yield "Reshape", lone("Reshape", "x s", [const("s", [0, -1, 2])])
    sized = [
        node("Shape", "x", "s"),
        node("Gather", "s i", "t"),
        node("Concat", "t rest", "u", axis=0),
        node("Reshape", "x u", "y"),
    ]
    yield (
        "Reshape_computed",
        model(sized, [value("x", IMAGE)], [value("y", None)], [const("i", [2, 0]), const("rest", [-1])]),
    )
    yield "Flatten", lone("Flatten", axis=2)
    yield "Squeeze", lone("Squeeze", "x a", [const("a", [1, -1])], (3, 1, 5, 1))
    yield "Unsqueeze", lone("Unsqueeze", "x a", [const("a", [0, -1])], (3, 5))
    yield "Concat", two("Concat", (3, 4), (3, 2), axis=1)
    halves = node("Split", "x s", "y z", axis=1)
    yield (
        "Split",
        model([halves], [value("x", IMAGE)], [value("y", None), value("z", None)], [const("s", [1, 3])]),
    )
    yield (
        "Slice",
        lone(
            "Slice",
            "x b e a s",
            [const("b", [1, 7]), const("e", [8, 0]), const("a", [2, 3]), const("s", [2, -3])],
        ),
    )
    dynamic = [value("x", ("n", 6)), value("b", (1,), INT64)]
    ends = [node("Slice", "x b e a", "y")]
    yield "Slice_computed", model(ends, dynamic, [value("y", None)], [const("e", [5]), const("a", [1])])
    pads = const("p", [0, 0, 2, 1, 0, 0, 1, 3])
    for mode in ("reflect", "edge", "wrap"):
        yield f"Pad_{mode}", lone("Pad", "x p", [pads], opset=19, mode=mode)
    yield "Pad_constant", lone("Pad", "x p v", [pads, const("v", 0.7, np.float32)])
    yield "Pad_cutting", lone("Pad", "x p", [const("p", [0, 0, -2, 1, 0, 0, 1, -3])])
    yield "Expand", lone("Expand", "x s", [const("s", [3, 1, 4])], (3, 5, 1))
    yield "Tile", lone("Tile", "x r", [const("r", [2, 1, 3])], (3, 2, 2))
    yield "Gather", lone("Gather", "x i", [const("i", [[3, 0], [-1, 2]])], axis=1)
    yield (
        "GatherElements",
        lone("GatherElements", "x i", [const("i", [[1, 2, 0], [2, 0, 1]])], (3, 3), axis=0),
    )
    yield "GatherND", lone("GatherND", "x i", [const("i", [[[1]], [[2]]])], (2, 3, 4), batch_dims=1)
    elements_ = [const("i", [[2, 0, 1]]), weights("u", 1, 3)]
    yield "ScatterElements", lone("ScatterElements", "x i u", elements_, (3, 3), axis=1)
    yield "ScatterND", lone("ScatterND", "x i u", [const("i", [[2], [0]]), weights("u", 2, 4)], (3, 4))
    hot = [const("d", 5), const("v", [0.5, 2], np.float32)]
    yield "OneHot", lone("OneHot", "x d v", hot, (3, 2), INT64, axis=1)
    yield (
        "ReverseSequence",
        lone("ReverseSequence", "x n", [const("n", [4, 2])], (4, 2, 3), time_axis=0, batch_axis=1),
    )
    yield "ConstantOfShape", model(
        [
            node("Shape", "x", "s"), node("ConstantOfShape", "s", "c", value=const("v", [2], np.float32)),
            node("Add", "x c", "y"),
        ],
        [value("x", IMAGE)], [value("y", None)],
    )  # fmt: skip
    counted = [
        node("Shape", "x", "s", start=0, end=1),
        node("Squeeze", "s", "n"),
        node("Range", "zero n step", "y"),
    ]
    yield (
        "Range",
        model(counted, [value("x", IMAGE)], [value("y", None, INT64)], [const("zero", -3), const("step", 2)]),
    )
    yield "Trilu", lone("Trilu", shape=(5, 5), upper=0)
    yield "DepthToSpace", lone("DepthToSpace", blocksize=2)
    yield "EyeLike", lone("EyeLike", shape=(4, 5), k=1)


def combining():
    """Reductions, products, normalizations."""
    axes = [const("a", [1, 3])]
    for op in ("Sum", "Prod", "Max", "Min", "Mean", "L1", "L2", "LogSum", "LogSumExp", "SumSquare"):
        keep = len(op) % 2
        inner = [node("Abs", "x", "p"), node(f"Reduce{op}", "p a", "y", keepdims=keep)]
        yield f"Reduce{op}", model(inner, [value("x", IMAGE)], [value("y", None)], axes)
    yield "ArgMax", lone("ArgMax", out=INT64, axis=2, keepdims=0)
    yield "ArgMin", lone("ArgMin", out=INT64, axis=1)
    top = node("TopK", "x k", "y i", largest=0, axis=1)
    yield (
        "TopK",
        model([top], [value("x", (3, 9))], [value("y", None), value("i", None, INT64)], [const("k", [4])]),
    )
    yield "Softmax", lone("Softmax", axis=1)
    yield "LogSoftmax", lone("LogSoftmax", axis=-1)
    yield "CumSum", lone("CumSum", "x a", [const("a", 2)], exclusive=1, reverse=1)
    yield "MatMul", two("MatMul", (2, 1, 3, 4), (5, 4, 2))
    yield "MatMul_vector", two("MatMul", (4,), (4, 2))
    gemm = [weights("w", 5, 3), weights("b", 5)]
    yield "Gemm", lone("Gemm", "x w b", gemm, (3, "n"), transA=1, transB=1, alpha=0.5, beta=2.0)
    yield "Einsum", two("Einsum", (2, 3, 4), (2, 5, 4), equation="bij,bkj->bik")
    moments = [weights("s", 4), weights("b", 4), weights("m", 4), const("v", [1, 2, 3, 0.5], np.float32)]
    yield "BatchNormalization", lone("BatchNormalization", "x s b m v", moments, epsilon=0.01)
    yield "InstanceNormalization", lone("InstanceNormalization", "x s b", moments[:2], epsilon=0.01)
    yield (
        "LayerNormalization",
        lone("LayerNormalization", "x s b", [weights("s", 9, 8), weights("b", 9, 8)], axis=2),
    )
    yield "GroupNormalization", lone("GroupNormalization", "x s b", moments[:2], opset=21, num_groups=2)
    yield "RMSNormalization", lone("RMSNormalization", "x s", [weights("s", 8)], opset=23)
    yield "LRN", lone("LRN", size=3, alpha=0.5, beta=0.7, bias=1.5)
    yield "LpNormalization", lone("LpNormalization", axis=1, p=2)
    boxes = [value("b", (1, 20, 4)), value("s", (1, 1, 20))]
    limits = [const("n", [5]), const("iou", [0.3], np.float32), const("low", [0.1], np.float32)]
    yield (
        "NonMaxSuppression",
        model([node("NonMaxSuppression", "b s n iou low", "y")], boxes, [value("y", None, INT64)], limits),
    )


def sampling():
    """Resize and grid sample."""
    scales = [const("s", [1, 1, 1.5, 2], np.float32)]
    for rounding in ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil"):
        attributes = {
            "mode": "nearest",
            "nearest_mode": rounding,
            "coordinate_transformation_mode": "half_pixel",
        }
        yield f"nearest_{rounding}", lone("Resize", "x - s", scales, **attributes)
    for transformation in ("half_pixel", "align_corners", "asymmetric", "pytorch_half_pixel"):
        yield (
            f"linear_{transformation}",
            lone("Resize", "x - s", scales, mode="linear", coordinate_transformation_mode=transformation),
        )
    yield "cubic", lone("Resize", "x - s", scales, mode="cubic", cubic_coeff_a=-0.5, exclude_outside=1)
    yield "to_size", lone("Resize", "x - - s", [const("s", [2, 4, 5, 13])], (2, 4, 9, 8), mode="linear")
    for mode, edge, aligned in (("linear", "border", 0), ("nearest", "zeros", 1), ("cubic", "reflection", 0)):
        made = node("GridSample", "x g", "y", mode=mode, padding_mode=edge, align_corners=aligned)
        yield (
            f"grid_{mode}",
            model([made], [value("x", (1, 2, 6, 5)), value("g", (1, 3, 4, 2))], [value("y", None)], (), 20),
        )


def recurrent():
    """Recurrent operators, loops, scans, conditionals."""
    for op, gates in (("RNN", 1), ("GRU", 3), ("LSTM", 4)):
        for direction, count in (("forward", 1), ("reverse", 1), ("bidirectional", 2)):
            constants = [
                weights("w", count, gates * 3, 4),
                weights("r", count, gates * 3, 3),
                weights("b", count, gates * 6),
            ]
            made = node(op, "x w r b", "y h", hidden_size=3, direction=direction)
            outputs = [value("y", None), value("h", None)]
            yield f"{op}_{direction}", model([made], [value("x", (5, 2, 4))], outputs, constants)
    yield "loop", _loop(3, [node("Identity", "go", "on")])
    yield (
        "while",
        _loop(
            9,
            [node("ReduceMax", "next", "peak", keepdims=0), node("Less", "peak limit", "on")],
            scanned=False,
        ),
    )
    body = helper.make_graph(
        [node("Add", "s e", "t"), node("Mul", "t e", "u")], "body",
        [value("s", (3,)), value("e", (3,))], [value("t", (3,)), value("u", (3,))],
    )  # fmt: skip
    made = node(
        "Scan",
        "z x",
        "y q",
        num_scan_inputs=1,
        body=body,
        scan_input_axes=[1],
        scan_output_axes=[1],
        scan_input_directions=[1],
    )
    yield "scan", model([made], [value("z", (3,)), value("x", (3, 4))], [value("y", None), value("q", None)])
    branches = {
        "then_branch": helper.make_graph([node("Mul", "x x", "a")], "then", [], [value("a", (2, 3))]),
        "else_branch": helper.make_graph(
            [node("Neg", "x", "b"), node("Add", "b b", "d")], "else", [], [value("d", (2, 3))]
        ),
    }
    chosen = [
        node("ReduceSum", "x", "t", keepdims=0),
        node("Greater", "t zero", "c"),
        node("If", "c", "y", **branches),
    ]
    yield "if", model(chosen, [value("x", (2, 3))], [value("y", None)], [const("zero", 0, np.float32)])


def _loop(trips, condition, scanned=True):
    outputs = [value("on", [], BOOL), value("next", (2,)), *([value("seen", (2,))] if scanned else [])]
    nodes = [
        node("Mul", "s w", "m"),
        node("Add", "m one", "next"),
        *condition,
        *([node("Neg", "s", "seen")] if scanned else []),
    ]
    inputs = [value("i", [], INT64), value("go", [], BOOL), value("s", (2,))]
    body = helper.make_graph(nodes, "body", inputs, outputs)
    constants = [
        const("trips", trips), const("yes", True, np.bool_), const("w", [0.5, 1.3], np.float32),
        const("one", [1, 1], np.float32), const("limit", 6, np.float32),
    ]  # fmt: skip
    made = node("Loop", "trips yes x", "last all" if scanned else "last", body=body)
    results = [value("last", (2,)), *([value("all", (trips, 2))] if scanned else [])]
    return model([made], [value("x", (2,))], results, constants)


def quantized():
    """Quantized models."""
    yield "int8", model(
        [
            node("QuantizeLinear", "x xs xz", "q"), node("DequantizeLinear", "q xs xz", "d"),
            node("DequantizeLinear", "k ws wz", "w", axis=0), node("Conv", "d w", "y"),
        ],
        [value("x", IMAGE)], [value("y", None)],
        [
            const("xs", 0.02, np.float32), const("xz", 0, np.int8), const("wz", [0] * 3, np.int8),
            const("ws", [0.01, 0.02, 0.03], np.float32),
            numpy_helper.from_array(_RNG.integers(-127, 128, (3, 4, 3, 3)).astype(np.int8), "k"),
        ],
    )  # fmt: skip
    fp8 = numpy_helper.from_array(np.asarray(0).astype(ml_dtypes.float8_e4m3fn), "z")
    yield "fp8", model(
        [node("QuantizeLinear", "x s z", "q"), node("DequantizeLinear", "q s z", "y")],
        [value("x", IMAGE)], [value("y", None)], [const("s", 0.02, np.float32), fp8], 19,
    )  # fmt: skip
    int4 = numpy_helper.from_array(_RNG.integers(-8, 8, (6, 32)).astype(ml_dtypes.int4), "k")
    yield "int4_blocks", model(
        [node("DequantizeLinear", "k s", "w", axis=1, block_size=16), node("MatMul", "x w", "y")],
        [value("x", (3, 6))], [value("y", None)], [weights("s", 6, 2, scale=0.1), int4], 21,
    )  # fmt: skip


def attending():
    """Attention, rotary embeddings, caches."""
    tensors = [value(name, (1, 2, 5, 8)) for name in "qkv"]
    yield "attention", model([node("Attention", "q k v", "y")], tensors, [value("y", None)], (), 23)
    yield (
        "attention_causal",
        model([node("Attention", "q k v", "y", is_causal=1)], tensors, [value("y", None)], (), 23),
    )
    masked = [*tensors, value("m", (5, 5))]
    yield "attention_masked", model([node("Attention", "q k v m", "y")], masked, [value("y", None)], (), 23)
    few = [value("q", (1, 4, 5, 8)), value("k", (1, 2, 6, 8)), value("v", (1, 2, 6, 8))]
    yield "attention_few_heads", model([node("Attention", "q k v", "y")], few, [value("y", None)], (), 23)
    inputs = [value("x", (1, 2, 4, 8)), value("ids", (1, 4), INT64)]
    caches = [weights("cos", 16, 4), weights("sin", 16, 4)]
    turned = node("RotaryEmbedding", "x cos sin ids", "y", interleaved=1)
    yield "rotary", model([turned], inputs, [value("y", None)], caches, 23)


MODELS = {
    name: made
    for group in (windows, elements, shapes, combining, sampling, recurrent, quantized, attending)
    for name, made in group()
}

_ODD = np.resize(np.array([1.0, np.nan, np.inf, -np.inf, -0.5], np.float32), (2, 4, 9, 8))
FEEDS = {
    "IsNaN": [{"x": _ODD}],
    "IsInf": [{"x": _ODD}],
    "if": [{"x": sign * np.abs(_RNG.normal(size=(2, 3)) + 1).astype(np.float32)} for sign in (1, -1)],
    "whole_numbers": [
        {"a": np.array([-7, -3, 0, 5, 9], np.int32), "b": np.array(b, np.int32)}
        for b in ([0] * 5, [3, -1, 1, 5, -7])
    ],
    "Slice_computed": [
        {"x": _RNG.normal(size=(3, 6)).astype(np.float32), "b": np.array([start])}
        for start in (-2, -9, 1, 4, 8)
    ],
}
"""Inputs that bring out what random ones do not."""
