"""A failed step as a directory that fails the same anywhere, by one command."""

from __future__ import annotations

import getpass
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from typer.testing import CliRunner

from tests.debugging.failing_models import dilated_pooling, make_project, needs_rtx
from trtpipe.checks.cell_steps import CellSteps
from trtpipe.cli.debugging.repro import WhatToWrite, repro_command
from trtpipe.cli.main import app
from trtpipe.errors import SpecError
from trtpipe.reduction.random_weights import randomize_weights

ROOT = Path(__file__).resolve().parents[2]
REFUSAL = "does not support dilations"


def written(project, output, monkeypatch, capsys, **asked):
    monkeypatch.chdir(project)
    what = WhatToWrite(output, **{"stage": "", "random_weights": False, **asked})
    assert repro_command("net/fp16@ada", [], what=what, as_json=True) == 0
    return json.loads(capsys.readouterr().out)


@needs_rtx
@pytest.mark.engine
def test_a_refused_model_is_refused_elsewhere_by_one_command(refused, tmp_path, monkeypatch, capsys):
    made = written(refused, tmp_path / "repro", monkeypatch, capsys)
    assert made["stage"] == "build_engine"
    assert REFUSAL in made["failure"][0]
    assert made["command"] == "python worker.py request.json"
    (tmp_path / "repro").rename(tmp_path / "elsewhere")

    done = subprocess.run(
        [sys.executable, "worker.py", "request.json"],
        cwd=tmp_path / "elsewhere",
        env={},
        capture_output=True,
        text=True,
        check=False,
    )

    *_, error, result = map(json.loads, done.stdout.splitlines())
    assert done.returncode == 1 and not result["ok"]
    assert REFUSAL in error["details"][0]["reason"]


@needs_rtx
@pytest.mark.engine
def test_what_is_written_says_nothing_of_this_machine(refused, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SOME_TOKEN", "a-secret-value")

    written(refused, tmp_path / "repro", monkeypatch, capsys)

    for file in (tmp_path / "repro").iterdir():
        text = file.read_bytes().decode(errors="replace")
        for private in (str(refused), str(tmp_path), str(Path.home()) + "/", "a-secret-value"):
            assert private not in text, file.name
        assert file.name == "worker.py" or f"/{getpass.getuser()}/" not in text


@needs_rtx
@pytest.mark.engine
def test_random_weights_hide_the_models_own(refused, tmp_path, monkeypatch, capsys):
    made = written(refused, tmp_path / "repro", monkeypatch, capsys, random_weights=True)

    own = {one.name: one for one in onnx.load(refused / "models" / "net.onnx").graph.initializer}
    shared = {one.name: one for one in onnx.load(tmp_path / "repro" / "model.onnx").graph.initializer}
    assert made["fails_alike"]
    assert made["random_weights"] == len(own) == len(shared)
    for name, tensor in shared.items():
        before, now = numpy_helper.to_array(own[name]), numpy_helper.to_array(tensor)
        assert before.shape == now.shape and np.isfinite(now).all()
        assert not np.isclose(before, now, atol=1e-6).all()


def test_random_weights_keep_what_is_no_weight():
    model = dilated_pooling()
    scale = np.full(8, 0.5, np.float32)
    kept = [np.array([1, 2], np.int64), np.array(0.25, np.float32), np.zeros(8, np.int8)]
    model.graph.initializer.append(numpy_helper.from_array(scale, "scale"))
    model.graph.initializer.extend(numpy_helper.from_array(one, f"kept{i}") for i, one in enumerate(kept))
    again = onnx.ModelProto.FromString(model.SerializeToString())

    randomize_weights(model)
    randomize_weights(again)

    found = {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}
    assert (found["scale"] > 0).all() and not (found["scale"] == scale).any()
    assert all((found[f"kept{i}"] == one).all() for i, one in enumerate(kept))
    assert model == again


@pytest.mark.parametrize("name", ["BFLOAT16", "FLOAT8E4M3FN", "FLOAT8E5M2", "INT8", "INT4", "FLOAT4E2M1"])
def test_random_weights_of_every_narrow_type_are_finite(name):
    dtype = getattr(onnx.TensorProto, name)
    values = np.linspace(-4, 4, 64).reshape(8, 8).astype(onnx.helper.tensor_dtype_to_np_dtype(dtype))
    model = onnx.helper.make_model(
        onnx.helper.make_graph([], "g", [], [], [numpy_helper.from_array(values, "w")])
    )

    assert randomize_weights(model) == 1

    now = numpy_helper.to_array(model.graph.initializer[0])
    assert now.shape == (8, 8) and np.isfinite(now.astype(np.float32)).all()
    assert (now.astype(np.float32) != values.astype(np.float32)).any()


def test_a_step_before_the_engine_is_its_task_and_what_it_reads(tmp_path, monkeypatch, capsys):
    model = dilated_pooling(1)
    model.graph.node[0].input[0] = "nowhere"
    project = make_project(tmp_path / "project", model)

    made = written(project, tmp_path / "repro", monkeypatch, capsys)
    done = subprocess.run(
        [sys.executable, "run.py"],
        cwd=tmp_path / "repro",
        env={"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )

    assert made["stage"] == "import" and made["command"] == "python run.py"
    assert "nowhere" in made["failure"][0]
    assert done.returncode == 2
    assert done.stderr.strip() == "\n".join(made["failure"])


@pytest.mark.parametrize(
    ("asked", "fact"),
    [
        ({"stage": "impor"}, "no stage 'impor'"),
        ({"stage": "import", "random_weights": True}, "--random-weights is for an engine's model"),
    ],
    ids=["no such stage", "weights of another step"],
)
def test_what_cannot_be_reproduced_is_told_with_a_remedy(refused, tmp_path, monkeypatch, capsys, asked, fact):
    with pytest.raises(SpecError, match=fact) as told:
        written(refused, tmp_path / "repro", monkeypatch, capsys, **asked)

    assert told.value.problems[0].remedy
    assert not (tmp_path / "repro").exists()


def test_a_directory_with_something_in_it_is_left_alone(refused, tmp_path, monkeypatch, capsys):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").write_text("mine")

    with pytest.raises(SpecError, match="exists already"):
        written(refused, tmp_path / "mine", monkeypatch, capsys)

    assert [one.name for one in (tmp_path / "mine").iterdir()] == ["file"]


def test_a_place_that_cannot_be_written_is_told_before_any_work(refused, tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(CellSteps, "run", lambda self, *stages: pytest.fail("it ran"))

    with pytest.raises(SpecError, match=r"cannot write '.*file/repro': not a directory"):
        written(refused, tmp_path / "file" / "repro", monkeypatch, capsys)


def test_debug_takes_a_cell_a_command_or_an_option_first():
    def helped(*args):
        return CliRunner().invoke(app, ["debug", *args, "--help"]).stdout

    assert "fewest nodes" in helped("net/fp16") and "fewest nodes" in helped("--json", "net/fp16")
    assert helped("precision") == helped("net/fp16")
    assert "smallest part" in helped("reduce") and "reproduces it" in helped("repro")
    assert all(name in helped() for name in ("precision", "compare", "reduce", "repro"))
    wrong = CliRunner().invoke(app, ["debug", "redcue", "net/fp16"])
    assert wrong.exit_code == 2 and "No such command 'redcue'" in wrong.output
