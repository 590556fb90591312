"""Every tensor of a typed model against its source: the first that goes wrong is named, and none that is right."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from onnx import TensorProto, helper, numpy_helper

from tests.precisions.random_graphs import random_models
from trtpipe.errors import StepFailed
from trtpipe.plan.task import Task
from trtpipe.precisions import find_precision
from trtpipe.precisions.casts.files import rewrite_file
from trtpipe.runners.comparison import compare_all as comparing
from trtpipe.runners.comparison.compare_all import compare_all

LAYERS = 4


def layers():
    """Products and pointwise nodes: `m0`, `a0`, …, `y`."""
    rng = np.random.default_rng(3)
    weights, nodes, x = [], [], "x"
    for i in range(LAYERS):
        weights.append(numpy_helper.from_array(rng.normal(0, 0.3, (16, 16)).astype(np.float32), f"w{i}"))
        weights.append(numpy_helper.from_array(rng.normal(0, 0.1, 16).astype(np.float32), f"b{i}"))
        nodes.append(helper.make_node("MatMul", [x, f"w{i}"], [f"m{i}"], f"product{i}"))
        nodes.append(helper.make_node("Add", [f"m{i}", f"b{i}"], [f"a{i}"], f"add{i}"))
        nodes.append(helper.make_node("Tanh", [f"a{i}"], [f"t{i}"], f"tanh{i}"))
        x = f"t{i}"
    nodes.append(helper.make_node("Identity", [x], ["y"], "last"))
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 16]) for name in "xy"]
    graph = helper.make_graph(nodes, "layers", ends[:1], ends[1:], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def typed_as(name, model, folder):
    """The source's path and the typed model's."""
    source, typed = folder / "source.onnx", folder / "typed.onnx"
    onnx.save(model, source)
    precision = find_precision(name)
    assert precision is not None
    rewrite_file(precision, source, typed, keep={})
    return source, typed


def compared(source, typed, folder, **options):
    data = {"random": {"seed": 0, "samples": 8}}
    asked = {"data": data, "profiles": [], "samples": None, "reference": "onnxruntime", **options}
    inputs = {"typed": {"model.onnx": typed}, "reference": {"model.onnx": source}}
    return compare_all(Task("compare_all", asked, inputs, folder))


def edited(path, change):
    model = onnx.load(path)
    change(model)
    onnx.save(model, path)


def weight(model, name):
    return next(one for one in model.graph.initializer if one.name == name)


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
def test_a_right_model_diverges_nowhere(precision, tmp_path):
    found = compared(*typed_as(precision, layers(), tmp_path), tmp_path)

    assert found["divergence"] is None and found["nonfinite"] is None
    assert [one["tensor"] for one in found["tensors"]][:3] == ["m0", "a0", "t0"]
    assert len(found["tensors"]) == 3 * LAYERS + 1 and not found["unmatched"]
    assert found["samples"] == 8
    assert ("bfloat16" in found["twins"]) is (precision == "bf16")


@pytest.mark.parametrize("at", range(LAYERS))
def test_one_wrong_weight_is_named_where_it_is_first_seen(at, tmp_path):
    source, typed = typed_as("fp16", layers(), tmp_path)

    def one_element(model):
        array = numpy_helper.to_array(weight(model, f"w{at}")).copy()
        array[3, 5] += 1
        weight(model, f"w{at}").CopyFrom(numpy_helper.from_array(array, f"w{at}"))

    edited(typed, one_element)
    found = compared(source, typed, tmp_path)

    assert found["divergence"] == f"m{at}"
    after = [one for one in found["tensors"] if one["tensor"] > f"m{at}" and one["tensor"].startswith("m")]
    assert all(one["growth"] < 4 for one in after)


def test_two_nodes_that_read_each_others_input_are_named(tmp_path):
    source, typed = typed_as("fp16", layers(), tmp_path)

    def swap(model):
        nodes = {node.name: node for node in model.graph.node}
        nodes["add1"].input[1], nodes["add2"].input[1] = nodes["add2"].input[1], nodes["add1"].input[1]

    edited(typed, swap)

    assert compared(source, typed, tmp_path)["divergence"] == "a1"


def test_an_overflow_is_named_where_it_begins(tmp_path):
    model = layers()
    weight(model, "w2").CopyFrom(numpy_helper.from_array(np.full((16, 16), 6e4, np.float32), "w2"))
    found = compared(*typed_as("fp16", model, tmp_path), tmp_path)

    assert found["nonfinite"] == found["divergence"] == "m2"
    record = next(one for one in found["tensors"] if one["tensor"] == "m2")
    assert record["inf"] > 0 and record["error"] == "inf"


def test_few_tensors_at_a_time_measure_the_same(tmp_path, monkeypatch):
    pair = typed_as("fp16", layers(), tmp_path)
    together = compared(*pair, tmp_path)
    monkeypatch.setattr(comparing, "LOT_BYTES", 200)
    apart = compared(*pair, tmp_path)

    assert together["lots"] == 1 and apart["lots"] >= 4
    assert apart["tensors"] == together["tensors"]


def test_a_tensor_of_another_shape_is_an_error_that_names_it(tmp_path):
    source, typed = typed_as("fp16", layers(), tmp_path)

    def narrow(model):
        weight(model, "w3").CopyFrom(numpy_helper.from_array(np.zeros((16, 4), np.float16), "w3"))
        weight(model, "b3").CopyFrom(numpy_helper.from_array(np.zeros(4, np.float16), "b3"))
        model.graph.output[0].type.tensor_type.ClearField("shape")

    edited(typed, narrow)

    with pytest.raises(StepFailed, match="tensor 'm3' is 1x4 instead of the source's 1x16"):
        compared(source, typed, tmp_path)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(model=random_models(casts=False))
def test_random_graphs_in_their_own_type_diverge_nowhere(model, tmp_path):
    source = tmp_path / "source.onnx"
    onnx.save(model, source)

    found = compared(source, source, tmp_path)

    assert found["divergence"] is None
    assert {one["error"] for one in found["tensors"]} <= {0.0}


def test_recorded_inputs_are_compared_on_as_well(tmp_path):
    source, typed = typed_as("fp16", layers(), tmp_path)
    recorded = {"in:x": np.ones((3, 16), np.float32), "out:y": np.zeros((3, 16), np.float32)}
    np.savez(tmp_path / "golden.npz", **recorded)
    inputs = {"typed": typed, "reference": source, "golden": tmp_path / "golden.npz"}
    slots = {slot: {path.name: path} for slot, path in inputs.items()}

    found = compare_all(Task("compare_all", {"reference": "golden", "profiles": []}, slots, tmp_path))

    assert found["samples"] == 3 and found["divergence"] is None
    assert found["tensors"][0]["elements"] == 48
