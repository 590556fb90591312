"""Variations of what TensorRT's parser is known to misread: many small models of each kind, by name."""

from __future__ import annotations

import zlib
from itertools import product

import numpy as np
from onnx import TensorProto, helper

from tests.networks.kind_models import BOOL, FLOAT, INT64, const, lone, model, node, value

UINT8, INT8, HALF = TensorProto.UINT8, TensorProto.INT8, TensorProto.FLOAT16
LINE, PICTURE, VOLUME = (1, 4, 11), (1, 4, 9, 8), (1, 4, 5, 6, 5)


def weights(name, *shape):
    """Random weights, the same whenever they are asked for."""
    rng = np.random.default_rng(zlib.crc32(repr((name, shape)).encode()))
    return const(name, rng.normal(size=shape) * 0.4, np.float32)


def quantized():
    """Quantizing and dequantizing: types, zero points, axes."""
    zeros = {"none": None, "0": 0, "128": 128, "3": 3}
    for dtype, zero in product((np.uint8, np.int8), zeros):
        if (dtype, zero) != (np.int8, "128"):
            for name, made in _around(dtype, zeros[zero]):
                yield f"{np.dtype(dtype).name}, zero point {zero}, {name}", made
    yield "uint8 by attribute", _pair([const("s", 0.02, np.float32)], 21, output_dtype=UINT8)
    yield "int8 by attribute", _pair([const("s", 0.02, np.float32)], 21, output_dtype=INT8)
    half = [const("s", 0.02, np.float16), const("z", 0, np.uint8)]
    yield "uint8, halves", _pair(half, 19, kind=HALF)
    yield "uint8 input", lone("DequantizeLinear", "x s z", _scale(np.uint8, 0), (2, 4), UINT8)
    yield "uint8 input without zero point", lone("DequantizeLinear", "x s", _scale(np.uint8), (2, 4), UINT8)
    yield "int8 input", lone("DequantizeLinear", "x s z", _scale(np.int8, 0), (2, 4), INT8)
    yield "uint8 output", lone("QuantizeLinear", "x s z", _scale(np.uint8, 0), (2, 4), out=UINT8)
    yield (
        "uint8 output without zero point",
        lone("QuantizeLinear", "x s", _scale(np.uint8), (2, 4), out=UINT8),
    )
    yield "int8 output", lone("QuantizeLinear", "x s z", _scale(np.int8, 0), (2, 4), out=INT8)
    yield "uint8 where int8 would do", _narrow()
    yield "computed", _dynamic()


def _scale(dtype, zero=None, count=()):
    """A scale, and a zero point when there is one."""
    scale = const("s", np.full(count, 0.02), np.float32)
    return [scale] if zero is None else [scale, const("z", np.full(count, zero), dtype)]


def _pair(constants, opset=13, kind=FLOAT, axis=1, **attributes):
    """Relu, quantized and dequantized."""
    names = " ".join(one.name for one in constants)
    given = {"axis": axis}
    nodes = [
        node("Relu", "x", "r"),
        node("QuantizeLinear", f"r {names}", "q", **given, **attributes),
        node("DequantizeLinear", f"q {names}", "y", **given),
    ]
    return model(nodes, [value("x", (2, 4, 8), kind)], [value("y", None, kind)], constants, opset)


def _around(dtype, zero):
    """A pair for a tensor, for channels, and weights that are dequantized only."""
    if dtype is np.uint8 or zero is not None:
        yield "tensor", _pair(_scale(dtype, zero))
        yield "channels", _pair(_scale(dtype, zero, (4,)))
    span = np.iinfo(dtype)
    held = np.random.default_rng(4).integers(span.min, span.max + 1, (6, 4, 3, 3)).astype(dtype)
    for name, count in (("weights", ()), ("weights' channels", (6,))):
        constants = [const("w", held, dtype), *_scale(dtype, zero, count)]
        read = " ".join(one.name for one in constants)
        nodes = [node("DequantizeLinear", read, "d", axis=0), node("Conv", "x d", "y")]
        yield name, model(nodes, [value("x", PICTURE)], [value("y", None)], constants, 13)


def _narrow():
    """A sigmoid by 1/255: of numbers below one half, int8 holds all."""
    nodes = [
        node("Relu", "x", "r"), node("Neg", "r", "n"), node("Sigmoid", "n", "u"),
        node("QuantizeLinear", "u s z", "q"), node("DequantizeLinear", "q s z", "y"),
    ]  # fmt: skip
    constants = [const("s", 1 / 255, np.float32), const("z", 0, np.uint8)]
    return model(nodes, [value("x", (2, 4, 8))], [value("y", None)], constants, 13)


def _dynamic():
    """Quantized by what is in the tensor itself."""
    nodes = [node("DynamicQuantizeLinear", "x", "q s z"), node("DequantizeLinear", "q s z", "y")]
    return model(nodes, [value("x", (2, 4, 8))], [value("y", None)], (), 13)


def transposed():
    """Transposed convolutions: how large the output is, and where what is cut off stands."""
    kernel = weights("w", 4, 2, 3, 3)
    ways = {
        "pads": {"pads": [1, 0, 0, 1]},
        "output_padding": {"output_padding": [1, 0]},
        "pads and output_padding": {"pads": [1, 1, 1, 1], "output_padding": [1, 1]},
        "output_shape, one less": {"output_shape": [18, 16]},
        "output_shape, two less": {"output_shape": [17, 15]},
        "output_shape, one more": {"output_shape": [20, 18]},
        "output_shape and pads": {"output_shape": [18, 16], "pads": [0, 0, 0, 0]},
        "output_shape and output_padding": {"output_shape": [18, 16], "output_padding": [1, 1]},
        "output_shape and SAME_UPPER": {"output_shape": [18, 16], "auto_pad": "SAME_UPPER"},
        "output_shape and SAME_LOWER": {"output_shape": [18, 16], "auto_pad": "SAME_LOWER"},
        "SAME_UPPER": {"auto_pad": "SAME_UPPER"},
        "SAME_LOWER": {"auto_pad": "SAME_LOWER"},
        "SAME_UPPER and output_padding": {"auto_pad": "SAME_UPPER", "output_padding": [1, 1]},
        "VALID": {"auto_pad": "VALID"},
        "VALID and output_padding": {"auto_pad": "VALID", "output_padding": [1, 0]},
    }
    for name, way in ways.items():
        yield (
            name,
            lone("ConvTranspose", "x w", [kernel], PICTURE, strides=[2, 2], kernel_shape=[3, 3], **way),
        )
    bare = {"strides": [2, 2], "output_shape": [18, 16]}
    yield "no kernel_shape", lone("ConvTranspose", "x w", [kernel], PICTURE, **bare)
    wide = {"strides": [3, 3], "auto_pad": "SAME_UPPER", "dilations": [2, 1]}
    yield "dilations and SAME_UPPER", lone("ConvTranspose", "x w", [kernel], PICTURE, **wide)
    yield "dilations", lone("ConvTranspose", "x w", [kernel], PICTURE, strides=[2, 1], dilations=[2, 3])
    grouped = {"group": 2, "strides": [2, 2], "output_shape": [18, 16]}
    yield "groups", lone("ConvTranspose", "x w", [kernel], PICTURE, **grouped)
    for name, shape, sizes in (("line", LINE, [22]), ("volume", VOLUME, [10, 12, 10])):
        kernel = weights("w", 4, 2, *(3 for _ in sizes))
        strides = {"strides": [2 for _ in sizes]}
        yield (
            f"{name} by output_shape",
            lone("ConvTranspose", "x w", [kernel], shape, output_shape=sizes, **strides),
        )
        yield (
            f"{name} by SAME_LOWER",
            lone("ConvTranspose", "x w", [kernel], shape, auto_pad="SAME_LOWER", **strides),
        )


def convolved():
    """Convolutions: padding by rule, strides, dilations."""
    for rule, (name, kernel, ways) in product(
        ("SAME_UPPER", "SAME_LOWER", "VALID"),
        (
            ("odd", (3, 3), {}), ("even", (2, 4), {}), ("strides", (3, 2), {"strides": [2, 3]}),
            ("dilations", (3, 2), {"dilations": [2, 3]}),
            ("strides and dilations", (2, 3), {"strides": [3, 2], "dilations": [2, 2]}),
        ),
    ):  # fmt: skip
        yield (
            f"{rule}, {name}",
            lone("Conv", "x w", [weights("w", 6, 4, *kernel)], PICTURE, auto_pad=rule, **ways),
        )
    for rule, (name, shape) in product(("SAME_UPPER", "SAME_LOWER"), (("line", LINE), ("volume", VOLUME))):
        kernel = weights("w", 6, 4, *(2 for _ in shape[2:]))
        yield (
            f"{rule}, {name}",
            lone("Conv", "x w", [kernel], shape, auto_pad=rule, strides=[2] * len(shape[2:])),
        )
    sized = ("n", 4, "h", "w")
    yield (
        "SAME_UPPER, any size",
        lone("Conv", "x w", [weights("w", 6, 4, 2, 3)], sized, auto_pad="SAME_UPPER"),
    )
    yield "NOTSET and pads", lone("Conv", "x w", [weights("w", 6, 4, 3, 2)], PICTURE, pads=[1, 0, 2, 1])


def pooled():
    """Pooling: padding by rule, rounding up, what is counted, dilations."""
    for op, rule, (name, ways) in product(
        ("MaxPool", "AveragePool"),
        ("SAME_UPPER", "SAME_LOWER", "VALID"),
        (
            ("odd", {"kernel_shape": [3, 3]}), ("even", {"kernel_shape": [2, 4]}),
            ("strides", {"kernel_shape": [3, 2], "strides": [2, 3]}),
        ),
    ):  # fmt: skip
        yield f"{op}, {rule}, {name}", lone(op, shape=PICTURE, auto_pad=rule, **ways)
    rounded = {
        "rounded up": ((9, 8), {"kernel_shape": [3, 3], "strides": [2, 2]}),
        "rounded up, pads": ((9, 8), {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}),
        "rounded up, pads before": ((9, 8), {"kernel_shape": [3, 2], "strides": [3, 3], "pads": [1, 0, 0, 0]}),
        "rounded up, starts in padding": ((9, 8), {"kernel_shape": [3, 2], "strides": [2, 2], "pads": [1, 1, 2, 0]}),
        "rounded up, starts behind": ((9, 8), {"kernel_shape": [1, 2], "strides": [3, 5]}),
        "rounded up and SAME_UPPER": ((9, 8), {"kernel_shape": [3, 2], "strides": [2, 3], "auto_pad": "SAME_UPPER"}),
    }  # fmt: skip
    for op, (name, (size, ways)) in product(("MaxPool", "AveragePool"), rounded.items()):
        yield f"{op}, {name}", lone(op, shape=(1, 4, *size), ceil_mode=1, opset=19, **ways)
    for name, (size, ways) in rounded.items():
        counting = {"ceil_mode": 1, "count_include_pad": 1}
        yield (
            f"AveragePool, counting, {name}",
            lone("AveragePool", shape=(1, 4, *size), opset=19, **counting, **ways),
        )
    counting = {"count_include_pad": 1, "kernel_shape": [3, 2], "strides": [2, 1]}
    yield "AveragePool, counting, pads", lone("AveragePool", shape=PICTURE, pads=[1, 1, 1, 0], **counting)
    yield (
        "AveragePool, counting, SAME_UPPER",
        lone("AveragePool", shape=PICTURE, auto_pad="SAME_UPPER", **counting),
    )
    for op in ("MaxPool", "AveragePool"):
        ways = {"kernel_shape": [3, 2], "dilations": [2, 1]}
        yield f"{op}, dilations", lone(op, shape=PICTURE, opset=19, **ways)
        yield (
            f"{op}, dilations of 1",
            lone(op, shape=PICTURE, opset=19, kernel_shape=[3, 2], dilations=[1, 1]),
        )
        yield (
            f"{op}, any size, SAME_LOWER",
            lone(op, kernel_shape=[2, 3], shape=("n", 4, "h", "w"), auto_pad="SAME_LOWER"),
        )
    for p in (1, 2, 3):
        yield f"LpPool, p={p}", lone("LpPool", shape=PICTURE, kernel_shape=[3, 2], p=p)
        yield (
            f"LpPool, p={p}, pads",
            lone("LpPool", shape=PICTURE, kernel_shape=[3, 2], p=p, pads=[1, 1, 1, 0]),
        )
        yield f"GlobalLpPool, p={p}", lone("GlobalLpPool", shape=PICTURE, p=p)
    yield (
        "LpPool, rounded up",
        lone("LpPool", shape=PICTURE, kernel_shape=[3, 2], strides=[2, 3], ceil_mode=1),
    )
    both = node("MaxPool", "x", "y i", kernel_shape=[2, 2])
    yield (
        "MaxPool, indices",
        model([both], [value("x", PICTURE)], [value("y", None), value("i", None, INT64)]),
    )


def reduced():
    """Reductions over no axes."""
    ops = ("Sum", "Prod", "Max", "Min", "Mean", "L1", "L2", "LogSum", "LogSumExp", "SumSquare")
    empty = const("a", np.zeros(0, np.int64))
    for op, noop, keep in product(ops, (0, 1), (0, 1)):
        attributes = {"noop_with_empty_axes": noop, "keepdims": keep}
        mode = f"{op}, {'nothing' if noop else 'all'}, {'kept' if keep else 'gone'}"
        name = f"Reduce{op}"
        inputs = {"axes left out": ("p", []), "axes empty": ("p a", [empty])}
        for axes, (read, constants) in inputs.items():
            nodes = [node("Abs", "x", "p"), node(name, read, "y", **attributes)]
            if op not in ("LogSum",):
                nodes = [node("Neg", "x", "p"), nodes[1]]
            yield f"{mode}, {axes}", model(nodes, [value("x", (2, 3, 4))], [value("y", None)], constants, 18)
    for opset in (11, 13):
        yield f"ReduceL2 of opset {opset}", lone("ReduceL2", shape=(2, 3), opset=opset)
    empty_sum = {"noop_with_empty_axes": 1}
    yield "ReduceSum of opset 13, nothing", lone("ReduceSum", "x a", [empty], (2, 3), opset=13, **empty_sum)
    yield "ReduceSum of opset 13, all", lone("ReduceSum", "x a", [empty], (2, 3), opset=13)


def recurrent():
    """Recurrent operators: layout, lengths, directions, activations."""
    for op, direction, layout in product(
        ("RNN", "GRU", "LSTM"), ("forward", "reverse", "bidirectional"), (0, 1)
    ):
        yield f"{op}, {direction}, layout {layout}", _recurrent(op, direction, layout=layout)
    for op, direction in product(("RNN", "GRU", "LSTM"), ("forward", "reverse", "bidirectional")):
        yield f"{op}, {direction}, lengths", _recurrent(op, direction, lengths=[5, 2, 3])
        yield f"{op}, {direction}, full lengths", _recurrent(op, direction, lengths=[5, 5, 5])
        yield f"{op}, {direction}, first state", _recurrent(op, direction, first=True)
        yield f"{op}, {direction}, clip", _recurrent(op, direction, clip=0.2, first=True)
    yield "RNN, lengths that are an input", _recurrent("RNN", "forward", lengths="input")
    yield "GRU, linear_before_reset", _recurrent("GRU", "forward", linear_before_reset=1)
    yield "LSTM, input_forget", _recurrent("LSTM", "forward", input_forget=1)
    yield "LSTM, peepholes", _recurrent("LSTM", "forward", peepholes=True)
    yield "RNN, Relu", _recurrent("RNN", "forward", activations=["Relu"])
    yield "RNN, two activations", _recurrent("RNN", "bidirectional", activations=["Relu", "Tanh"])
    given = {"activations": ["HardSigmoid", "Tanh"], "activation_alpha": [0.3], "activation_beta": [0.4]}
    yield "GRU, HardSigmoid", _recurrent("GRU", "forward", **given)
    yield "GRU, HardSigmoid by default", _recurrent("GRU", "forward", activations=["HardSigmoid", "Tanh"])
    yield (
        "RNN, Affine",
        _recurrent("RNN", "forward", activations=["Affine"], activation_alpha=[0.5], activation_beta=[0.1]),
    )
    yield "RNN, LeakyRelu by default", _recurrent("RNN", "forward", activations=["LeakyRelu"])
    yield (
        "RNN, ThresholdedRelu",
        _recurrent("RNN", "forward", activations=["ThresholdedRelu"], activation_alpha=[0.2]),
    )


def _recurrent(op, direction, *, lengths=None, first=False, peepholes=False, **attributes):
    """Five steps of three sequences; sizes 4 and 3."""
    gates, ways = {"RNN": 1, "GRU": 3, "LSTM": 4}[op], 2 if direction == "bidirectional" else 1
    constants = [
        weights("w", ways, gates * 3, 4),
        weights("r", ways, gates * 3, 3),
        weights("b", ways, gates * 6),
    ]
    reads, inputs = ["x", "w", "r", "b", "-", "-", "-", "-"], [value("x", (5, 3, 4))]
    if attributes.get("layout"):
        inputs = [value("x", (3, 5, 4))]
    if lengths == "input":
        reads[4] = "n"
        inputs.append(value("n", (3,), TensorProto.INT32))
    elif lengths:
        reads[4] = "n"
        constants.append(const("n", lengths, np.int32))
    if first:
        reads[5] = "h"
        constants.append(weights("h", ways, 3, 3))
        if op == "LSTM":
            reads[6] = "c"
            constants.append(weights("c", ways, 3, 3))
    if peepholes:
        reads[7] = "p"
        constants.append(weights("p", ways, 9))
    while reads[-1] == "-":
        reads.pop()
    outputs = "y last cell" if op == "LSTM" else "y last"
    made = node(op, " ".join(reads), outputs, hidden_size=3, direction=direction, **attributes)
    return model([made], inputs, [value(name, None) for name in outputs.split()], constants, 14)


def resized():
    """Resize: how it interpolates, how places map, how it rounds, and what it is told."""
    up, down = [1, 1, 1.5, 2.0], [1, 1, 0.6, 0.8]
    maps = ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric", "half_pixel_symmetric",
            "tf_crop_and_resize")  # fmt: skip
    for mode, way, (name, scales) in product(
        ("nearest", "linear", "cubic"), maps, (("up", up), ("down", down))
    ):
        yield f"{mode}, {way}, {name}", _resize(scales, mode=mode, coordinate_transformation_mode=way)
    for rounding, way in product(
        ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil"), ("half_pixel", "asymmetric")
    ):
        attributes = {"mode": "nearest", "nearest_mode": rounding, "coordinate_transformation_mode": way}
        yield f"nearest, {way}, {rounding}", _resize(down, **attributes)
    for mode in ("nearest", "linear", "cubic"):
        yield f"{mode}, sizes", _resize(sizes=[1, 2, 5, 13], mode=mode)
        yield f"{mode}, to one", _resize(sizes=[1, 2, 1, 1], mode=mode)
        yield (
            f"{mode}, to one, pytorch",
            _resize(sizes=[1, 2, 1, 1], mode=mode, coordinate_transformation_mode="pytorch_half_pixel"),
        )
        yield f"{mode}, axes", _resize(sizes=[13, 5], mode=mode, axes=[3, 2])
        yield f"{mode}, axes and scales", _resize([2.0, 0.6], mode=mode, axes=[3, 2])
        for policy in ("stretch", "not_larger", "not_smaller"):
            yield (
                f"{mode}, {policy}",
                _resize(sizes=[14, 12], mode=mode, axes=[2, 3], keep_aspect_ratio_policy=policy),
            )
        yield f"{mode}, antialias", _resize(down, mode=mode, antialias=1)
    first = [const("s", up, np.float32)]
    for mode in ("nearest", "linear"):
        yield f"{mode}, opset 10", lone("Resize", "x s", first, (1, 2, 9, 8), opset=10, mode=mode)
    second = [const("r", [], np.float32), *first]
    yield "cubic, opset 11", lone("Resize", "x r s", second, (1, 2, 9, 8), opset=11, mode="cubic")
    yield "cubic, coefficient", _resize(up, mode="cubic", cubic_coeff_a=-0.5)
    yield "cubic, exclude_outside", _resize(up, mode="cubic", exclude_outside=1)
    yield "linear, exclude_outside, down", _resize(down, mode="linear", exclude_outside=1)
    tf = {"mode": "nearest", "coordinate_transformation_mode": "tf_half_pixel_for_nn"}
    yield (
        "nearest, tf_half_pixel_for_nn",
        lone(
            "Resize",
            "x r s",
            [const("r", [], np.float32), const("s", up, np.float32)],
            (1, 2, 9, 8),
            opset=11,
            **tf,
        ),
    )
    crop = {
        "mode": "linear",
        "coordinate_transformation_mode": "tf_crop_and_resize",
        "extrapolation_value": 7.0,
    }
    roi = const("r", [0, 0, 0.2, 0.3, 1, 1, 0.8, 1.4], np.float32)
    yield (
        "linear, a part",
        lone("Resize", "x r s", [roi, const("s", up, np.float32)], (1, 2, 9, 8), opset=18, **crop),
    )
    for mode in ("nearest", "linear"):
        yield (
            f"Upsample, {mode}",
            lone("Upsample", "x s", [const("s", up, np.float32)], (1, 2, 9, 8), opset=9, mode=mode),
        )


def _resize(scales=None, *, sizes=None, opset=19, **attributes):
    if sizes is not None:
        return lone("Resize", "x - - s", [const("s", sizes)], (1, 2, 9, 8), opset=opset, **attributes)
    return lone("Resize", "x - s", [const("s", scales, np.float32)], (1, 2, 9, 8), opset=opset, **attributes)


def looped():
    """Loops: limits by count, by truth and by both, what they collect, what their bodies read."""
    limits = {
        "a count": ("trips -", False), "a count of 0": ("none -", False), "a truth": ("- yes", True),
        "a truth that is false": ("- no", True), "both": ("trips yes", True),
        "both, the count first": ("few yes", True), "both, false": ("trips no", True),
        "both, and the truth stays": ("trips yes", False),
        "the largest count": ("most -", False), "the largest count and a truth": ("most yes", True),
    }  # fmt: skip
    for (name, (limit, stops)), scans in product(limits.items(), (False, True)):
        if name != "the largest count":
            yield f"{name}, {'collected' if scans else 'last'}", _loop(limit, stops, scans)
    yield "a count that is an input", _loop("n -", False, True, inputs=[value("n", (), INT64)])
    yield (
        "a count that is an input of one element",
        _loop("n -", False, True, inputs=[value("n", (1,), INT64)]),
    )
    yield "a truth that is an input", _loop("- c", True, False, inputs=[value("c", (), BOOL)])
    yield "a count and a truth that is an input", _loop("trips c", True, True, inputs=[value("c", (), BOOL)])
    yield "the round's number", _loop("trips -", False, True, counts=True)
    yield "the round's number under a truth", _loop("- yes", True, False, counts=True)
    yield "the last truth is read", _loop("trips yes", True, False, reads_truth=True)
    yield "what a round makes is its state before", _loop("trips -", False, True, collects="s")
    yield "a constant is collected", _loop("trips -", False, True, collects="one")
    yield "a tensor from outside is collected", _loop("trips -", False, True, collects="x")
    yield "states change places", _swap()
    yield "a loop in a loop", _nested()
    for name, attributes in {
        "forward": {}, "input backwards": {"scan_input_directions": [1]},
        "output backwards": {"scan_output_directions": [1]},
        "along axis 1": {"scan_input_axes": [1]}, "output along axis 1": {"scan_output_axes": [1]},
        "output along the last axis": {"scan_output_axes": [-1]},
        "all of it": {"scan_input_axes": [1], "scan_input_directions": [1], "scan_output_axes": [1],
                      "scan_output_directions": [1]},
    }.items():  # fmt: skip
        yield f"Scan, {name}", _scan(**attributes)


def _constants():
    return [
        const("one", [1.0, 1.0, 1.0], np.float32), const("limit", 12.0, np.float32), const("trips", 6), const("few", 2),
        const("none", 0), const("most", 2**63 - 1), const("yes", True, np.bool_), const("no", False, np.bool_),
    ]  # fmt: skip


def _loop(limit, stops, scans, *, inputs=(), counts=False, reads_truth=False, collects="next"):
    """s = |s| + 1, until its sum is 12 or more when it stops by truth."""
    nodes = [node("Abs", "s", "pos"), node("Add", "pos one", "grown")]
    if counts:
        nodes += [node("Cast", "i", "j", to=FLOAT), node("Add", "grown j", "next")]
    elif reads_truth:
        nodes += [node("Cast", "go", "j", to=FLOAT), node("Add", "grown j", "next")]
    else:
        nodes.append(node("Identity", "grown", "next"))
    if stops:
        nodes += [node("ReduceSum", "next", "sum", keepdims=0), node("Less", "sum limit", "on")]
    else:
        nodes.append(node("Identity", "yes", "on"))
    outputs = [value("on", [], BOOL), value("next", (3,))]
    if scans:
        nodes.append(node("Identity", collects, "seen"))
        outputs.append(value("seen", (3,)))
    carried = [value("i", [], INT64), value("go", [], BOOL), value("s", (3,))]
    body = helper.make_graph(nodes, "body", carried, outputs)
    made = node("Loop", f"{limit} x", "last all" if scans else "last", body=body)
    results = [value("last", (3,)), *([value("all", ("l", 3))] if scans else [])]
    return model([made], [value("x", (3,)), *inputs], results, _constants())


def _swap():
    """Two states that change places each round."""
    nodes = [node("Identity", "yes", "on"), node("Add", "b one", "c"), node("Identity", "a", "d")]
    carried = [value("i", [], INT64), value("go", [], BOOL), value("a", (3,)), value("b", (3,))]
    outputs = [value("on", [], BOOL), value("c", (3,)), value("d", (3,))]
    made = node("Loop", "trips - x z", "p q", body=helper.make_graph(nodes, "body", carried, outputs))
    inputs = [value("x", (3,)), value("z", (3,))]
    return model([made], inputs, [value("p", (3,)), value("q", (3,))], _constants())


def _nested():
    """A loop of six rounds, each a loop of two."""
    inner = helper.make_graph(
        [node("Identity", "yes", "on2"), node("Add", "t s", "u")],
        "inner", [value("i2", [], INT64), value("go2", [], BOOL), value("t", (3,))],
        [value("on2", [], BOOL), value("u", (3,))],
    )  # fmt: skip
    nodes = [
        node("Identity", "yes", "on"), node("Loop", "few - one", "r", body=inner), node("Mul", "r half", "next"),
        node("Identity", "next", "seen"),
    ]  # fmt: skip
    carried = [value("i", [], INT64), value("go", [], BOOL), value("s", (3,))]
    outputs = [value("on", [], BOOL), value("next", (3,)), value("seen", (3,))]
    made = node("Loop", "trips - x", "last all", body=helper.make_graph(nodes, "body", carried, outputs))
    constants = [*_constants(), const("half", 0.5, np.float32)]
    return model([made], [value("x", (3,))], [value("last", (3,)), value("all", ("l", 3))], constants)


def _scan(**attributes):
    """s = s + e, over the rows or columns of x; s and twice s are collected."""
    body = helper.make_graph(
        [node("Add", "s e", "t"), node("Add", "t t", "u")],
        "body", [value("s", (3,)), value("e", (3,))], [value("t", (3,)), value("u", (3,))],
    )  # fmt: skip
    made = node("Scan", "z x", "last all", body=body, num_scan_inputs=1, **attributes)
    return model(
        [made], [value("z", (3,)), value("x", (3, 3))], [value("last", (3,)), value("all", (3, 3))], ()
    )


KINDS = {
    "quantized": quantized, "transposed": transposed, "convolved": convolved, "pooled": pooled, "reduced": reduced,
    "recurrent": recurrent, "resized": resized, "looped": looped,
}  # fmt: skip


def models(kind):
    """The models of a kind by name."""
    return dict(KINDS[kind]())


def plainer(made):
    """A model that says the same in words that ONNX Runtime understands; None where it understands this one."""
    first = made.graph.node[0]
    ways = {one.name: helper.get_attribute_value(one) for one in first.attribute}
    rule = ways.get("auto_pad", b"NOTSET").decode()
    if first.op_type == "Conv" and rule.startswith("SAME") and "dilations" in ways:
        return _padded(made, ways, rule)
    return _turned(made) if ways.get("layout") else None


def _padded(made, ways, rule):
    """A convolution whose padding is written out, as ONNX defines it."""
    sizes = [dim.dim_value for dim in made.graph.input[0].type.tensor_type.shape.dim][2:]
    kernel = made.graph.initializer[0].dims[2:]
    strides, dilations = ways.get("strides", [1] * len(sizes)), ways["dilations"]
    totals = [
        max((-(-size // stride) - 1) * stride + (taps - 1) * dilation + 1 - size, 0)
        for size, taps, stride, dilation in zip(sizes, kernel, strides, dilations, strict=True)
    ]
    less, more = [total // 2 for total in totals], [total - total // 2 for total in totals]
    pads = [*less, *more] if rule == "SAME_UPPER" else [*more, *less]
    conv = node("Conv", "x w", "y", strides=strides, dilations=dilations, pads=pads)
    return model([conv], list(made.graph.input), list(made.graph.output), list(made.graph.initializer))


def _turned(made):
    """A recurrent operator in layout 0 between transpositions."""
    old = made.graph.node[0]
    ways = {one.name: helper.get_attribute_value(one) for one in old.attribute if one.name != "layout"}
    reads = " ".join(["t", *(name or "-" for name in old.input[1:])])
    outputs = list(old.output)
    nodes = [
        node("Transpose", "x", "t", perm=[1, 0, 2]),
        node(old.op_type, reads, " ".join(f"{name}0" for name in outputs), **ways),
        node("Transpose", f"{outputs[0]}0", outputs[0], perm=[2, 0, 1, 3]),
        *(node("Transpose", f"{name}0", name, perm=[1, 0, 2]) for name in outputs[1:]),
    ]
    return model(nodes, list(made.graph.input), list(made.graph.output), list(made.graph.initializer), 14)
