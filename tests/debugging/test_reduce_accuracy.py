"""A missed threshold, reduced to the part of the typed model that misses it on exact inputs."""

from __future__ import annotations

import json

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.debugging.failing_models import make_project, needs_rtx
from trtpipe.app.debug import reduce_accuracy as reducing_accuracy
from trtpipe.app.debug.reduce import Limits
from trtpipe.app.debug.reduce_accuracy import reduce_accuracy, write_accuracy_reduction
from trtpipe.building.silent import Unheard
from trtpipe.checks.cell_steps import open_cell
from trtpipe.errors import SpecError
from trtpipe.plan.ports import ActionResult
from trtpipe.runners.comparison.partial_runs import replay
from trtpipe.stages.bodies import BODIES

pytestmark = needs_rtx

SPEC = """\
schema: 1
pipeline: net
model: {source: models/net.onnx}
variants: {fp16: {precision: fp16}}
profiles:
  - x: {min: 1x16, opt: 4x16, max: 8x16}
targets: {ada: {gpu: sm89}}
validate: {random: {seed: 0, samples: 8}, corners: false, thresholds: [{metric: cosine, min: 0.9999}]}
"""


def cancelling():
    """Layers of which the third loses most of its bits in float16: it adds 256 and takes it away again."""
    rng = np.random.default_rng(3)
    weights, nodes, x = [numpy_helper.from_array(np.array(256, np.float32), "big")], [], "x"
    for i in range(4):
        weights.append(numpy_helper.from_array(rng.normal(0, 0.3, (16, 16)).astype(np.float32), f"w{i}"))
        nodes.append(helper.make_node("MatMul", [x, f"w{i}"], [f"m{i}"], f"product{i}"))
        nodes.append(helper.make_node("Tanh", [f"m{i}"], [f"t{i}"], f"tanh{i}"))
        x = f"t{i}"
        if i == 2:
            nodes.append(helper.make_node("Add", [x, "big"], ["up"], "up"))
            nodes.append(helper.make_node("Sub", ["up", "big"], ["down"], "down"))
            x = "down"
    nodes.append(helper.make_node("Softsign", [x], ["y"], "last"))
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 16]) for name in "xy"]
    graph = helper.make_graph(nodes, "net", ends[:1], ends[1:], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return make_project(tmp_path_factory.mktemp("cancelling") / "project", cancelling(), SPEC)


@pytest.fixture
def in_this_process(monkeypatch):
    """Trials without a process each: what they run is the same."""

    def here(task, folder, control, tick=None):
        return ActionResult({}, json.loads(json.dumps(BODIES[task.stage](task).summary)))

    monkeypatch.setattr(reducing_accuracy, "run_in_child", here)


def reduced(project, output, monkeypatch, limits=None):
    monkeypatch.chdir(project)
    with open_cell("net/fp16", [], Unheard()) as steps:
        found = reduce_accuracy(steps, limits or Limits())
        write_accuracy_reduction(steps, found, output)
    return found


@pytest.mark.usefixtures("in_this_process")
def test_what_loses_the_accuracy_is_left_and_replays(project, tmp_path, monkeypatch, capsys):
    found = reduced(project, tmp_path / "small", monkeypatch)

    nodes = [node.name for node in found.reduced.candidate.model.graph.node]
    assert found.reduced.minimal and found.output == "y" and found.batches == 1
    assert "down" in nodes and not {"product0", "product1", "product2", "tanh0", "tanh1", "tanh2"} & set(
        nodes
    )
    assert found.value < 0.9999
    assert (tmp_path / "small" / "run.py").exists()
    assert replay(tmp_path / "small") == 1
    assert capsys.readouterr().out == f"y: cosine {found.value:.6g}: failed\n"


@pytest.mark.usefixtures("in_this_process")
def test_a_looser_threshold_passes_when_it_is_replayed(project, tmp_path, monkeypatch, capsys):
    reduced(project, tmp_path / "small", monkeypatch)
    record = json.loads((tmp_path / "small" / "reduction.json").read_text())
    record["threshold"]["min"] = 0.1
    (tmp_path / "small" / "reduction.json").write_text(json.dumps(record))

    assert replay(tmp_path / "small") == 0
    assert capsys.readouterr().out.endswith(": passed\n")


@pytest.mark.usefixtures("in_this_process")
def test_few_trials_leave_a_larger_part_and_say_so(project, tmp_path, monkeypatch):
    found = reduced(project, tmp_path / "small", monkeypatch, Limits(trials=2))

    assert found.reduced.stopped_by == "2 trials" and not found.reduced.minimal
    assert replay(tmp_path / "small") == 1


@pytest.mark.usefixtures("in_this_process")
def test_a_cell_that_misses_nothing_is_told_so(tmp_path, monkeypatch):
    make_project(tmp_path / "fine", cancelling(), SPEC.replace("0.9999", "0.1"))

    with pytest.raises(SpecError, match="no threshold is missed"):
        reduced(tmp_path / "fine", tmp_path / "small", monkeypatch)


@pytest.mark.slow
def test_a_trial_has_a_process_of_its_own(project, tmp_path, monkeypatch):
    found = reduced(project, tmp_path / "small", monkeypatch, Limits(trials=3))

    assert found.reduced.trials == 3
