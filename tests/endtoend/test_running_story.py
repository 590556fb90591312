"""What was built is run and measured: the examples of docs/running.md, on a machine without a GPU for it."""

from __future__ import annotations

import json
import re
import shlex
import shutil

import numpy as np
import pytest
from typer.testing import CliRunner

from tests.projects import ROOT, SPEC, make_project
from trtpipe.app.engines.machine import Machine
from trtpipe.cli.main import app
from trtpipe.plan.ports import ActionResult
from trtpipe.stages.bodies import BODIES

BLOCKS = re.findall(r"```console\n(.*?)```", (ROOT / "docs" / "running.md").read_text(), re.S)
EXAMPLES = [line for block in BLOCKS for line in block.splitlines()]
QUICK = {"bench": ["--window", "0.02", "--within", "50", "--time-limit", "0.5"], "run": []}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    made = make_project(
        tmp_path_factory.mktemp("running") / "project", SPEC.replace("  ampere: {gpu: sm86}\n", "")
    )
    done = made.run("build")
    assert done.out.startswith("built 2 engines"), done.err
    shutil.copytree(ROOT / "calibration", made.root / "calibration")
    np.save(made.root / "image.npy", np.zeros((2, 1, 8, 8), np.float32))
    return made.root


def in_this_process(task, folder, control):
    """The body of a task without a process of its own, which takes longer to start than these models to run."""
    made = BODIES[task.stage](task)
    return ActionResult(made.files, made.summary)


@pytest.fixture
def command(project, monkeypatch):
    monkeypatch.chdir(project)
    nothing = Machine((), lambda flavour, version: pytest.fail("no engine runs here"))
    for module in ("run", "bench"):
        monkeypatch.setattr(f"trtpipe.app.engines.{module}.this_machine", lambda: nothing)
    monkeypatch.setattr("trtpipe.processes.stage_runs.run_in_child", in_this_process)
    return lambda *words: CliRunner().invoke(app, list(words))


def test_every_example_runs(command, project):
    assert len(EXAMPLES) >= 6
    for example in EXAMPLES:
        name, *words = shlex.split(example)[1:]
        if "old/bench.json" in words:
            (project / "old").mkdir()
            shutil.copy(project / "build/digits/fp16@ada/bench.json", project / "old")

        done = command(name, *words, *QUICK[name])

        assert done.exit_code == 0, f"{example}\n{done.output}"
        assert "typed model on the CPU" in done.stdout
        assert "needs sm89, this machine has no GPU" in done.output


def test_a_build_leaves_results_where_they_are_and_has_nothing_to_do(command, project):
    cell = project / "build" / "digits" / "fp32@ada"
    assert command("bench", "digits/fp32@ada", *QUICK["bench"]).exit_code == 0
    kept = (cell / "bench.json").read_bytes()

    done = command("build")

    assert (done.exit_code, done.stdout) == (0, "nothing to do\n")
    assert (cell / "bench.json").read_bytes() == kept


def test_a_directory_that_was_copied_away_is_all_that_is_needed(command, project, tmp_path, monkeypatch):
    shutil.copytree(project / "build" / "digits" / "fp16@ada", tmp_path / "fp16")
    monkeypatch.chdir(tmp_path)

    done = command("run", "fp16", "--random", "--json")

    record = json.loads(done.stdout)
    assert record["name"] == "digits/fp16@ada"
    assert record["outputs"][0]["shape"] == [16, 10]
