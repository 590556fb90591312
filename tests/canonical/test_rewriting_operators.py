"""Operators that TensorRT lacks, written as others: equal to ONNX Runtime's own, and nothing else is touched."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.canonical.onnx_text import canonical, operators, parse, run
from trtpipe.canonical.checks import check_model
from trtpipe.legalization.rewrites import rewrite_as_imported
from trtpipe.runners.cpu.exact_products import with_unsigned_weights
from trtpipe.runners.cpu.graphs import RunnableModel

MICROSOFT = "com.microsoft"
STEP = 0.05
"""The scale of every result."""


def made(nodes, inputs, outputs, constants, opset=13):
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, dims) for name, dims in inputs.items()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, dims) for name, dims in outputs.items()],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    imports = [helper.make_opsetid("", opset), helper.make_opsetid(MICROSOFT, 1)]
    return helper.make_model(graph, opset_imports=imports, ir_version=8)


def rng():
    return np.random.default_rng(7)


# -- int32 behind DequantizeLinear


@pytest.mark.parametrize("per_channel", [True, False], ids=["per channel", "per tensor"])
@pytest.mark.parametrize("with_zero", [True, False], ids=["zero point", "no zero point"])
def test_int32_biases_become_float_constants_bit_for_bit(tmp_path, per_channel, with_zero):
    shape = (8,) if per_channel else ()
    bias = rng().integers(-(2**30), 2**30, 8).astype(np.int32)
    scale = rng().uniform(1e-6, 1e-3, shape).astype(np.float32)
    constants = {"b": bias, "s": scale, "z": np.zeros(shape, np.int32)}
    dequantize = helper.make_node("DequantizeLinear", ["b", "s", "z"][: 2 + with_zero], ["f"], "dq", axis=0)
    add = helper.make_node("Add", ["x", "f"], ["y"], "add")
    model = made([dequantize, add], {"x": [2, 8]}, {"y": [2, 8]}, constants)

    result, _ = canonical(model, tmp_path)

    assert operators(result) == ["Add"]
    (folded,) = result.graph.initializer
    np.testing.assert_array_equal(numpy_helper.to_array(folded), bias.astype(np.float32) * scale)
    x = np.zeros((2, 8), np.float32)
    np.testing.assert_array_equal(run(result, {"x": x})[0], run(model, {"x": x})[0])


def test_weights_in_eight_bits_keep_their_quantization(tmp_path):
    constants = {"w": np.ones((4, 4), np.int8), "s": np.float32(0.1), "z": np.int8(0)}
    nodes = [
        helper.make_node("DequantizeLinear", ["w", "s", "z"], ["f"], "dq"),
        helper.make_node("MatMul", ["x", "f"], ["y"], "mm"),
    ]
    result, _ = canonical(made(nodes, {"x": [2, 4]}, {"y": [2, 4]}, constants), tmp_path)
    assert operators(result) == ["DequantizeLinear", "MatMul"]


# -- GroupNormalization


@pytest.mark.parametrize("dims", [["n", 4, 5, 5], [2, 4, 5], ["n", 4, "h", "w"]])
def test_group_normalization_of_opset_18_has_a_scale_per_group(tmp_path, dims):
    node = helper.make_node("GroupNormalization", ["x", "g", "b"], ["y"], "gn", num_groups=2, epsilon=1e-3)
    weights = {"g": np.float32([1, 3]), "b": np.float32([0, 5])}
    model = made([node], {"x": dims}, {"y": dims}, weights, opset=18)

    result, _ = canonical(model, tmp_path)

    assert [n.name for n in result.graph.node if n.op_type == "InstanceNormalization"] == ["gn"]
    x = rng().normal(2, 3, [dim if isinstance(dim, int) else 5 for dim in dims]).astype(np.float32)
    grouped = x.reshape(x.shape[0], 2, -1)
    normal = (grouped - grouped.mean(-1, keepdims=True)) / np.sqrt(grouped.var(-1, keepdims=True) + 1e-3)
    expected = (normal * weights["g"][:, None] + weights["b"][:, None]).reshape(x.shape)
    np.testing.assert_allclose(run(result, {"x": x})[0], expected, atol=1e-5)
    np.testing.assert_allclose(run(model, {"x": x})[0], expected, atol=1e-5)


def test_group_normalization_of_opset_21_stays(tmp_path):
    node = helper.make_node("GroupNormalization", ["x", "g", "b"], ["y"], "gn", num_groups=2)
    weights = {"g": np.float32([1, 3, 1, 2]), "b": np.float32([0, 5, 1, 1])}
    result, _ = canonical(made([node], {"x": [2, 4, 5]}, {"y": [2, 4, 5]}, weights, opset=21), tmp_path)
    assert operators(result) == ["GroupNormalization"]


# -- ONNX Runtime's QOperator format


def quantized(operator, operands, attributes=None, *, domain=MICROSOFT, zero, order="", constants=None):
    """`y = DQ(operator(Q(operand), …))`; an operand is an input's dims, or a constant with its scale."""
    nodes, inputs, values, read = [], {}, {"ys": np.float32(STEP), "yz": zero}, []
    for index, operand in enumerate(operands):
        name = f"x{index}"
        parts = [name, f"{name}s", f"{name}z"]
        if isinstance(operand, list):
            inputs[name] = operand
            values |= {parts[1]: np.float32(0.04), parts[2]: zero}
            nodes.append(helper.make_node("QuantizeLinear", parts, [f"{name}q"], f"quantize {name}"))
            parts[0] = f"{name}q"
        else:
            array, scale = operand
            values |= {name: array, parts[1]: scale, parts[2]: np.zeros(np.shape(scale), np.int8)}
        read += parts
    read = ["ys", "yz", *read] if order == "result first" else [*read, *(constants or {}), "ys", "yz"]
    if operator == "QLinearConv" and constants:
        read = [*read[:6], "ys", "yz", *constants]
    values |= constants or {}
    nodes.append(helper.make_node(operator, read, ["q"], "op", domain=domain, **(attributes or {})))
    nodes.append(helper.make_node("DequantizeLinear", ["q", "ys", "yz"], ["y"], "dequantize"))
    return made(nodes, inputs, {"y": None}, values)


def weight(*shape):
    return rng().integers(-127, 128, shape).astype(np.int8)


BIAS = rng().integers(-500, 500, 8).astype(np.int32)
PER_CHANNEL = np.linspace(0.002, 0.006, 8, dtype=np.float32)
CASES = {
    "conv": ("QLinearConv", [[2, 3, 8, 8], (weight(8, 3, 3, 3), PER_CHANNEL)], {"pads": [1] * 4}, "Conv"),
    "conv, one scale": (
        "QLinearConv", [[2, 3, 8, 8], (weight(8, 3, 3, 3), np.full(1, 0.004, np.float32))], {}, "Conv",
    ),
    "matmul": ("QLinearMatMul", [[2, 16], (weight(16, 8), np.float32(0.01))], {}, "MatMul"),
    "matmul, scale per column": ("QLinearMatMul", [[2, 16], (weight(16, 8), PER_CHANNEL)], {}, "MatMul"),
    "gemm": ("QGemm", [[2, 16], (weight(16, 8), PER_CHANNEL)], {"alpha": 1.0}, "Gemm"),
    "gemm, transposed": ("QGemm", [[2, 16], (weight(8, 16), PER_CHANNEL)], {"transB": 1}, "Gemm"),
    "add": ("QLinearAdd", [[2, 3, 4], [2, 3, 4]], {}, "Add"),
    "mul": ("QLinearMul", [[2, 3, 4], [3, 4]], {}, "Mul"),
    "sigmoid": ("QLinearSigmoid", [[2, 3, 4]], {}, "Sigmoid"),
    "leaky": ("QLinearLeakyRelu", [[2, 3, 4]], {"alpha": 0.2}, "LeakyRelu"),
    "pool": ("QLinearAveragePool", [[2, 3, 8, 8]], {"kernel_shape": [2, 2], "strides": [2, 2]}, "AveragePool"),
    "global pool": ("QLinearGlobalAveragePool", [[2, 3, 8, 8]], {}, "GlobalAveragePool"),
    "softmax": ("QLinearSoftmax", [[2, 8]], {"opset": 13, "axis": -1}, "Softmax"),
    "concat": ("QLinearConcat", [[2, 3], [2, 4]], {"axis": 1}, "Concat"),
}  # fmt: skip


def case(name, zero):
    operator, operands, attributes, float_operator = CASES[name]
    domain = "" if operator in ("QLinearConv", "QLinearMatMul") else MICROSOFT
    order = "result first" if operator == "QLinearConcat" else ""
    constants = {"bias": BIAS} if operator in ("QLinearConv", "QGemm") and name != "conv, one scale" else None
    model = quantized(
        operator, operands, attributes, domain=domain, zero=zero, order=order, constants=constants
    )
    return model, float_operator


def cuts_off() -> bool:
    """Whether ONNX Runtime cuts off products with int8 on this processor; those of int8 alone cannot be made uint8."""
    text = "g (uint8[1,64] a, int8[64,1] b) => (int32[1,1] y) { y = MatMulInteger (a, b) }"
    most = {"a": np.full((1, 64), 255, np.uint8), "b": np.full((64, 1), 127, np.int8)}
    return bool(run(parse(text), most)[0][0, 0] != 64 * 255 * 127)


@pytest.mark.parametrize("zero", [np.int8(0), np.int8(-12), np.uint8(114)], ids=["int8", "shifted", "uint8"])
@pytest.mark.parametrize("name", CASES)
def test_quantized_operators_become_float_ones_between_q_and_dq(tmp_path, name, zero):
    if name.startswith("conv") and zero.dtype == np.int8 and cuts_off():
        pytest.skip("needs a processor with VNNI: ONNX Runtime's products of int8 are wrong without")
    if name.startswith(("gemm", "conv")) and zero.dtype == np.int8 and zero:
        zero = np.int8(3)
    model, float_operator = case(name, zero)

    result, _ = canonical(model, tmp_path)

    # Where zero points are written out, quantizing itself adds and multiplies: the node keeps its name all the same.
    assert [node.op_type for node in result.graph.node if node.name == "op"] == [float_operator]
    assert {node.domain for node in result.graph.node} == {""}
    assert not set(operators(result)) & {"QLinearConv", "QLinearMatMul"}
    sizes = {one.name: [d.dim_value for d in one.type.tensor_type.shape.dim] for one in model.graph.input}
    feeds = {name: rng().normal(0.7, 1, size).astype(np.float32) for name, size in sizes.items()}
    uncut = with_unsigned_weights(RunnableModel(model, Path(), Path("model.onnx"))).proto
    ours, theirs = run(result, feeds)[0], run(uncut, feeds)[0]
    assert np.abs(theirs).max() > 5 * STEP
    np.testing.assert_allclose(ours, theirs, atol=STEP * 1.001)


def test_a_form_that_does_not_say_its_result_s_type_is_left_alone(tmp_path):
    model, _ = case("sigmoid", np.uint8(0))
    del model.graph.node[1].input[4:]
    result, _ = canonical(model, tmp_path)
    assert "QLinearSigmoid" in operators(result)


@pytest.mark.parametrize("name", ["matmul", "matmul, scale per column"])
def test_quantized_operators_of_an_old_opset_are_written_out(tmp_path, name):
    model, _ = case(name, np.int8(0))
    model.opset_import[0].version = 11
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 8]))
    read = onnx.ModelProto.FromString(model.SerializeToString())

    rewrite_as_imported(read)
    imported, _ = canonical(model, tmp_path)

    check_model(read)
    assert operators(read).count("MatMul") == operators(imported).count("MatMul") == 1


def test_dropout_of_no_value_is_nothing_even_in_training(tmp_path):
    node = helper.make_node("Dropout", ["x", "r", "t"], ["d"], "drop")
    relu = helper.make_node("Relu", ["d"], ["y"], "relu")
    constants = {"r": np.float32(0), "t": np.array(True)}
    result, _ = canonical(made([node, relu], {"x": [2, 4]}, {"y": [2, 4]}, constants), tmp_path)
    assert operators(result) == ["Relu"]


def test_an_output_without_a_shape_does_not_keep_a_model_at_its_old_opset(tmp_path):
    model = made([helper.make_node("Relu", ["x"], ["y"], "relu")], {"x": [2, 4]}, {"y": None}, {}, opset=11)
    result, changes = canonical(model, tmp_path)
    assert "opset 11 converted to 17" in changes.notes
    assert [item.version for item in result.opset_import if not item.domain] == [17]
