"""The run of a model for its first spec: every tensor is gauged, and none is held for that."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx

from trtpipe.runners.cpu.graphs import RunnableModel
from trtpipe.runners.cpu.onnxruntime import open_runner
from trtpipe.stages.first_runs import _NAN, _PEAK, _measured

TEXT = '<ir_version: 8, opset_import: ["" : 17]> g (float[4] x) => (float[4] y) { a = Neg (x) b = Log (a) y = Exp (b) }'


def measured(what: str) -> RunnableModel:
    model = RunnableModel(onnx.parser.parse_model(TEXT), Path(), Path("model.onnx"))
    return _measured(model, ["x", "a", "b", "y"], what)


def test_a_tensor_is_gauged_right_behind_the_node_that_makes_it():
    """Behind the last node, every tensor of the model would be held until then: a GiB for a network of images."""
    nodes = [node.op_type for node in measured(_PEAK).proto.graph.node]

    assert nodes == [
        "Abs", "ReduceMax", "Neg", "Abs", "ReduceMax", "Log", "Abs", "ReduceMax", "Exp", "Abs", "ReduceMax",
    ]  # fmt: skip


def test_the_gauges_tell_the_largest_magnitudes_and_where_nan_is():
    x = np.float32([-1, -8, -2, 4])
    with open_runner(measured(_PEAK)) as runner:
        peaks = runner.infer({"x": np.minimum(x, -1)})
    with open_runner(measured(_NAN)) as runner:
        broken = runner.infer({"x": x})

    assert [float(peaks[f"{name}{_PEAK}"]) for name in "xa"] == [8, 8]
    assert np.isclose(peaks[f"b{_PEAK}"], np.log(8))
    assert [float(broken[f"{name}{_NAN}"]) for name in "xaby"] == [0, 0, 1, 1]
