"""What `debug` writes for others to run, with anything in any place of its records: a sentence, or a result."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tests.damage import damages
from trtpipe.app.debug.repro import read_task
from trtpipe.errors import SpecError
from trtpipe.runners.comparison.partial_runs import replay

REDUCTION = {"output": "y", "threshold": {"metric": "max_abs", "min": None, "max": 1.0}, "value": 2.0}
INDEX = {"names": ["y"], "batches": 1, "samples": 2}


@pytest.fixture
def folder(tmp_path):
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 4]) for name in "xy"]
    node = helper.make_node("Neg", ["x"], ["y"])
    model = helper.make_model(
        helper.make_graph([node], "net", ends[:1], ends[1:]),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    onnx.save(model, tmp_path / "model.onnx")
    batch = tmp_path / "recorded" / "0"
    batch.mkdir(parents=True)
    np.save(batch / "in0.npy", np.ones((2, 4), np.float32))
    np.save(batch / "t0.npy", -np.ones((2, 4), np.float32))
    (batch / "inputs.json").write_text('["x"]')
    (tmp_path / "recorded" / "index.json").write_text(json.dumps(INDEX))
    (tmp_path / "reduction.json").write_text(json.dumps(REDUCTION))
    return tmp_path


@pytest.mark.parametrize(
    ("name", "good"),
    [("reduction.json", REDUCTION), ("recorded/index.json", INDEX), ("recorded/0/inputs.json", ["x"])],
)
def test_a_reduction_with_anything_in_any_place_is_refused_or_runs(folder, capsys, name, good):
    for damage in damages(good):
        (folder / name).write_text(damage.text)
        with damage.assert_raises_only():
            code = replay(folder)
            told = capsys.readouterr()
            assert bool(told.err) == (code == 2)


def test_a_tensor_that_is_cut_off_is_told(folder, capsys):
    path = folder / "recorded" / "0" / "t0.npy"
    for size in (0, 5, 20, len(path.read_bytes()) - 1):
        path.write_bytes(path.read_bytes()[:size])
        assert replay(folder) == 2
        assert "t0.npy' is damaged or missing" in capsys.readouterr().err


def test_a_task_with_anything_in_any_place_is_refused_or_read(tmp_path):
    good = {
        "stage": "validate",
        "options": {"x": 1},
        "inputs": {"model": {"a": "in/a"}},
        "out": "out",
        "local": {},
    }
    path = tmp_path / "task.json"
    for damage in damages(good):
        path.write_text(damage.text)
        with damage.assert_raises_only(SpecError):
            assert isinstance(read_task(path).out, Path)
