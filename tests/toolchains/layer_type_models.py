"""Small ONNX models that between them make TensorRT's parser use each kind of layer that it can make.

`MODELS` maps a name to the model and to the layer types that it is there for; `NOT_REACHED` says what was tried for the
others. Names of nodes are unique within a model.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FLOAT, HALF, INT64, BOOL = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.INT64, TensorProto.BOOL
IMAGE = [1, 4, 8, 8]
rng = np.random.default_rng(3)


@dataclass(frozen=True)
class Reaching:
    """A model and the layer types that it is there for."""

    model: onnx.ModelProto
    types: tuple[str, ...]


NOT_REACHED = {
    "ASSERTION": "no node test of ONNX becomes one, with static shapes or with all of them dynamic",
    "NON_ZERO": "NonZero wants a plugin that tensorrt_rtx does not have",
    "PADDING": "Pad becomes SLICE in all its modes; no node test becomes one",
    "PLUGIN": "tensorrt_rtx comes without plugins, and loads none",
    "PLUGIN_V2": "likewise",
    "PLUGIN_V3": "likewise",
    "RAGGED_SOFTMAX": "nothing in ONNX or in the domain trt is imported as one",
}
"""Layer types that the parser was not seen to make, and what was tried."""


def weights(name, *shape, dtype=np.float32):
    return numpy_helper.from_array((rng.normal(size=shape) * 0.3).astype(dtype), name)


def const(name, value, dtype=np.int64):
    return numpy_helper.from_array(np.asarray(value, dtype), name)


def value(name, shape, kind=FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def node(op, inputs, outputs, domain="", **attributes):
    return helper.make_node(op, inputs, outputs, name=f"{op}_{outputs[0]}", domain=domain, **attributes)


def model(nodes, inputs, outputs, initializers=(), opset=18, ir=10):
    graph = helper.make_graph(nodes, "net", inputs, outputs, list(initializers))
    domains = {one.domain for one in nodes} - {""}
    imports = [
        helper.make_opsetid("", opset),
        *(helper.make_opsetid(domain, 1) for domain in sorted(domains)),
    ]
    return helper.make_model(graph, opset_imports=imports, ir_version=ir)


def simple(op, shape=IMAGE, *, extra=(), initializers=(), kind=FLOAT, out=FLOAT, domain="", **attributes):
    """One node: `x`, then what else it takes."""
    made = node(op, ["x", *extra], ["y"], domain, **attributes)
    return model([made], [value("x", shape, kind)], [value("y", None, out)], initializers)


def looped(nested=False, early=False):
    """Four rounds of s = s * w + 1 with a scan output; `nested` has an If in its body."""
    body = [node("Mul", ["s", "w"], ["m"]), node("Add", ["m", "one"], ["grown"])]
    if nested:
        grown = [node("Identity", ["grown"], ["then_out"])]
        shrunk = [node("Neg", ["grown"], ["else_out"])]
        branches = {
            "then_branch": helper.make_graph(grown, "then", [], [value("then_out", [2])]),
            "else_branch": helper.make_graph(shrunk, "else", [], [value("else_out", [2])]),
        }
        body += [
            node("ReduceSum", ["grown"], ["total"], keepdims=0),
            node("Greater", ["total", "zero"], ["positive"]),
            node("If", ["positive"], ["next"], **branches),
        ]
    else:
        body.append(node("Identity", ["grown"], ["next"]))
    body.append(node("Identity", ["next"], ["seen"]))
    body.append(node("Not", ["stop"], ["go"]) if early else node("Identity", ["go_in"], ["go"]))
    if early:
        body.insert(0, node("Less", ["limit", "i"], ["stop"]))
    graph = helper.make_graph(
        body,
        "body",
        [value("i", [], INT64), value("go_in", [], BOOL), value("s", [2])],
        [value("go", [], BOOL), value("next", [2]), value("seen", [2])],
    )
    loop = node("Loop", ["trips", "yes", "x"], ["last", "all"], body=graph)
    constants = [
        const("trips", 4),
        const("yes", True, np.bool_),
        const("w", [0.5, 2], np.float32),
        const("one", [1, 1], np.float32),
        const("zero", 0, np.float32),
        const("limit", 2),
    ]
    return model([loop], [value("x", [2])], [value("last", [2]), value("all", [4, 2])], constants)


def conditional():
    """An if whose branches use the outer graph's tensors."""
    branches = {
        "then_branch": helper.make_graph([node("Mul", ["x", "x"], ["a"])], "then", [], [value("a", [2])]),
        "else_branch": helper.make_graph([node("Neg", ["x"], ["b"])], "else", [], [value("b", [2])]),
    }
    return model(
        [node("If", ["c"], ["y"], **branches)], [value("c", [], BOOL), value("x", [2])], [value("y", [2])]
    )


def nested_ifs():
    """An if in an if."""
    inner = {
        "then_branch": helper.make_graph([node("Mul", ["x", "x"], ["a"])], "then", [], [value("a", [2])]),
        "else_branch": helper.make_graph([node("Neg", ["x"], ["b"])], "else", [], [value("b", [2])]),
    }
    outer = {
        "then_branch": helper.make_graph(
            [node("If", ["d"], ["e"], **inner)], "outer_then", [], [value("e", [2])]
        ),
        "else_branch": helper.make_graph([node("Abs", ["x"], ["f"])], "outer_else", [], [value("f", [2])]),
    }
    inputs = [value("c", [], BOOL), value("d", [], BOOL), value("x", [2])]
    return model([node("If", ["c"], ["y"], **outer)], inputs, [value("y", [2])])


def quantized():
    """x, quantized by tensor, convolved with weights that are dequantized by channel."""
    nodes = [
        node("QuantizeLinear", ["x", "xs", "xz"], ["q"]),
        node("DequantizeLinear", ["q", "xs", "xz"], ["d"]),
        node("DequantizeLinear", ["w8", "ws", "wz"], ["w"], axis=0),
        node("Conv", ["d", "w"], ["y"]),
    ]
    codes = numpy_helper.from_array(rng.integers(-127, 128, (6, 4, 3, 3)).astype(np.int8), "w8")
    constants = [
        const("xs", 0.05, np.float32),
        const("xz", 0, np.int8),
        codes,
        const("ws", [0.1, 0.2, 0.3, 0.4, 0.5, 0.6], np.float32),
        const("wz", [0] * 6, np.int8),
    ]
    return model(nodes, [value("x", IMAGE)], [value("y", None)], constants)


def dynamically_quantized():
    """x in blocks of 16: FP4 with scales in FP8, scaled twice."""
    nodes = [
        node(
            "TRT_FP4DynamicQuantize", ["x", "scale"], ["q", "s"], "trt", axis=-1, block_size=16, scale_type=17
        ),
        node("DequantizeLinear", ["s", "scale"], ["scales"]),
        node("DequantizeLinear", ["q", "scales"], ["y"], axis=-1, block_size=16),
    ]
    return model(nodes, [value("x", [4, 32])], [value("y", [4, 32])], [const("scale", 0.1, np.float32)], 23)


def of_type(kind, raw, count, *, scale=True):
    """A constant of a type that NumPy lacks, dequantized or cast so that it reaches an output."""
    tensor = helper.make_tensor("c", kind, [count], raw, raw=True)
    if scale:
        last = node("DequantizeLinear", ["c", "scale"], ["w"])
        more = [const("scale", 0.5, np.float32)]
    else:
        last, more = node("Cast", ["c"], ["w"], to=FLOAT), []
    add = node("Add", ["x", "w"], ["y"])
    return model([last, add], [value("x", [count])], [value("y", [count])], [tensor, *more], 23)


def recurrent(op, gates):
    """A recurrent layer over a sequence of fixed length."""
    made = node(op, ["x", "w", "r"], ["", "y"], hidden_size=3)
    made.name = op
    constants = [weights("w", 1, gates * 3, 4), weights("r", 1, gates * 3, 3)]
    return model([made], [value("x", [5, 1, 4])], [value("y", None)], constants)


def attention():
    tensors = [value(name, [1, 2, 4, 8], HALF) for name in "qkv"]
    return model(
        [node("Attention", ["q", "k", "v"], ["y"], is_causal=1)], tensors, [value("y", None, HALF)], (), 23
    )


def rotary():
    inputs = [value("x", [1, 2, 4, 8]), value("ids", [1, 4], INT64)]
    caches = [weights("cos", 16, 4), weights("sin", 16, 4)]
    return model(
        [node("RotaryEmbedding", ["x", "cos", "sin", "ids"], ["y"])], inputs, [value("y", None)], caches, 23
    )


def boxes():
    inputs = [value("b", [1, 20, 4]), value("s", [1, 2, 20])]
    limits = [const("n", [5]), const("iou", [0.5], np.float32), const("low", [0.1], np.float32)]
    return model(
        [node("NonMaxSuppression", ["b", "s", "n", "iou", "low"], ["y"])],
        inputs,
        [value("y", None, INT64)],
        limits,
    )


def sampled():
    inputs = [value("x", IMAGE), value("g", [1, 5, 5, 2])]
    return model(
        [node("GridSample", ["x", "g"], ["y"], mode="bilinear", padding_mode="border")],
        inputs,
        [value("y", None)],
        (),
        20,
    )


def cache_update():
    inputs = [value("past", [1, 2, 16, 8], HALF), value("new", [1, 2, 1, 8], HALF), value("at", [1], INT64)]
    return model(
        [node("TensorScatter", ["past", "new", "at"], ["y"], axis=-2)],
        inputs,
        [value("y", [1, 2, 16, 8], HALF)],
        (),
        24,
    )


def experts():
    inputs = [
        value("x", [1, 4, 32], HALF),
        value("ids", [1, 4, 2], TensorProto.INT32),
        value("router", [1, 4, 2], HALF),
    ]
    made = node("TRT_MoE", ["x", "ids", "router", "up", "gate", "down"], ["y"], "trt", activation_type="silu")
    experts = [weights("up", 4, 32, 64, dtype=np.float16), weights("gate", 4, 32, 64, dtype=np.float16)]
    return model(
        [made], inputs, [value("y", None, HALF)], [*experts, weights("down", 4, 64, 32, dtype=np.float16)]
    )


def top():
    outputs = [value("y", None), value("i", None, INT64)]
    made = node("TopK", ["x", "k"], ["y", "i"], largest=0, axis=0)
    return model([made], [value("x", [9, 3])], outputs, [const("k", [4])])


def gathered():
    inputs = [value("x", [2, 3, 4]), value("i", [2, 1], INT64)]
    return model([node("GatherND", ["x", "i"], ["y"], batch_dims=1)], inputs, [value("y", None)])


def dynamic_slice():
    """A slice whose starts and ends are inputs, and a shape."""
    nodes = [
        node("Slice", ["x", "b", "e"], ["s"]),
        node("Shape", ["x"], ["shape"]),
        node("Reshape", ["s", "to"], ["y"]),
        node("Identity", ["shape"], ["z"]),
    ]
    inputs = [value("x", ["n", 4]), value("b", [2], INT64), value("e", [2], INT64)]
    return model(nodes, inputs, [value("y", None), value("z", None, INT64)], [const("to", [-1])])


MODELS = {
    "activation": Reaching(simple("HardSigmoid", alpha=0.3, beta=0.4), ("ACTIVATION",)),
    "attention": Reaching(attention(), ("ATTENTION_INPUT", "ATTENTION_OUTPUT")),
    "dynamic_slice": Reaching(dynamic_slice(), ("SLICE", "SHAPE")),
    "cast": Reaching(simple("Cast", to=HALF, out=HALF), ("CAST",)),
    "concat": Reaching(simple("Concat", extra=["x"], axis=2), ("CONCATENATION",)),
    "conditional": Reaching(conditional(), ("CONDITION", "CONDITIONAL_INPUT", "CONDITIONAL_OUTPUT")),
    "nested_ifs": Reaching(nested_ifs(), ("CONDITION",)),
    "convolution": Reaching(
        simple(
            "Conv",
            extra=["w", "b"],
            initializers=[weights("w", 6, 2, 3, 3), weights("b", 6)],
            group=2,
            pads=[1, 0, 2, 1],
            strides=[2, 1],
            dilations=[1, 2],
        ),
        ("CONVOLUTION",),
    ),
    "cumulative": Reaching(
        simple("CumSum", extra=["a"], initializers=[const("a", 1)], exclusive=1), ("CUMULATIVE",)
    ),
    "deconvolution": Reaching(
        simple(
            "ConvTranspose",
            extra=["w"],
            initializers=[weights("w", 4, 3, 3, 3)],
            strides=[2, 2],
            output_padding=[1, 1],
        ),
        ("DECONVOLUTION",),
    ),
    "dist": Reaching(
        simple(
            "DistCollective",
            domain="trt",
            collective_operation="all_reduce",
            reduce_op="sum",
            root=-1,
            group_size=0,
        ),
        ("DIST_COLLECTIVE",),
    ),
    "dynamic_quantize": Reaching(dynamically_quantized(), ("DYNAMIC_QUANTIZE",)),
    "einsum": Reaching(
        simple("Einsum", [2, 3], extra=["w"], initializers=[weights("w", 3, 4)], equation="ij,jk->ki"),
        ("EINSUM",),
    ),
    "elementwise": Reaching(simple("Pow", extra=["x"]), ("ELEMENTWISE",)),
    "fill": Reaching(simple("RandomUniformLike", low=-1.0, high=2.0), ("FILL",)),
    "gather": Reaching(gathered(), ("GATHER",)),
    "grid_sample": Reaching(sampled(), ("GRID_SAMPLE",)),
    "identity": Reaching(simple("Identity"), ("IDENTITY",)),
    "kv_cache": Reaching(cache_update(), ("KV_CACHE_UPDATE",)),
    "loop": Reaching(looped(), ("LOOP_OUTPUT", "RECURRENCE", "TRIP_LIMIT", "CONSTANT")),
    "loop_early": Reaching(looped(early=True), ("LOOP_OUTPUT", "RECURRENCE", "TRIP_LIMIT")),
    "loop_nested": Reaching(looped(nested=True), ("LOOP_OUTPUT", "CONDITION")),
    "lrn": Reaching(simple("LRN", size=3, alpha=0.01, beta=0.7, bias=1.5), ("LRN",)),
    "lstm": Reaching(recurrent("LSTM", 4), ("ITERATOR", "RECURRENCE")),
    "gru": Reaching(recurrent("GRU", 3), ("ITERATOR", "RECURRENCE")),
    "matmul": Reaching(
        simple("Gemm", [2, 3], extra=["w"], initializers=[weights("w", 4, 3)], transB=1), ("MATRIX_MULTIPLY",)
    ),
    "moe": Reaching(experts(), ("MOE",)),
    "nms": Reaching(boxes(), ("NMS",)),
    "normalization": Reaching(
        simple(
            "GroupNormalization",
            extra=["s", "b"],
            initializers=[weights("s", 2), weights("b", 2)],
            num_groups=2,
            epsilon=1e-3,
        ),
        ("NORMALIZATION",),
    ),
    "one_hot": Reaching(
        simple(
            "OneHot",
            [3],
            extra=["d", "v"],
            kind=INT64,
            initializers=[const("d", 5), const("v", [0.5, 2], np.float32)],
            axis=0,
        ),
        ("ONE_HOT",),
    ),
    "pad": Reaching(
        simple("Pad", extra=["p"], initializers=[const("p", [0, 0, 1, 2, 0, 0, 3, 4])], mode="reflect"),
        ("SLICE",),
    ),
    "parametric_relu": Reaching(
        simple("PRelu", extra=["s"], initializers=[weights("s", 4, 1, 1)]), ("PARAMETRIC_RELU",)
    ),
    "pooling": Reaching(
        simple("AveragePool", kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1, ceil_mode=1),
        ("POOLING",),
    ),
    "quantized": Reaching(quantized(), ("QUANTIZE", "DEQUANTIZE")),
    "reduce": Reaching(
        simple("ReduceMax", extra=["a"], initializers=[const("a", [1, 3])], keepdims=0), ("REDUCE",)
    ),
    "resize": Reaching(
        simple(
            "Resize",
            extra=["", "s"],
            initializers=[const("s", [1, 1, 1.5, 2], np.float32)],
            mode="cubic",
            cubic_coeff_a=-0.5,
        ),
        ("RESIZE",),
    ),
    "reverse_sequence": Reaching(
        simple(
            "ReverseSequence",
            [4, 2, 3],
            extra=["n"],
            initializers=[const("n", [4, 2])],
            time_axis=0,
            batch_axis=1,
        ),
        ("REVERSE_SEQUENCE",),
    ),
    "rotary": Reaching(rotary(), ("ROTARY_EMBEDDING",)),
    "scale": Reaching(
        simple(
            "BatchNormalization",
            extra=["s", "b", "m", "v"],
            initializers=[
                weights("s", 4),
                weights("b", 4),
                weights("m", 4),
                const("v", [1, 2, 3, 4], np.float32),
            ],
        ),
        ("SCALE",),
    ),
    "scatter": Reaching(
        simple(
            "ScatterElements",
            [3, 3],
            extra=["i", "u"],
            initializers=[const("i", [[2, 0, 1]]), weights("u", 1, 3)],
            axis=1,
        ),
        ("SCATTER",),
    ),
    "select": Reaching(
        simple("Where", [2], extra=["a", "b"], kind=BOOL, initializers=[weights("a", 2), weights("b", 2)]),
        ("SELECT",),
    ),
    "shuffle": Reaching(simple("Transpose", perm=[0, 2, 3, 1]), ("SHUFFLE",)),
    "softmax": Reaching(simple("Softmax", axis=1), ("SOFTMAX",)),
    "squeeze": Reaching(
        simple("Squeeze", [1, 3, 1], extra=["a"], initializers=[const("a", [2])]), ("SQUEEZE",)
    ),
    "topk": Reaching(top(), ("TOPK",)),
    "unary": Reaching(simple("Erf"), ("UNARY",)),
    "unsqueeze": Reaching(
        simple("Unsqueeze", [3], extra=["a"], initializers=[const("a", [0])]), ("UNSQUEEZE",)
    ),
    "bfloat16": Reaching(of_type(TensorProto.BFLOAT16, bytes(range(60, 70)), 5, scale=False), ("CONSTANT",)),
    "fp8": Reaching(of_type(TensorProto.FLOAT8E4M3FN, bytes(range(7)), 7), ("CONSTANT",)),
    "int4": Reaching(of_type(TensorProto.INT4, bytes([0x10, 0x32, 0x54, 0x76]), 8), ("CONSTANT",)),
    "int4_odd": Reaching(of_type(TensorProto.INT4, bytes([0x10, 0x32, 0x54, 0x06]), 7), ("CONSTANT",)),
    "fp4": Reaching(of_type(TensorProto.FLOAT4E2M1, bytes([0x10, 0x32, 0x54, 0x76]), 8), ("CONSTANT",)),
}
