"""ONNX Runtime's telemetry is off in every process of ours: no identifier on disk, nothing sent."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LOAD = "import onnxruntime as o; o.InferenceSession({model!r}, providers=['CPUExecutionProvider'])"


def files_left(tmp_path, command, **variables):
    """What a process leaves in its home and in its directory for temporary files."""
    home, temporary = tmp_path / "home", tmp_path / "tmp"
    for folder in (home, temporary):
        folder.mkdir()
    passed = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    environment = {
        **passed,
        "HOME": str(home),
        "TMPDIR": str(temporary),
        "PYTHONPATH": str(ROOT),
        **variables,
    }
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = (*home.rglob("*"), *temporary.rglob("*"))
    return [str(path) for path in found if "Microsoft" in str(path) or path.name.endswith(".ses")]


def test_loading_a_model_leaves_nothing_behind(tmp_path):
    model = str(ROOT / "pipelines/models/digits_cnn.onnx")

    assert files_left(tmp_path, [sys.executable, "-c", "import trtpipe; " + LOAD.format(model=model)]) == []


@pytest.mark.engine
def test_the_processes_of_a_build_leave_nothing_behind(tmp_path):
    pytest.importorskip("tensorrt_rtx", reason="not run: needs a tensorrt_rtx wheel")
    for name in ("pipelines", "calibration"):
        shutil.copytree(ROOT / name, tmp_path / name)

    command = [sys.executable, "-m", "trtpipe", "build", "pipelines/digits_caffe.yaml"]

    assert files_left(tmp_path, command) == []


@pytest.mark.parametrize("value", ["0", "1"])
def test_whoever_set_the_variable_is_heeded(value):
    command = [sys.executable, "-c", "import os, trtpipe; print(os.environ['ORT_DISABLE_TELEMETRY'])"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "ORT_DISABLE_TELEMETRY": value}

    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)

    assert done.stdout.strip() == value
