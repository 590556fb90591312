"""Operators of ONNX Runtime's own are written out: equal to what ONNX Runtime computes, and taken by TensorRT-RTX."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from tests.canonical.onnx_text import canonical, operators
from tests.canonical.rtx_child import refusals
from tests.canonical.runtime_models import (
    ATTENTIONS,
    FORMS,
    HALF,
    MICROSOFT,
    ROTARIES,
    Form,
    attention,
    heads,
    packed,
    rng,
    value,
    w,
)
from trtpipe.canonical.evaluation import Evaluator
from trtpipe.legalization.legalize import legalize
from trtpipe.legalization.rewrites import rewrite_as_imported
from trtpipe.proofs.rtx_operators import operator_refusals
from trtpipe.runners.cpu.exact_products import with_unsigned_weights
from trtpipe.runners.cpu.graphs import RunnableModel

needs_rtx = pytest.mark.skipif(find_spec("tensorrt_rtx") is None, reason="needs TensorRT-RTX")


@pytest.fixture(scope="module")
def evaluator(tmp_path_factory):
    """One for all models of this file: starting it takes longer than what it does."""
    with Evaluator(tmp_path_factory.mktemp("evaluator")) as made:
        yield made


def run(model: onnx.ModelProto, feed: dict[str, np.ndarray]) -> list[np.ndarray]:
    """As the model says: ONNX Runtime's optimizer puts products in eight bits where weights are."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return list(session.run(None, feed))


def compared(model, evaluator, *feeds, atol=2e-5):
    """The canonical form, after it was found to compute the same and to hold standard operators only.

    The model is run as it is meant on processors too on which ONNX Runtime cuts products of eight bits off.
    """
    result, _ = canonical(model, evaluator)
    uncut = with_unsigned_weights(RunnableModel(model, Path(), Path("model.onnx"))).proto
    assert {node.domain for node in result.graph.node} == {""}
    for feed in feeds:
        for ours, theirs in zip(run(result, feed), run(uncut, feed), strict=True):
            assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
            np.testing.assert_allclose(
                ours, theirs, rtol=1e-4, atol=4e-3 if ours.dtype == np.float16 else atol
            )
    read = onnx.ModelProto.FromString(model.SerializeToString())
    rewrite_as_imported(read)
    assert operator_refusals(read.graph.node, "1.7") == [], "check refuses what the import writes out"
    return result


@pytest.mark.parametrize("name", FORMS)
def test_an_operator_is_written_out_as_equal_ones(evaluator, name):
    form = FORMS[name]
    result = compared(form.model(), evaluator, form.feed(n=2, s=4), form.feed(n=3, s=5))
    assert "own" in {node.name for node in result.graph.node} or form.operator == "LayerNormalization"


@pytest.mark.parametrize("name", ATTENTIONS)
def test_attention_is_written_out_with_its_masks(evaluator, name):
    form, sizes = ATTENTIONS[name]
    result = compared(form.model(), evaluator, form.feed(**sizes), form.feed(**{**sizes, "n": 3}))
    assert operators(result).count("Softmax") == 1


@pytest.mark.parametrize("name", ROTARIES)
def test_rotary_positions_are_written_out(evaluator, name):
    form = ROTARIES[name]
    compared(form.model(), evaluator, form.feed(n=2, s=4), form.feed(n=1, s=6))


@pytest.mark.parametrize("zero", ["", "packed", "float"])
@pytest.mark.parametrize(("bits", "depth", "block"), [(4, 64, 32), (4, 40, 16), (2, 64, 32), (8, 40, 16)])
def test_weights_of_a_few_bits_are_unpacked(evaluator, bits, depth, block, zero):
    if bits == 8 and zero == "float":
        pytest.skip("ONNX Runtime has none of it")
    form = packed(bits, depth, block, zero)
    result = compared(form.model(), evaluator, form.feed(n=2), atol=2e-4)
    assert operators(result) == ["MatMul"]


def test_what_stands_in_a_branch_is_written_out_with_the_branch_s_own_constants(evaluator):
    def branch(name, scale):
        nodes = [
            helper.make_node(
                "FusedGemm", ["x", "w"], ["y"], f"{name}/own", domain=MICROSOFT, activation="Relu"
            ),
            helper.make_node("ExpandDims", ["y", "axis"], [name], domain=MICROSOFT),
        ]
        constants = [
            numpy_helper.from_array(scale * w(8, 4), "w"),
            numpy_helper.from_array(np.int32(0), "axis"),
        ]
        return helper.make_graph(nodes, name, [], [value(name, TensorProto.FLOAT, None)], constants)

    node = helper.make_node("If", ["c"], ["z"], then_branch=branch("a", 1), else_branch=branch("b", 9))
    inputs = [value("c", TensorProto.BOOL, []), value("x", TensorProto.FLOAT, [2, 8])]
    graph = helper.make_graph([node], "g", inputs, [value("z", TensorProto.FLOAT, None)])
    imports = [helper.make_opsetid("", 17), helper.make_opsetid(MICROSOFT, 1)]
    model = helper.make_model(graph, opset_imports=imports, ir_version=8)

    x = rng().normal(size=(2, 8)).astype(np.float32)
    compared(model, evaluator, *({"c": np.asarray(truth), "x": x} for truth in (True, False)))


# -- forms that ONNX Runtime has no kernel for on a CPU


def gelu(x):
    from math import erf

    return x * (1 + np.vectorize(erf)(x / np.sqrt(2))) / 2


def by_hand(form, evaluator, **sizes):
    result, _ = canonical(form.model(), evaluator)
    assert {node.domain for node in result.graph.node} == {""}
    feed = form.feed(**sizes)
    return run(result, feed), feed


def test_a_softmax_with_a_bias_before_it(evaluator):
    inputs = {"x": ["n", 4, 5, 5], "b": ["n", 1, 1, 5]}
    form = Form("BiasSoftmax", ["x", "b"], inputs, {}, {"axis": 3, "is_inner_broadcast": 1})
    (made,), feed = by_hand(form, evaluator, n=2)
    powers = np.exp(feed["x"] + feed["b"])
    np.testing.assert_allclose(made, powers / powers.sum(-1, keepdims=True), atol=1e-6)


def test_sums_of_a_bias_and_what_skipped_a_layer(evaluator):
    inputs = {"x": ["n", 4, 8], "s": ["n", 4, 8]}
    for operator in ("BiasAdd", "BiasDropout"):
        (made,), feed = by_hand(Form(operator, ["x", "b", "s"], inputs, {"b": w(8)}), evaluator, n=2)
        np.testing.assert_allclose(made, feed["x"] + w(8) + feed["s"], atol=1e-6)


def test_a_gate_of_the_second_half(evaluator):
    form = Form("BiasSplitGelu", ["x", "b"], {"x": ["n", 4, 8]}, {"b": w(8)})
    (made,), feed = by_hand(form, evaluator, n=2)
    left, right = np.split(feed["x"] + w(8), 2, -1)
    np.testing.assert_allclose(made, left * gelu(right), atol=1e-6)


@pytest.mark.parametrize("silu", [0, 1])
@pytest.mark.parametrize("last", [0, 1])
def test_normalizations_of_groups(evaluator, silu, last):
    dims = ["n", 4, 5, 8] if last else ["n", 8, 4, 5]
    constants = {"g": w(8), "b": w(8, seed=1), "o": w(8, seed=2)}
    given = {"activation": silu, "channels_last": last, "groups": 2, "epsilon": 1e-4}
    read = ["x", "g", "b", "s", "o"] if last else ["x", "g", "b"]
    inputs = {"x": dims, "s": dims} if last else {"x": dims}
    operator, outputs = ("SkipGroupNorm", ("y", "sum")) if last else ("GroupNorm", ("y",))
    made, feed = by_hand(Form(operator, read, inputs, constants, given, outputs), evaluator, n=2)
    total = feed["x"] + feed["s"] + constants["o"] if last else feed["x"]
    first = total.transpose(0, 3, 1, 2) if last else total
    grouped = first.reshape(2, 2, -1)
    normal = (grouped - grouped.mean(-1, keepdims=True)) / np.sqrt(grouped.var(-1, keepdims=True) + 1e-4)
    wanted = normal.reshape(first.shape) * w(8)[:, None, None] + constants["b"][:, None, None]
    wanted = wanted / (1 + np.exp(-wanted)) if silu else wanted
    np.testing.assert_allclose(made[0], wanted.transpose(0, 2, 3, 1) if last else wanted, atol=1e-5)
    assert not last or np.allclose(made[1], total, atol=1e-6)


@pytest.mark.parametrize("operator", ["NhwcConv", "NhwcFusedConv"])
def test_convolutions_whose_channels_come_last(evaluator, operator):
    fused = operator == "NhwcFusedConv"
    given = {"pads": [1] * 4, **({"activation": "Relu"} if fused else {})}
    form = Form(operator, ["x", "w", "b"], {"x": ["n", 6, 6, 3]}, {"w": w(4, 3, 3, 3), "b": w(4)}, given)
    (made,), feed = by_hand(form, evaluator, n=2)
    plain = Form(
        "Conv", form.read, {"x": ["n", 3, 6, 6]}, form.constants, {"pads": [1] * 4}, domain=""
    ).model()
    (wanted,) = run(plain, {"x": feed["x"].transpose(0, 3, 1, 2)})
    np.testing.assert_allclose(
        made, np.maximum(wanted, 0 if fused else -np.inf).transpose(0, 2, 3, 1), atol=1e-5
    )


def test_keys_and_values_that_are_packed_are_taken_apart(evaluator):
    apart = heads(["q", "k", "v"])
    feed = apart.feed(n=2, s=4, t=4)
    (wanted,) = run(apart.model(), feed)
    split = [feed[name].reshape(2, 4, 2, 4) for name in "qkv"]
    together = Form("MultiHeadAttention", ["q"], {"q": ["n", "s", 2, 3, 4]}, {}, {"num_heads": 2})
    pairs = Form(
        "MultiHeadAttention", ["q", "k"], {"q": ["n", "s", 8], "k": ["n", "t", 2, 2, 4]}, {}, {"num_heads": 2}
    )
    for form, given in (
        (together, {"q": np.stack(split, 3)}),
        (pairs, {"q": feed["q"], "k": np.stack(split[1:], 3)}),
    ):
        result, _ = canonical(form.model(), evaluator)
        np.testing.assert_allclose(run(result, given)[0], wanted, atol=1e-6)


# -- dynamic quantization


def whole(dtype, *shape):
    ends = np.iinfo(dtype)
    return rng(5).integers(ends.min, ends.max + 1, shape).astype(dtype)


def dynamic(operator, dtype, zero, *, moved=False):
    """A product of what DynamicQuantizeLinear makes with weights in eight bits, in float at the end."""
    convolves = operator == "ConvInteger"
    constants = {
        "w": whole(dtype, *((6, 3, 3, 3) if convolves else (8, 6))),
        "ws": np.float32(0.02),
        "b": w(6),
    }
    zeros = {"none": None, "scalar": whole(dtype), "column": whole(dtype, 6)}[zero]
    if zeros is not None:
        constants["wz"] = zeros
    point = "wz" if zeros is not None else ""
    inputs = {"x": ["n", 3, 8, 8] if convolves else ["n", 4, 8]}
    if operator == "DynamicQuantizeMatMul":
        return Form(operator, ["x", "w", "ws", point, "b"], inputs, constants).model()
    quantize = helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"], "quantize")
    if operator == "MatMulIntegerToFloat":
        read = ["q", "w", "s", "ws", "z", point, "b"]
        return Form(operator, read, inputs, constants, before=[quantize]).model()
    read = ["m" if moved else "q", "w", "z", point]
    given = {"pads": [1] * 4} if convolves else {}
    nodes = [quantize]
    if moved:
        nodes += [
            helper.make_node("Transpose", ["q"], ["t"], "turn", perm=[0, 2, 1]),
            helper.make_node("Transpose", ["t"], ["m"], "back", perm=[0, 2, 1]),
        ]
    nodes += [helper.make_node(operator, read, ["i"], "product", **given)]
    nodes += [helper.make_node("Cast", ["i"], ["f"], "float", to=TensorProto.FLOAT)]
    nodes += [helper.make_node("Mul", ["s", "ws"], ["both"], "scales")]
    return Form("Mul", ["f", "both"], inputs, constants, domain="", before=nodes).model()


@pytest.mark.parametrize("zero", ["none", "scalar", "column"])
@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
@pytest.mark.parametrize(
    "operator", ["MatMulInteger", "ConvInteger", "DynamicQuantizeMatMul", "MatMulIntegerToFloat"]
)
def test_dynamic_quantization_is_rounded_in_floats_as_onnx_runtime_rounds(evaluator, operator, dtype, zero):
    if operator == "ConvInteger" and zero == "column":
        pytest.skip("ONNX Runtime has none of it")
    model = dynamic(operator, dtype, zero)
    shape = (3, 8, 8) if operator == "ConvInteger" else (4, 8)
    feeds = [{"x": rng(n).normal(1, 2, (n, *shape)).astype(np.float32)} for n in (1, 2)]
    result = compared(model, evaluator, *feeds, atol=1e-4)
    assert not {"uint8", "int32"} & {
        str(numpy_helper.to_array(one).dtype) for one in result.graph.initializer
    }


def test_zero_points_of_a_convolutions_channels_that_are_computed_are_each_channels_own(evaluator):
    """ONNX Runtime takes one zero point of weights alone, so that ONNX's own evaluator says what is right."""
    inputs = [("x", [1, 2, 4, 4]), ("w", [3, 2, 3, 3]), ("p", [3])]
    given = [helper.make_tensor_value_info(name, TensorProto.UINT8, shape) for name, shape in inputs]
    made = [helper.make_tensor_value_info("y", TensorProto.INT32, [1, 3, 4, 4])]
    node = helper.make_node("ConvInteger", ["x", "w", "", "p"], ["y"], "product", pads=[1] * 4)
    opsets = [helper.make_opsetid("", 13)]
    source = helper.make_model(
        helper.make_graph([node], "g", given, made), opset_imports=opsets, ir_version=8
    )
    feeds = {"x": whole(np.uint8, 1, 2, 4, 4), "w": whole(np.uint8, 3, 2, 3, 3), "p": np.uint8([1, 128, 255])}
    (wanted,) = ReferenceEvaluator(source).run(None, feeds)

    legalize(source, evaluator)

    assert "ConvInteger" not in {node.op_type for node in source.graph.node}
    np.testing.assert_array_equal(ReferenceEvaluator(source).run(None, feeds)[0], wanted)


def test_what_is_quantized_dynamically_may_be_moved_before_the_product(evaluator):
    result = compared(
        dynamic("MatMulInteger", np.int8, "scalar", moved=True), evaluator, {"x": 3 * w(2, 4, 8)}, atol=1e-4
    )
    assert TensorProto.UINT8 not in {
        attribute.i for node in result.graph.node if node.op_type == "Cast" for attribute in node.attribute
    }


@pytest.mark.parametrize("operator", ["MatMulInteger", "ConvInteger"])
def test_a_model_of_an_older_opset_keeps_no_eight_bits_between_its_nodes(evaluator, operator):
    model = dynamic(operator, np.int8, "scalar")
    next(one for one in model.opset_import if not one.domain).version = 12
    shape = (3, 8, 8) if operator == "ConvInteger" else (4, 8)

    result = compared(model, evaluator, {"x": rng(1).normal(1, 2, (2, *shape)).astype(np.float32)}, atol=1e-4)

    assert TensorProto.UINT8 not in {
        attribute.i for node in result.graph.node if node.op_type == "Cast" for attribute in node.attribute
    }


@pytest.mark.parametrize("x", [np.zeros((2, 4)), np.full((2, 4), 5.0), np.full((2, 4), -5.0), w(2, 4)])
def test_the_range_of_dynamic_quantization_has_zero_in_it(evaluator, x):
    before = [helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"])]
    form = Form("DequantizeLinear", ["q", "s", "z"], {"x": ["n", 4]}, domain="", before=before)
    compared(form.model(), evaluator, {"x": x.astype(np.float32)}, atol=1e-6)


# -- quantized tensors that are moved


@pytest.mark.parametrize("zero", [np.uint8(0), np.uint8(128), np.int8(7), np.int8(0)])
def test_what_moves_a_quantized_tensor_stands_between_dequantization_and_quantization(evaluator, zero):
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"], "quantize"),
        helper.make_node("Sigmoid", ["x"], ["unused"], "sigmoid"),
        helper.make_node("QLinearSigmoid", ["q", "s", "z", "s", "z"], ["t"], "bent", domain=MICROSOFT),
        helper.make_node("MaxPool", ["t"], ["p"], "pool", kernel_shape=[2, 2]),
        helper.make_node("Reshape", ["p", "shape"], ["r"], "reshape"),
    ]
    constants = {"s": np.float32(0.05), "z": zero, "shape": np.int64([0, -1])}
    form = Form(
        "DequantizeLinear", ["r", "s", "z"], {"x": ["n", 3, 5, 5]}, constants, domain="", before=nodes
    )
    result = compared(form.model(), evaluator, form.feed(n=2), atol=0.051)
    assert operators(result).count("MaxPool") == operators(result).count("Reshape") == 1
    assert TensorProto.UINT8 not in {
        attribute.i for node in result.graph.node if node.op_type == "Cast" for attribute in node.attribute
    }


# -- what is left


@pytest.mark.parametrize(
    ("operator", "domain", "told", "remedy"),
    [
        ("Inverse", MICROSOFT, "it is ONNX Runtime's own", "transform.outputs"),
        ("Gelu", MICROSOFT, "", ""),
        ("Conv", "com.microsoft.nchwc", "in the layout of the processor", "ORT_ENABLE_EXTENDED"),
    ],
)
def test_what_is_not_written_out_is_told_by_name(operator, domain, told, remedy):
    node = helper.make_node(operator, ["x"], ["y"], "left", domain=domain)
    graph = helper.make_graph(
        [node], "g", [value("x", TensorProto.FLOAT, ["n", 4, 4])], [value("y", TensorProto.FLOAT, None)]
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid(domain, 1)]
    )
    rewrite_as_imported(model)
    found = operator_refusals(model.graph.node, "1.7")
    assert len(found) == bool(told)
    for problem in found:
        assert told in problem.fact and "'left'" in problem.fact and remedy in problem.remedy


def test_an_operator_whose_types_are_not_known_is_left_and_told():
    nodes = [
        helper.make_node("Strange", ["x"], ["s"], "odd", domain="d"),
        helper.make_node("FastGelu", ["s"], ["y"], "own", domain=MICROSOFT),
    ]
    graph = helper.make_graph(
        nodes, "g", [value("x", TensorProto.FLOAT, [4])], [value("y", TensorProto.FLOAT, None)]
    )
    graph.output[0].type.tensor_type.ClearField("elem_type")
    imports = [helper.make_opsetid(one, 17 if not one else 1) for one in ("", "d", MICROSOFT)]
    model = helper.make_model(graph, opset_imports=imports)
    rewrite_as_imported(model)
    assert [node.op_type for node in model.graph.node] == ["Strange", "FastGelu"]
    assert any("types are not known" in one.fact for one in operator_refusals(model.graph.node, "1.7"))


# -- TensorRT-RTX


BUILT = {
    "FORMS SkipLayerNormalization, opset 13", "FORMS NhwcMaxPool", "FORMS FusedConv, HardSigmoid",
    "ATTENTIONS causal, keys", "INTEGERS ConvInteger",
}  # fmt: skip
"""Those that are built here; the others are only parsed, for time's sake."""


def everything():
    """Every model of this file that ONNX Runtime runs."""
    return {
        **{f"FORMS {name}": form.model() for name, form in FORMS.items()},
        **{f"ATTENTIONS {name}": form.model() for name, (form, _) in ATTENTIONS.items()},
        **{f"ROTARIES {name}": form.model() for name, form in ROTARIES.items()},
        **{f"WEIGHTS {bits}": packed(bits, 64, 32, "packed").model() for bits in (2, 4, 8)},
        **{
            f"INTEGERS {name}": dynamic(name, np.uint8, "scalar")
            for name in ("MatMulInteger", "ConvInteger", "DynamicQuantizeMatMul", "MatMulIntegerToFloat")
        },
    }


@needs_rtx
@pytest.mark.engine
def test_tensorrt_takes_what_is_written_out(tmp_path, evaluator):
    models = {name: canonical(model, evaluator)[0] for name, model in everything().items()}
    assert set(models) >= BUILT
    assert refusals(models, tmp_path, BUILT) == {}


@needs_rtx
@pytest.mark.engine
@pytest.mark.slow
def test_tensorrt_builds_all_that_is_written_out(tmp_path, evaluator):
    models = {name: canonical(model, evaluator)[0] for name, model in everything().items()}
    together = {
        "ATTENTIONS past, causal, keys"
    }  # its mask is as long as past and positions: not a size for all
    assert refusals(models, tmp_path, set(models) - together) == {}


def test_halves_stay_halves(evaluator):
    form = attention()
    form.types = {**form.types, "x": HALF, "y": HALF}
    form.constants = {name: held.astype(np.float16) for name, held in form.constants.items()}
    result, _ = canonical(form.model(), evaluator)
    kinds = {one.data_type for one in result.graph.initializer}
    assert TensorProto.FLOAT not in kinds and TensorProto.FLOAT16 in kinds
