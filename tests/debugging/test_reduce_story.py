"""Engines that cannot be built, reduced to what TensorRT refuses or dies of."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import onnx
import pytest

from tests.debugging.failing_models import MXFP8_SPEC, crashing_mxfp8, make_project, needs_rtx
from trtpipe.app.debug.engine_trials import BuildTrials
from trtpipe.app.debug.reduce import Limits
from trtpipe.checks.cell_steps import CellSteps
from trtpipe.cli.debugging.reduce import reduce_command
from trtpipe.cli.debugging.repro import WhatToWrite, repro_command
from trtpipe.errors import SpecError

DOCS = Path(__file__).resolve().parents[2] / "docs" / "debugging.md"

pytestmark = [needs_rtx, pytest.mark.engine]


def reduced(project, output, monkeypatch, capsys, *, code=0, trials=None, seconds=None):
    monkeypatch.chdir(project)
    done = reduce_command("net/fp16", [], output=output, limits=Limits(trials, seconds), as_json=True)
    assert done == code
    return json.loads(capsys.readouterr().out)


def replayed(folder):
    return subprocess.run(
        [sys.executable, "worker.py", "request.json"], cwd=folder, env={}, capture_output=True, check=False
    )


def test_a_refused_node_is_found_and_stands_alone(refused, tmp_path, monkeypatch, capsys):
    found = reduced(refused, tmp_path / "small", monkeypatch, capsys)
    again = reduced(refused, tmp_path / "again", monkeypatch, capsys)

    assert found["nodes"] == [{"name": "pool", "op": "MaxPool"}]
    assert found["nodes_before"] > 15 and found["minimal"] and found["stopped_by"] is None
    assert found["failure"]["kind"] == "error" and "MaxPool" in found["failure"]["text"]
    assert again["trials"] == found["trials"] and again["trials_run"] == 0
    assert (tmp_path / "small" / "model.onnx").stat().st_size < 1000
    assert b"does not support dilations" in replayed(tmp_path / "small").stdout
    readme = (tmp_path / "small" / "README.md").read_text()
    assert f"1 of {found['nodes_before']} nodes are left, and none of them can be removed." in readme


def test_few_trials_leave_a_larger_model_and_say_so(refused, tmp_path, monkeypatch, capsys):
    found = reduced(refused, tmp_path / "small", monkeypatch, capsys, trials=4)

    assert found["trials"] == 4 and found["stopped_by"] == "4 trials" and not found["minimal"]
    assert "pool" in {node["name"] for node in found["nodes"]}
    assert 1 < len(found["nodes"]) < found["nodes_before"]


def test_no_time_at_all_leaves_the_whole(refused, tmp_path, monkeypatch, capsys):
    found = reduced(refused, tmp_path / "small", monkeypatch, capsys, seconds=0.0)

    assert found["stopped_by"] == "0 s" and len(found["nodes"]) == found["nodes_before"]


def test_what_the_documentation_shows_is_what_is_printed(refused, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    shown = re.findall(r"```console\n\$ trtpipe debug (\w+) net/fp16@ada\n(.*?)```", DOCS.read_text(), re.S)
    printed = {}

    specs = [str(refused / "pipelines")]
    assert reduce_command("net/fp16@ada", specs, output=None, limits=Limits(), as_json=False) == 0
    printed["reduce"] = capsys.readouterr().out
    assert (
        repro_command("net/fp16@ada", specs, what=WhatToWrite(None, "", random_weights=False), as_json=False)
        == 0
    )
    printed["repro"] = capsys.readouterr().out

    assert {command for command, _ in shown} == {"reduce", "repro"}
    for command, text in shown:
        assert as_shown(printed[command]) == as_shown(text)


def as_shown(text):
    """Without what another machine, or a second time, may print otherwise."""
    return re.sub(r"\d+ of them new|[\d.]+ KiB", "…", text)


def test_ctrl_c_leaves_the_best_so_far(refused, tmp_path, monkeypatch, capsys):
    own, calls = BuildTrials.failures, []

    def interrupted(self, candidate):
        calls.append(candidate)
        if len(calls) == 6:
            raise KeyboardInterrupt
        return own(self, candidate)

    monkeypatch.setattr(BuildTrials, "failures", interrupted)
    found = reduced(refused, tmp_path / "small", monkeypatch, capsys, code=130)

    assert found["stopped_by"] == "Ctrl-C"
    small = onnx.load(tmp_path / "small" / "model.onnx")
    assert "pool" in {node.name for node in small.graph.node}
    assert len(small.graph.node) < found["nodes_before"]


def test_what_builds_is_not_reduced(refused, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(CellSteps, "run", lambda self, *stages: None)

    with pytest.raises(SpecError, match="nothing to reduce"):
        reduced(refused, tmp_path / "small", monkeypatch, capsys)

    assert not (tmp_path / "small").exists()


@pytest.mark.slow
def test_a_crash_is_reduced_to_what_crashes(tmp_path, monkeypatch, capsys):
    project = make_project(tmp_path / "project", crashing_mxfp8(), MXFP8_SPEC)

    found = reduced(project, tmp_path / "small", monkeypatch, capsys)

    assert found["failure"] == {"kind": "crash", "text": "SIGSEGV"}
    ops = [node["op"] for node in found["nodes"]]
    assert ops[-1] == "Cast" and len(ops) <= 5
    assert replayed(tmp_path / "small").returncode == -11
