"""Two quantized models are held together where they quantize: a step here and there is no difference, more is one."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from trtpipe.runners.comparison.forced_types import Flips, Quantized, forced, own_name, quantized_in
from trtpipe.runners.cpu.graphs import RunnableModel
from trtpipe.runners.cpu.onnxruntime import open_runner

INT8, FP8 = Quantized("t", "n", 0.1, False), Quantized("t", "n", 0.1, True)


def model(tmp_path, scale=0.1, weights=False):
    """x, doubled, quantized and dequantized as `d`, then squared; or a quantized weight in place of the double."""
    constants = [("s", np.float32(scale)), ("z", np.int8(0)), ("w", np.ones(4, np.float32))]
    source = "w" if weights else "double"
    nodes = [
        helper.make_node("Add", ["x", "x"], ["double"], "add"),
        helper.make_node("QuantizeLinear", [source, "s", "z"], ["q"], "quantize"),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"], "dequantize"),
        helper.make_node("Mul", ["d", "double"], ["y"], "square"),
    ]
    ends = [[helper.make_tensor_value_info(name, TensorProto.FLOAT, [4])] for name in "xy"]
    graph = helper.make_graph(
        nodes, "g", *ends, [numpy_helper.from_array(np.asarray(a), n) for n, a in constants]
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return RunnableModel(made, tmp_path, tmp_path / "model.onnx")


def test_activations_are_found_with_their_scales(tmp_path):
    (found,) = quantized_in(model(tmp_path), model(tmp_path))

    assert (found.tensor, found.node, found.floating) == ("d", "dequantize", False)
    assert found.scale == pytest.approx(0.1)


def test_weights_outputs_and_what_the_other_lacks_are_left_out(tmp_path):
    whole = model(tmp_path)
    lacking = model(tmp_path)
    lacking.proto.graph.node[2].output[0] = lacking.proto.graph.node[3].input[0] = "other"
    output = model(tmp_path)
    output.proto.graph.output.append(helper.make_tensor_value_info("d", TensorProto.FLOAT, [4]))

    assert quantized_in(model(tmp_path, weights=True), whole) == []
    assert quantized_in(whole, lacking) == []
    assert quantized_in(output, whole) == []


def test_a_forced_model_reads_what_it_is_given_and_tells_its_own(tmp_path):
    made = forced(model(tmp_path), {"d": "float32"}).only_outputs(["y", own_name("d")])

    with open_runner(made, threads=1) as runner:
        x, d = np.array([1, 2, 3, 4], np.float32), np.array([10, 0, 0, 0], np.float32)
        found = runner.infer({"x": x, "d": d})

    assert found["y"].tolist() == [20, 0, 0, 0]
    assert found[own_name("d")] == pytest.approx([2, 4, 6, 8])


@pytest.mark.parametrize(
    ("quantized", "expected", "actual", "departs"),
    [
        (INT8, [1.0] * 100, [1.0] * 99 + [1.1], False),
        (INT8, [1.0] * 100, [1.0] * 99 + [1.2], True),
        (INT8, [1.0] * 100, [1.1] * 100, True),
        (FP8, [1.0] * 100, [1.0] * 99 + [1.125], False),
        (FP8, [1.0] * 100, [1.0] * 99 + [1.5], True),
        (FP8, [1.0] * 99 + [0.0], [1.0] * 99 + [1e-5], False),
        (INT8, [1.0], [1.0, 1.0], True),
        (INT8, [], [], False),
    ],
    ids=[
        "a step",
        "two steps",
        "a step everywhere",
        "a bit",
        "bits",
        "small beside large",
        "shape",
        "nothing",
    ],
)
def test_a_step_here_and_there_is_no_difference(quantized, expected, actual, departs):
    flips = Flips(quantized, bound=1e-4)

    flips.add(np.array(expected, np.float32), np.array(actual, np.float32))

    assert flips.departs is departs
    assert flips.to_json()["departs"] is departs


def test_more_may_be_a_step_off_where_the_floats_before_are_narrow():
    expected, actual = np.ones(100), np.array([1.0] * 80 + [1.1] * 20)
    exact, half = Flips(INT8, bound=1e-4), Flips(INT8, bound=2e-3)

    for flips in (exact, half):
        flips.add(expected, actual)

    assert (exact.departs, half.departs) == (True, False)
