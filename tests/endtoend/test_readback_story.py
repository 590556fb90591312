"""Every build holds the network that TensorRT's parser makes against the typed model; where they part, nothing ships.

The models are made here. Some are of kinds that TensorRT-RTX's parser misreads and the import writes plainly, so that
they build. Of others the network departs: the parser runs a loop to its limit, ONNX Runtime leaves a `clip` out, and
ONNX's inference takes a spectrum of one side for one of two.
"""

from __future__ import annotations

import json
import shutil

import numpy as np
import onnx
import pytest
import yaml
from onnx import TensorProto, helper, numpy_helper

from tests.projects import Project

SPEC = """\
schema: 1
pipeline: net
model: {{source: models/net.onnx}}
variants: {{fp32: {{}}}}
targets: {{ada: {{gpu: sm89}}, ampere: {{gpu: sm86}}}}
validate:
  random: {{samples: 3}}
{more}"""


def made(nodes, inputs, outputs, weights=()):
    """A model of fixed shapes."""
    ends = [
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, dims) for name, dims in some]
        for some in (inputs, outputs)
    ]
    constants = [numpy_helper.from_array(array, name) for name, array in weights]
    graph = helper.make_graph(nodes, "net", *ends, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def uint8_quantization():
    """The parser reads uint8 as int8: what is above 127 steps would be cut off."""
    scale, zero = ("s", np.array(0.01, np.float32)), ("z", np.array(0, np.uint8))
    nodes = [
        helper.make_node("Relu", ["x"], ["r"], "relu"),
        helper.make_node("QuantizeLinear", ["r", "s", "z"], ["q"], "quantize"),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"], "dequantize"),
    ]
    return made(nodes, [("x", [64, 64])], [("y", [64, 64])], [scale, zero])


def shifted_deconvolution():
    """`output_shape` alone: the parser would pad at the other side."""
    kernel = np.random.default_rng(0).normal(size=(2, 2, 3, 3)).astype(np.float32)
    node = helper.make_node(
        "ConvTranspose", ["x", "w"], ["y"], "up", strides=[2, 2], output_shape=[10, 10], kernel_shape=[3, 3]
    )
    return made([node], [("x", [1, 2, 5, 5])], [("y", [1, 2, 10, 10])], [("w", kernel)])


def reduction_without_axes():
    """`noop_with_empty_axes`: the parser would leave the square root of the square out."""
    node = helper.make_node("ReduceL2", ["x"], ["y"], "l2", noop_with_empty_axes=1, keepdims=1)
    return made([node], [("x", [4, 4])], [("y", [4, 4])])


def early_loop():
    """A loop that stops after two rounds of six, and the mean of the rows it collects: the parser makes six of them."""
    ends = [("i", TensorProto.INT64, []), ("go", TensorProto.BOOL, []), ("s", TensorProto.FLOAT, [3])]
    results = [("on", TensorProto.BOOL, []), ("t", TensorProto.FLOAT, [3]), ("seen", TensorProto.FLOAT, [3])]
    body = helper.make_graph(
        [
            helper.make_node("Less", ["i", "last"], ["on"]),
            helper.make_node("Add", ["s", "one"], ["t"]),
            helper.make_node("Identity", ["t"], ["seen"]),
        ],
        "body",
        [helper.make_tensor_value_info(*one) for one in ends],
        [helper.make_tensor_value_info(*one) for one in results],
    )
    nodes = [
        helper.make_node("Loop", ["trips", "yes", "x"], ["end", "rows"], "loop", body=body),
        helper.make_node("ReduceMean", ["rows", "first"], ["y"], "mean", keepdims=0),
    ]
    weights = [
        ("trips", np.array(6)), ("yes", np.array(True)), ("last", np.array(1)), ("one", np.ones(3, np.float32)),
        ("first", np.array([0])),
    ]  # fmt: skip
    return made(nodes, [("x", [3])], [("y", [3])], weights)


def clipped_recurrence():
    """LSTM with `clip`: ONNX Runtime does not clip what goes into the last activation, the network does."""
    rng = np.random.default_rng(5)
    sizes = {"w": (1, 12, 4), "r": (1, 12, 3)}
    weights = [(name, rng.normal(size=size).astype(np.float32)) for name, size in sizes.items()]
    node = helper.make_node("LSTM", ["x", "w", "r"], ["", "y"], "lstm", hidden_size=3, clip=0.2)
    return made([node], [("x", [5, 2, 4])], [("y", [1, 2, 3])], weights)


def one_sided_spectrum():
    """STFT without `onesided`, which is 1 then: ONNX's inference says 16 frequencies, all others 9."""
    weights = [("step", np.array(8)), ("w", np.ones(16, np.float32)), ("axis", np.array([2]))]
    nodes = [
        helper.make_node("STFT", ["x", "step", "w"], ["spectrum"], "stft"),
        helper.make_node("ReduceMean", ["spectrum", "axis"], ["y"], "mean", keepdims=0),
    ]
    return made(nodes, [("x", [1, 128, 1])], [("y", [1, 15, 2])], weights)


def plain():
    return made([helper.make_node("Tanh", ["x"], ["y"], "tanh")], [("x", [4, 4])], [("y", [4, 4])])


def refused():
    """TensorRT-RTX's parser does not take dilated pooling."""
    node = helper.make_node(
        "MaxPool", ["x"], ["y"], "pool", kernel_shape=[2, 2], dilations=[2, 2], strides=[1, 1]
    )
    return made([node], [("x", [1, 1, 8, 8])], [("y", [1, 1, 6, 6])])


def scaled_widely():
    """A scale of all axes' sizes: the parser does not take what ONNX's own body of the operator makes of it."""
    weights = [("scale", np.ones((2, 3, 4), np.float32))]
    node = helper.make_node("LayerNormalization", ["x", "scale"], ["y", "mean"], "norm", axis=-1)
    return made([node], [("x", [2, 3, 4])], [("y", [2, 3, 4]), ("mean", [2, 3, 1])], weights)


def identity_of_any_size():
    """The parser makes an identity matrix of fixed sizes only."""
    nodes = [
        helper.make_node("EyeLike", ["x"], ["one"], "eye"),
        helper.make_node("Mul", ["x", "one"], ["y"], "m"),
    ]
    return made(nodes, [("x", ["n", 4])], [("y", ["n", 4])])


@pytest.fixture
def net(tmp_path):
    """Makes a project of a model: `net(model)`, with `more` lines of `validate`."""

    def make(model, more=""):
        project = Project(tmp_path / "project")
        (project.root / "models").mkdir(parents=True)
        onnx.save(model, project.root / "models/net.onnx")
        project.write("pipelines/net.yaml", SPEC.format(more=more))
        return project

    return make


def manifest_of(project, cell="net/fp32@ada"):
    return json.loads((project.root / "build" / cell / "manifest.json").read_bytes())


def reach_of(project):
    return {one["part"]: one["outcome"] for one in manifest_of(project)["reach"]}


# -- what agrees


def test_a_build_says_how_far_its_proof_reaches_wherever_it_speaks(net):
    project = net(plain())

    done = project.run("build")

    assert done.code == 0, done.err
    assert "validated on the CPU up to TensorRT's network" in done.err
    assert reach_of(project) == {
        "canonical": "proved",
        "typed": "proved",
        "network": "proved",
        "engine": "not proved",
    }
    network = manifest_of(project)["network"]
    assert network["layers"] == network["layers_read"] > 0
    assert [one["output"] for one in network["outputs"]] == ["y"]
    locked = yaml.safe_load((project.root / "trtpipe.lock").read_text())["cells"]["net/fp32@ada"]
    assert locked["reach"] == {"canonical": "proved", "typed": "proved", "network": "proved"}
    assert locked["layers_read"] == f"{network['layers']} of {network['layers']}"
    folder = project.root / "build/net/fp32@ada"
    assert "| typed ONNX to TensorRT's network | proved | - |" in (folder / "summary.md").read_text()
    assert json.loads((folder / "readback.json").read_bytes())["places"][0]["place"] == "data"
    report = project.run("report")
    assert report.code == 0, report.err
    cell = json.loads((folder / "report.json").read_bytes())
    assert [(one["part"], one["outcome"]) for one in cell["cell"]["reach"]][2] == ("network", "proved")
    assert cell["network"]["layers_read"] == network["layers"]
    assert "The chain of proofs" in (folder / "report.html").read_text()
    assert project.run("build").out == "nothing to do\n"


def test_targets_of_one_toolchain_share_what_was_parsed(net):
    project = net(plain())

    steps = json.loads(project.run("plan", "--json").out)["steps"]

    stages = [one["address"].rpartition(":")[2] for one in steps]
    assert (stages.count("parse"), stages.count("readback"), stages.count("build_engine")) == (1, 1, 2)


def test_a_clean_clone_is_held_to_what_was_proved(net, tmp_path):
    project = net(plain())
    assert project.run("build").code == 0
    clone = Project(tmp_path / "clone")
    for name in ("models", "pipelines"):
        shutil.copytree(project.root / name, clone.root / name)
    shutil.copy(project.root / "trtpipe.lock", clone.root)

    checked, frozen = clone.run("lock", "--check"), clone.run("build", "--frozen")

    assert checked.code == 0, checked.out + checked.err
    assert frozen.code == 0, frozen.err
    assert (clone.root / "trtpipe.lock").read_bytes() == (project.root / "trtpipe.lock").read_bytes()


@pytest.mark.slow
def test_a_network_that_was_lost_is_parsed_again(net):
    project = net(plain())
    assert project.run("build").code == 0
    trace = manifest_of(project)["steps"]["parse"]["key"]
    store = project.root / ".trtpipe/store"
    (found,) = [one for one in store.rglob(f"{trace}*") if one.read_bytes().startswith(b"{")]
    digest = json.loads(found.read_text())["outputs"]["parsed.json"].partition("/")[0]
    (artifact,) = [one for one in store.rglob(f"*{digest[2:]}*") if one.is_file()]
    artifact.chmod(0o644)
    artifact.write_bytes(b"{}")

    shown = project.run("inspect", "net/fp32@ada", "--network")

    assert shown.code == 0, shown.err
    assert "ACTIVATION" in shown.out


@pytest.mark.parametrize(
    "model",
    [uint8_quantization, shifted_deconvolution, reduction_without_axes],
    ids=["uint8", "deconvolution", "reduction"],
)
def test_what_the_parser_would_misread_is_written_plainly_builds_and_is_proved(net, model):
    project = net(model())

    done = project.run("build")

    assert done.code == 0, done.err
    assert "validated on the CPU up to TensorRT's network" in done.err
    assert {part: reach_of(project)[part] for part in ("canonical", "typed", "network")} == {
        "canonical": "proved",
        "typed": "proved",
        "network": "proved",
    }
    assert project.run("build").out == "nothing to do\n"


# -- what differs


@pytest.mark.parametrize(("model", "node"), [(early_loop, "loop"), (clipped_recurrence, "lstm")])
def test_a_model_whose_network_departs_is_not_delivered_and_the_node_is_named(net, model, node):
    project = net(model())

    done = project.run("build")

    assert done.code == 1
    assert "made a network whose output 'y' departs from the typed model's" in done.err
    assert f"(node '{node}'" in done.err
    assert "validated" not in done.err
    assert not list(project.root.glob("build/**/model.engine"))
    assert "net/fp32@ada" not in (project.root / "trtpipe.lock").read_text()


def test_what_the_parser_warns_of_ends_a_build_and_check_until_it_is_accepted(net):
    project = net(early_loop())

    checked = project.run("check")

    assert checked.code == 2
    assert "warns of 'loop-stops-early'" in checked.err
    project.write("pipelines/net.yaml", SPEC.format(more="  readback: {accept: [loop-stops-early]}\n"))
    assert project.run("check").code == 0
    built = project.run("build")
    assert built.code == 1, "what is accepted by name says nothing of the outputs"
    assert "departs from the typed model's" in built.err


@pytest.mark.slow
def test_a_tensor_of_another_size_ends_a_build_and_check_until_it_is_accepted(net):
    project = net(one_sided_spectrum())

    checked = project.run("check")

    assert checked.code == 2
    assert "tensor 'spectrum' (node 'stft', STFT) is 1x15x9x2 instead of 1x15x16x2" in checked.err
    project.write("pipelines/net.yaml", SPEC.format(more='  readback: {accept: ["tensor:spectrum"]}\n'))
    assert project.run("check").code == 0


@pytest.mark.slow
def test_thresholds_of_its_own_judge_the_network_and_changing_them_runs_nothing(net):
    project = net(clipped_recurrence())
    assert project.run("build").code == 1
    loose = "  readback: {thresholds: [{metric: max_abs, max: 100}]}\n"
    project.write("pipelines/net.yaml", SPEC.format(more=loose))

    done = project.run("build", "--json")

    assert done.code == 0, done.err
    assert done.ran == []
    assert reach_of(project)["network"] == "proved"
    assert [one["by_thresholds"] for one in manifest_of(project)["network"]["outputs"]] == [True]
    project.write("pipelines/net.yaml", SPEC.format(more=loose.replace("100", "0.001")))
    strict = project.run("build")
    assert strict.code == 1
    assert "TensorRT's network: output 'y' has max_abs" in strict.err


def test_a_network_that_is_not_run_is_not_proved_and_says_why(net):
    project = net(clipped_recurrence(), "  readback: {run: false}\n")

    done = project.run("build")

    assert done.code == 0, done.err
    assert "up to the typed model (TensorRT's network is not proved: the spec says `run: false`)" in done.err
    assert "TensorRT's network: the spec says `run: false`" in manifest_of(project)["not_run"]
    locked = yaml.safe_load((project.root / "trtpipe.lock").read_text())["cells"]["net/fp32@ada"]
    assert locked["reach"]["network"] == "not proved: the spec says `run: false`"


@pytest.mark.slow
def test_without_validation_types_and_shapes_are_held_against_the_model_all_the_same(net):
    project = net(one_sided_spectrum())
    text = (project.root / "pipelines/net.yaml").read_text().split("validate:")[0]
    project.write("pipelines/net.yaml", text)

    done = project.run("build")

    assert done.code == 1
    assert "tensor 'spectrum' (node 'stft', STFT) is 1x15x9x2 instead of 1x15x16x2" in done.err


def test_what_the_parser_refuses_is_said_once_and_check_knows_it(net):
    project = net(refused())

    checked, built = project.run("check"), project.run("build", "--keep-going")

    assert checked.code == 2
    assert "does not build node 'pool' (MaxPool): dilations are [2, 2]" in checked.err
    assert (built.code, built.out.split(" in ")[0]) == (1, "built 0 engines, 1 failed, 2 not built")
    assert "does not build node 'pool' (MaxPool): dilations are [2, 2]" in built.err


def test_a_normalization_whose_mean_is_read_is_built_and_read_back(net):
    project = net(scaled_widely())

    built = project.run("build")

    assert built.code == 0, built.err
    assert reach_of(project)["network"] == "proved"


def test_what_no_rule_knows_the_parser_tells_check(net):
    project = net(identity_of_any_size())
    spec = (project.root / "pipelines/net.yaml").read_text()
    project.write("pipelines/net.yaml", f"{spec}profiles: [{{x: {{min: 1x4, opt: 2x4, max: 4x4}}}}]\n")

    asked, unasked = project.run("check"), project.run("check", "--no-parse")

    assert (asked.code, unasked.code) == (2, 0)
    assert "the parser of TensorRT refuses node 'eye' (EyeLike): " in asked.err


@pytest.mark.parametrize(
    ("readback", "told"),
    [
        ("{accept: [uint8-quantisation]}", "did you mean 'uint8-quantization'?"),
        ("{thresholds: [{output: nothing, metric: cosine, min: 0.9}]}", "matches no output of the model"),
        ("{run: maybe}", "run"),
        ("{bound: 1}", "unknown key 'bound'"),
    ],
)
def test_what_a_spec_gets_wrong_about_it_is_told_at_its_line(net, readback, told):
    project = net(plain(), f"  readback: {readback}\n")

    checked = project.run("check")

    assert checked.code == 2
    assert told in checked.err
    assert "pipelines/net.yaml:8:" in checked.err
