"""A typed model beside the network that TensorRT's parser makes of it: what the parser changed is named, no more."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.debugging.failing_models import needs_rtx
from trtpipe.networks.lowering import table
from trtpipe.networks.matches import misfits
from trtpipe.networks.network import WeightsRef
from trtpipe.networks.reader import read_network
from trtpipe.plan.task import Task
from trtpipe.precisions import find_precision
from trtpipe.precisions.casts.files import rewrite_file
from trtpipe.runners.comparison import compare_all as comparing
from trtpipe.runners.comparison import compare_network as networks
from trtpipe.runners.cpu.graphs import RunnableModel
from trtpipe.toolchains.engine_worker.parser_runs import parse_network
from trtpipe.toolchains.installed import installed_toolchain

RTX = installed_toolchain("tensorrt_rtx")
CASES = Path(__file__).resolve().parents[3] / "shared" / "cases"
IMAGE = {"x": {"min": [1, 3, 16, 16], "opt": [2, 3, 16, 16], "max": [4, 3, 16, 16]}}

pytestmark = [needs_rtx, pytest.mark.engine]


def chain():
    """Two branches of one product: `y` through a Tanh, `z` through a Sigmoid, each with a product before it."""
    rng = np.random.default_rng(3)
    weights = [
        numpy_helper.from_array(rng.normal(0, 0.3, (8, 8)).astype(np.float32), f"w{i}") for i in range(3)
    ]
    nodes = [
        helper.make_node("MatMul", ["x", "w0"], ["m0"], "first"),
        helper.make_node("MatMul", ["m0", "w1"], ["m1"], "left"),
        helper.make_node("Tanh", ["m1"], ["y"], "tanh"),
        helper.make_node("MatMul", ["m0", "w2"], ["m2"], "right"),
        helper.make_node("Softmax", ["m2"], ["z"], "softmax"),
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 8]) for name in "xyz"]
    graph = helper.make_graph(nodes, "chain", ends[:1], ends[1:], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.fixture
def model(tmp_path):
    onnx.save(chain(), tmp_path / "model.onnx")
    return tmp_path / "model.onnx"


def compared(model, profiles=()):
    """The comparison of a model as it stands, nothing imported or typed."""
    folder = model.parent / "network"
    folder.mkdir()
    parsed = parse_network(RTX, model, folder)
    asked = {
        "data": {"random": {"seed": 0, "samples": 8}},
        "profiles": list(profiles),
        "samples": None,
        "reference": "onnxruntime",
    }
    inputs = {"typed": {model.name: model}, "reference": {model.name: model}}
    inputs["parsed"] = {one.name: one for one in (parsed.network, parsed.weights)}
    return networks.compare_network(Task("compare_network", asked, inputs, folder, {"threads": 1}))


def tensor(found, name):
    (one,) = [one for one in found["tensors"] if one["tensor"] == name]
    return one


def test_a_network_that_is_the_model_is_equal_to_it(model):
    found = compared(model)

    assert found["equal"]
    assert (found["layers"], found["unread"], found["misfits"], found["not_run"]) == (
        found["layers_read"],
        [],
        [],
        [],
    )
    assert [one["tensor"] for one in found["tensors"]] == ["m0", "m1", "y", "m2", "z"]
    assert tensor(found, "y")["layer"]["type"] == "ACTIVATION"


CHANGED = [
    ("103-uint8-sym-qdq", "xq", "q", [IMAGE]),
    ("112-silent-zoo", "o", "up_shape", [IMAGE]),
    ("113-loop-early-exit", "seq", "/decoder/Loop", []),
    ("97-reduce-noop", "a", "l2", []),
]


@pytest.mark.parametrize(("case", "name", "node", "profiles"), CHANGED, ids=[one[0] for one in CHANGED])
def test_what_the_parser_changes_in_silence_is_named(case, name, node, profiles, tmp_path):
    if not (CASES / case).is_dir():
        pytest.skip(f"no ../shared/cases/{case}")
    environment = {**os.environ, "PYTHONPATH": str(CASES)}
    subprocess.run([sys.executable, CASES / case / "make.py"], cwd=tmp_path, env=environment, check=True)

    found = compared(tmp_path / "model.onnx", profiles)

    assert not found["equal"]
    assert found["first"] == name
    assert tensor(found, name)["node"] == node


def test_a_layer_without_a_reader_is_named_and_what_does_not_need_it_is_compared(model, monkeypatch):
    monkeypatch.delitem(table.DECLARED, "ACTIVATION")

    found = compared(model)

    assert found["unread_by_type"] == {"ACTIVATION": 1}
    (missing,) = found["not_run"]
    assert missing["name"] == "output 'y'"
    assert "layer 'tanh' (ACTIVATION), which cannot be read" in missing["why"]
    assert not tensor(found, "z")["departs"]
    assert (found["equal"], found["first"]) == (False, None)


def test_a_reading_that_tensorrt_contradicts_proves_nothing(model, monkeypatch):
    lower = networks.onnx_of
    monkeypatch.setattr(
        networks, "onnx_of", lambda parsed: replace(lower(parsed), contradictions=("'m0' is …",))
    )

    found = compared(model)

    assert (found["equal"], found["first"], found["contradictions"]) == (False, None, ["'m0' is …"])


def test_behind_what_cannot_be_run_other_outputs_are_compared(model, monkeypatch):
    made = networks.network_model

    def broken(lowered, folder):
        network = made(lowered, folder)
        for node in network.proto.graph.node:
            if "y" in node.output:
                node.domain, node.op_type = "nowhere", "Nonsense"
        return RunnableModel(network.proto, network.folder, network.path)

    monkeypatch.setattr(networks, "network_model", broken)

    found = compared(model)

    assert [one["tensor"] for one in found["tensors"]] == ["m0", "m1", "z"]
    assert "output 'y'" in [one["name"] for one in found["not_run"]]
    assert not found["equal"]


def test_tensors_that_do_not_fit_together_are_compared_one_after_the_other(model, monkeypatch):
    monkeypatch.setattr(comparing, "LOT_BYTES", 1)

    found = compared(model)

    assert found["equal"]
    assert found["lots"] == len(found["tensors"]) == 5


def test_rounding_that_grows_through_a_deep_model_is_no_departure(tmp_path):
    rng = np.random.default_rng(0)
    weights = [
        numpy_helper.from_array(rng.normal(0, 0.2, (32, 32)).astype(np.float32), f"w{i}") for i in range(20)
    ]
    nodes = []
    for i in range(20):
        nodes.append(helper.make_node("MatMul", [f"t{i}", f"w{i}"], [f"m{i}"], f"product{i}"))
        nodes.append(helper.make_node("Sin", [f"m{i}"], [f"t{i + 1}"], f"sin{i}"))
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 32]) for name in ("t0", "t20")]
    graph = helper.make_graph(nodes, "deep", ends[:1], ends[1:], weights)
    source = tmp_path / "source.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), source)
    precision = find_precision("fp16")
    assert precision is not None
    rewrite_file(precision, source, tmp_path / "model.onnx", keep={})

    assert compared(tmp_path / "model.onnx")["equal"]


def changed_tensor(network, name, **changes):
    return replace(network, tensors={**network.tensors, name: replace(network.tensors[name], **changes)})


@pytest.mark.parametrize(
    ("name", "changes", "why"),
    [
        ("m1", {"dtype": "float16"}, "is float16 instead of float32"),
        ("m1", {"shape": (-1, 8, 1)}, "has 3 dimensions instead of 2"),
        ("y", {"shape": (-1, 9)}, "is ?x9 instead of ?x8"),
        ("y", {"shape": (-1, -1)}, None),
        ("y", {"shape": None}, None),
    ],
)
def test_types_ranks_and_sizes_are_those_of_the_model(name, changes, why, model, tmp_path):
    parse_network(RTX, model, tmp_path)
    network = changed_tensor(read_network(tmp_path), name, **changes)

    found = misfits(onnx.load(model), network)

    assert [(one.name, one.why) for one in found] == ([(name, why)] if why else [])


def test_an_output_that_the_network_lacks_is_a_misfit(model, tmp_path):
    parse_network(RTX, model, tmp_path)

    (found,) = misfits(onnx.load(model), replace(read_network(tmp_path), outputs=("y",)))

    assert (found.what, found.name) == ("output", "z")


def test_weights_have_the_types_of_the_model(model, tmp_path):
    parse_network(RTX, model, tmp_path)
    network = read_network(tmp_path)
    (layer,) = [one for one in network.layers if one.name == "w1"]
    ref = layer.weights["weights"]
    other = replace(layer, weights={"weights": WeightsRef("int32", ref.count, ref.digest)})
    layers = tuple(other if one is layer else one for one in network.layers)

    (found,) = misfits(onnx.load(model), replace(network, layers=layers))

    assert (found.what, found.name, found.why) == ("weights", "w1", "are int32 instead of float32")
