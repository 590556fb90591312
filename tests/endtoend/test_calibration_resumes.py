"""A calibration that is interrupted goes on where it was, in the next build, and gives the same bytes."""

from __future__ import annotations

import json
import signal
import time

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tests.endtoend.wholeness import survivors

WIDTH, LAYERS, SAMPLES = 1024, 5, 1500

SPEC = f"""\
schema: 1
pipeline: digits
model: {{source: models/wide.onnx}}
variants: {{int8: {{precision: int8, calibration: wide}}}}
profiles: [{{x: {{min: 1x{WIDTH}, opt: 1x{WIDTH}, max: 1x{WIDTH}}}}}]
targets: {{ada: {{gpu: sm89}}}}
"""


@pytest.fixture
def slow(project):
    """A project that takes several seconds to calibrate."""
    rng = np.random.default_rng(0)
    weights = [
        onnx.numpy_helper.from_array(rng.standard_normal((WIDTH, WIDTH), np.float32) / 32, f"w{i}")
        for i in range(LAYERS)
    ]
    nodes = [
        helper.make_node("MatMul", [f"t{i}" if i else "x", f"w{i}"], [f"t{i + 1}"]) for i in range(LAYERS)
    ]
    graph = helper.make_graph(
        nodes,
        "wide",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", WIDTH])],
        [helper.make_tensor_value_info(f"t{LAYERS}", TensorProto.FLOAT, ["n", WIDTH])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, project.root / "models/wide.onnx")
    np.save(project.root / "x.npy", rng.standard_normal((SAMPLES, WIDTH), np.float32))
    project.write("pipelines/digits.yaml", SPEC)
    project.write("calibration/wide.yaml", "schema: 1\nnpy: {x: x.npy}\n")
    return project


def progress_of(lines):
    return [event for event in map(json.loads, lines) if event["event"] == "calibrate"]


def stopped(project, number):
    """A build that got this signal once it had written down more than was there before; its events."""
    kept = project.root / ".trtpipe/store/tmp"
    before = {path: path.stat().st_mtime_ns for path in kept.glob("partial-*/counted")}
    process = project.start("build", "--json")
    deadline = time.monotonic() + 120
    while {path: path.stat().st_mtime_ns for path in kept.glob("partial-*/counted")} == before:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "nothing was written down"
        time.sleep(0.05)
    process.send_signal(number)
    out, _ = process.communicate(timeout=60)
    assert survivors(project.root) == []
    return progress_of(out.splitlines())


@pytest.mark.slow
def test_after_ctrl_c_and_after_kill_it_goes_on_and_gives_the_same_bytes(slow):
    first = stopped(slow, signal.SIGINT)
    second = stopped(slow, signal.SIGKILL)
    third = slow.run("build", "--json")

    assert third.code == 0, third.err
    last = progress_of(third.out.splitlines())
    assert first[0]["resumed"] == 0
    assert 0 < second[0]["resumed"] < last[0]["resumed"] < SAMPLES
    assert last[0]["done"] == last[0]["resumed"]
    assert (last[-1]["done"], last[-1]["total"]) == (SAMPLES, SAMPLES)
    assert not list((slow.root / ".trtpipe/store/tmp").glob("partial-*"))

    scales = (slow.root / "build/digits/int8@ada/scales.json").read_bytes()
    again = slow.run("build", "--force", "--json")
    assert progress_of(again.out.splitlines())[0]["resumed"] == 0
    assert (slow.root / "build/digits/int8@ada/scales.json").read_bytes() == scales


@pytest.mark.slow
def test_what_was_counted_for_another_action_is_not_taken(slow):
    stopped(slow, signal.SIGINT)
    slow.edit("pipelines/digits.yaml", "calibration: wide", "calibration: {data: wide, samples: 40}")

    done = slow.run("build", "--json")

    assert done.code == 0, done.err
    assert progress_of(done.out.splitlines())[0]["resumed"] == 0
