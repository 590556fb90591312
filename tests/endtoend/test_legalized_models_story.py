"""Models of quantizers and of old exporters, written as they write them, build as they are and equal their source."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.projects import Project

SPEC = """\
schema: 1
pipeline: net
model: {{source: models/net.onnx}}
{more}
variants: {{fp32: {{}}, fp16: {{precision: fp16}}}}
targets: {{ada: {{gpu: sm89}}}}
validate: {{random: {{samples: 2}}}}
"""

pytestmark = pytest.mark.engine


def random():
    return np.random.default_rng(3)


def made(nodes, outputs, constants, opset=13):
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 4, 8, 8])],
        outputs,
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    imports = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=imports, ir_version=8)


def floats(name):
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, None)


WEIGHTS = {
    "w": random().integers(-127, 128, (8, 4, 3, 3)).astype(np.int8),
    "ws": np.linspace(0.002, 0.006, 8, dtype=np.float32),
    "wz": np.zeros(8, np.int8),
    "b": random().integers(-500, 500, 8).astype(np.int32),
    "s": np.float32(0.03),
    "z": np.int8(0),
}


def int32_bias():
    """As ONNX Runtime's quantizer writes Q/DQ: the bias in int32, with zero points, a scale for each channel."""
    scales = {"bs": WEIGHTS["ws"] * np.float32(0.03), "bz": np.zeros(8, np.int32)}
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"], "quantize"),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"], "dequantize"),
        helper.make_node("DequantizeLinear", ["w", "ws", "wz"], ["wd"], "weight", axis=0),
        helper.make_node("DequantizeLinear", ["b", "bs", "bz"], ["bd"], "bias", axis=0),
        helper.make_node("Conv", ["d", "wd", "bd"], ["y"], "conv"),
    ]
    return made(nodes, [floats("y")], {**WEIGHTS, **scales})


def quantized_operators():
    """As the same quantizer writes QOperator, symmetric."""
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"], "quantize"),
        helper.make_node("QLinearConv", ["q", "s", "z", "w", "ws", "wz", "s", "z", "b"], ["c"], "conv"),
        helper.make_node(
            "QLinearLeakyRelu", ["c", "s", "z", "s", "z"], ["l"], "leaky", domain="com.microsoft", alpha=0.1
        ),
        helper.make_node(
            "QLinearAdd", ["l", "s", "z", "c", "s", "z", "s", "z"], ["a"], "add", domain="com.microsoft"
        ),
        helper.make_node("DequantizeLinear", ["a", "s", "z"], ["y"], "dequantize"),
    ]
    return made(nodes, [floats("y")], WEIGHTS)


def group_normalization():
    nodes = [
        helper.make_node("GroupNormalization", ["x", "g", "h"], ["n"], "norm", num_groups=2),
        helper.make_node("Conv", ["n", "k"], ["y"], "conv"),
    ]
    kernel = random().normal(size=(8, 4, 3, 3)).astype(np.float32)
    return made(
        nodes, [floats("y")], {"g": np.float32([1, 3]), "h": np.float32([0, 5]), "k": kernel}, opset=18
    )


def string_classes():
    nodes = [
        helper.make_node("Softmax", ["x"], ["p"], "softmax"),
        helper.make_node("ArgMax", ["p"], ["i"], "best", keepdims=0),
        helper.make_node("Gather", ["names", "i"], ["label"], "look up"),
    ]
    outputs = [floats("p"), helper.make_tensor_value_info("label", TensorProto.STRING, None)]
    model = made(nodes, outputs, {})
    model.graph.initializer.append(helper.make_tensor("names", TensorProto.STRING, [2], [b"cat", b"dog"]))
    return model


@pytest.fixture
def net(tmp_path):
    pytest.importorskip("tensorrt_rtx", reason="not run: needs a tensorrt_rtx wheel")

    def make(model, more=""):
        project = Project(tmp_path / "project")
        (project.root / "models").mkdir(parents=True)
        onnx.save(model, project.root / "models/net.onnx")
        project.write("pipelines/net.yaml", SPEC.format(more=more))
        return project

    return make


@pytest.mark.parametrize(
    "model",
    [
        quantized_operators,
        *(pytest.param(one, marks=pytest.mark.slow) for one in (int32_bias, group_normalization)),
    ],
)
def test_a_model_builds_as_its_exporter_wrote_it(net, model):
    project = net(model())

    checked, built = project.run("check"), project.run("build")

    assert checked.code == 0, checked.err
    assert built.code == 0, built.err
    assert built.err.count("validated on the CPU up to TensorRT's network") == 2


def test_strings_are_refused_with_a_remedy_that_works_and_init_applies_it(net):
    project = net(string_classes())
    remedy = "transform: {outputs: [p]}"

    checked = project.run("check")
    project.write("pipelines/net.yaml", SPEC.format(more=remedy))
    cured = project.run("check")
    project.run("init", "models/net.onnx", "--force")

    assert checked.code == 2
    assert (
        "TensorRT has no strings: node 'look up' (Gather) makes 'label', for the output 'label'"
        in checked.err
    )
    assert remedy in checked.err and "1 error" in checked.err
    assert cured.code == 0, cured.err
    assert "  outputs: [p]\n" in (project.root / "pipelines/net.yaml").read_text()


def test_what_tensorrt_refuses_is_said_without_a_word_of_the_driver(net):
    node = helper.make_node("DequantizeLinear", ["i", "s"], ["y"], "dequantize")
    model = made([helper.make_node("Cast", ["x"], ["i"], "cast", to=TensorProto.INT32), node], [floats("y")],
                 {"s": np.float32(0.1)})  # fmt: skip
    project = net(model)

    checked = project.run("check")

    assert checked.code == 2
    assert "node 'dequantize' (DequantizeLinear)" in checked.err
    assert "driver" not in checked.err and "cuda" not in checked.err.lower()


def test_init_refuses_a_model_in_training(net):
    node = helper.make_node("BatchNormalization", ["x", *"abcd"], ["y", "m", "v"], "norm", training_mode=1)
    constants = dict.fromkeys("abcd", np.ones(4, np.float32))
    project = net(made([node], [floats("y")], constants, opset=15))

    checked, begun = project.run("check"), project.run("init", "models/net.onnx", "--force")

    for done in (checked, begun):
        assert done.code != 0
        assert "the model is in training mode: node 'norm' (BatchNormalization)" in done.err
        assert "model.eval()" in done.err


def test_what_an_equal_form_costs_is_said_by_the_build_and_beside_the_engine(net):
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "u"], ["q"], "quantize"),
        helper.make_node("DequantizeLinear", ["q", "s", "u"], ["y"], "dequantize"),
    ]
    project = net(made(nodes, [floats("y")], {"s": np.float32(0.03), "u": np.uint8(77)}))
    project.edit("pipelines/net.yaml", ", fp16: {precision: fp16}", "")

    built = project.run("build")

    cost = "results are equal, without the speed of int8"
    assert built.code == 0, built.err
    assert built.err.count(cost) == 1
    folder = project.root / "build/net/fp32@ada"
    assert cost in (folder / "summary.md").read_text()
    assert cost in json.loads((folder / "manifest.json").read_bytes())["imported"]["costs"][0]
