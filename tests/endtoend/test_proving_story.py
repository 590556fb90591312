"""From a build to a proven engine: what a build leaves for a GPU machine, and what it makes of the proof it gets back.

No GPU runs here: the typed model answers in the engine's place, as if it were one.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

from tests.projects import SPEC, Project, make_project
from trtpipe.app.prove import golden, validate
from trtpipe.app.prove.golden import Recording
from trtpipe.app.prove.proposed_thresholds import Noise
from trtpipe.app.prove.validate import HowToValidate
from trtpipe.cli.validate import golden_command, propose_command, validate_command
from trtpipe.errors import SpecError, ToolchainError
from trtpipe.runners.cpu.onnxruntime import open_runner
from trtpipe.runners.inference.results import GpuFacts
from trtpipe.runners.validation import validate_engine
from trtpipe.runners.validation.recordings import read_recording
from trtpipe.targets.compute_capability import ComputeCapability
from trtpipe.toolchains.detect import DetectedGpu
from trtpipe.workspace.target_facts import TargetResolver

CELL = "digits/fp16@ada"
PROVEN = (
    SPEC.replace("  fp32: {}\n", "").replace("  ampere: {gpu: sm86}\n", "")
    + "validate:\n  random: {seed: 1, samples: 3}\n  thresholds: [{metric: cosine, min: 0.99}]\n"
)


@pytest.fixture(scope="module")
def proven(tmp_path_factory):
    project = make_project(tmp_path_factory.mktemp("proven") / "project", PROVEN)
    done = project.run("build")
    assert done.code == 0, done.err
    return project


@pytest.fixture
def project(proven, tmp_path, monkeypatch):
    shutil.copytree(proven.root, tmp_path / "copy", symlinks=True)
    monkeypatch.chdir(tmp_path / "copy")
    return Project(tmp_path / "copy")


@pytest.fixture
def a_gpu(monkeypatch):
    """An L4 on which engines compute what their typed models do, times `factor`."""
    found = {"factor": 1.0}

    def infer(self, feeds):
        self.gpu = GpuFacts(0, "NVIDIA L4", "sm89", "13.0", 24 << 30, 20 << 30)
        self.tensorrt = "1.7.1.116"
        with open_runner(self.delivered.engine.path.with_name("model.onnx")) as runner:
            outputs = [runner.infer(feed.inputs) for feed in feeds]
        return [
            {name: np.flip(a, -1) if found["factor"] < 0 else a for name, a in one.items()} for one in outputs
        ]

    here = (DetectedGpu(0, "NVIDIA L4", ComputeCapability(8, 9)),)
    monkeypatch.setattr(validate_engine.GpuEngine, "__call__", infer)
    monkeypatch.setattr(validate, "TargetResolver", lambda: TargetResolver(_here=here))
    return found


def lock(project):
    return (project.root / "trtpipe.lock").read_text()


def cell_folder(project):
    return project.root / "build" / CELL


def test_a_build_leaves_samples_and_thresholds_and_says_that_nothing_ran_on_a_gpu(proven):
    (run, *_) = runs = read_recording(cell_folder(proven) / "golden.npz")
    manifest = proven.manifest("fp16@ada")

    assert len(runs) == 3 and run.inputs["image"].dtype == np.float32
    assert list(run.outputs) == ["logits"]
    assert manifest["validation"]["thresholds"] == [
        {"output": "*", "metric": "cosine", "min": 0.99, "max": None}
    ]
    assert "run_on_gpu: not run" in lock(proven)
    assert manifest["not_run"][0].startswith("the engine on a GPU: needs sm89")


def test_a_proof_goes_into_the_lockfile_and_the_manifest(project, a_gpu, capsys):
    assert validate_command([CELL], HowToValidate(), as_json=False) == 0
    assert f"{CELL}: passed on NVIDIA L4 (sm89)" in capsys.readouterr().out

    assert "run_on_gpu: NVIDIA L4 (sm89)" in lock(project)
    manifest = project.manifest("fp16@ada")
    assert manifest["run_on_gpu"]["outcome"] == "passed"
    assert not any("on a GPU" in text for text in manifest["not_run"])
    assert project.run("build").out == "nothing to do\n"


def test_a_proof_that_comes_back_from_another_machine_is_picked_up_by_the_next_build(
    project, a_gpu, tmp_path
):
    project.run("build")  # a copy has other inodes: deliver once
    away = tmp_path / "away"
    shutil.copytree(cell_folder(project), away)
    assert validate_command([str(away)], HowToValidate(), as_json=False) == 0
    assert "run_on_gpu: not run" in lock(project)

    shutil.copy(away / "proof.json", cell_folder(project))
    done = project.run("build")

    assert done.code == 0
    assert f"restored {CELL}" in done.err and "run on NVIDIA L4 (sm89)" in done.err
    assert "run_on_gpu: NVIDIA L4 (sm89)" in lock(project)

    (cell_folder(project) / "proof.json").unlink()
    project.run("build")
    assert "run_on_gpu: not run" in lock(project)


def test_a_proof_of_another_engine_is_ignored_with_a_word(project, a_gpu):
    validate_command([CELL], HowToValidate(), as_json=False)
    path = cell_folder(project) / "proof.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "engine": "0" * 64}))

    done = project.run("build")

    assert done.code == 0
    assert "proof.json belongs to another engine and is ignored: validate the engine again" in done.err
    assert "run_on_gpu: not run" in lock(project)


def test_an_engine_that_fails_on_the_gpu_fails_the_next_build_until_its_thresholds_are_met(
    project, a_gpu, capsys
):
    a_gpu["factor"] = -1.0
    assert validate_command([CELL], HowToValidate(), as_json=False) == 1
    told = capsys.readouterr().out
    assert "output 'logits' has cosine" in told and "(profile 0 at max)" in told
    assert (project.root / ".trtpipe/failed" / CELL / "data.npz").exists()

    done = project.run("build")
    assert done.code == 1
    assert "on NVIDIA L4 (sm89): output 'logits' has cosine" in done.err
    assert "run_on_gpu: NVIDIA" not in lock(project)

    project.edit("pipelines/digits.yaml", "min: 0.99}", "min: -1}")
    assert project.run("build").code == 0
    assert "run_on_gpu: NVIDIA L4 (sm89)" in lock(project)


def test_what_fails_in_a_build_is_kept_for_replay_and_cleared_when_it_passes(project):
    project.edit("pipelines/digits.yaml", "min: 0.99}", "min: 0.99999999999}")

    done = project.run("build")

    kept = project.root / ".trtpipe/failed/digits/fp16/data.npz"
    assert done.code == 1
    assert str(kept.relative_to(project.root)) in done.err
    (run,) = read_recording(kept)
    assert run.inputs["image"].shape[0] == 1 and set(run.outputs) == set(run.got) == {"logits"}

    project.edit("pipelines/digits.yaml", "min: 0.99999999999}", "min: 0.99}")
    assert project.run("build").code == 0
    assert not kept.exists()


def record(*, engine=False, force=False, output=None, samples=32):
    return golden_command(
        Recording("digits/fp16", output, engine, samples, force), HowToValidate(), as_json=False
    )


def test_golden_outputs_are_recorded_once_and_a_spec_compares_with_them(project, capsys):
    assert record() == 0
    told = capsys.readouterr().out
    assert told == (
        "recorded 32 samples of the reference in golden/digits.npz; to compare with them:\n"
        "validate:\n  reference: {golden: golden/digits.npz}\n"
    )
    with pytest.raises(SpecError, match=r"golden/digits\.npz exists already"):
        record()
    assert record(force=True, samples=1) == 0
    assert len(read_recording(project.root / "golden/digits.npz")) == 1

    project.edit(
        "pipelines/digits.yaml", "validate:\n", "validate:\n  reference: {golden: golden/digits.npz}\n"
    )
    done = project.run("build")

    assert done.code == 0, done.err
    assert {one["place"] for one in project.manifest("fp16@ada")["validation"]["verdicts"]} == {"golden"}
    with pytest.raises(SpecError, match="is a recording already"):
        record(force=True)


def test_what_an_engine_gives_is_recorded_where_its_gpu_is(project, a_gpu, monkeypatch, capsys):
    with pytest.raises(ToolchainError, match="not run: needs sm89, this machine has no GPU"):
        record(engine=True)
    monkeypatch.setattr(golden, "TargetResolver", validate.TargetResolver)
    a_gpu["factor"] = -1.0

    assert record(engine=True, output=Path("golden/flipped.npz")) == 0

    assert "of the engine on NVIDIA L4 (sm89) in golden/flipped.npz" in capsys.readouterr().out
    (run, _) = read_recording(project.root / "golden/flipped.npz")
    (reference, *_) = read_recording(cell_folder(project) / "golden.npz")
    assert np.array_equal(run.inputs["image"], reference.inputs["image"])
    assert np.abs(run.outputs["logits"][:, ::-1] - reference.outputs["logits"]).max() < 0.1


@pytest.mark.parametrize(
    ("name", "why"), [("/tmp/a.npz", "outside the project"), ("a.txt", "not an .npz"), (".", "not an .npz")]
)
def test_a_recording_goes_into_the_project_or_nowhere(project, name, why):
    with pytest.raises(SpecError, match=why):
        record(output=Path(name))


@pytest.mark.slow
def test_another_variant_is_the_reference(project):
    """Its typed model is made for that, its engine is not; a change of it validates again."""
    project.edit("pipelines/digits.yaml", "variants:\n", "variants:\n  fp32: {}\n")
    project.edit("pipelines/digits.yaml", "validate:\n", "validate:\n  reference: {variant: fp32}\n")

    done = project.run("build", "--json", "--only", CELL)

    assert done.code == 0, done.err
    assert done.ran == ["digits/fp16:validate", "digits/fp32:quantize"]
    manifest = project.manifest("fp16@ada")
    reference = manifest["steps"]["validate"]["fingerprint"]["inputs"]["reference"]["model.onnx"]
    assert reference != manifest["steps"]["import"]["fingerprint"]["inputs"]["source"]["model.onnx"]
    found = json.loads(project.run("sensitivity", CELL, "--samples", "1", "--json").out)
    assert found["none_lowered"] == pytest.approx(1)

    project.edit("pipelines/digits.yaml", "fp32: {}", "fp32: {precision: fp16}")
    again = project.run("build", "--json", "--only", CELL)
    assert again.ran == ["digits/fp16:validate"]  # the same typed model was made before
    verdicts = project.manifest("fp16@ada")["validation"]["verdicts"]
    assert all(one["value"] == pytest.approx(1) for one in verdicts)


def test_thresholds_are_proposed_as_lines_to_paste(project, capsys):
    def propose(*cells, as_json=False):
        return propose_command(cells, Noise(2, 5, 3.0), offline=False, as_json=as_json)

    assert propose("digits/fp16") == 0
    told = capsys.readouterr().out
    lines = yaml.safe_load(told)["validate"]["thresholds"]
    assert [(one["output"], one["metric"]) for one in lines] == [("logits", "snr"), ("logits", "max_abs")]
    assert told.endswith(f"# {CELL} meets them\n")
    assert propose(CELL, as_json=True) == 0
    assert json.loads(capsys.readouterr().out)["thresholds"] == lines

    spec = "".join(f"    - {json.dumps(one)}\n" for one in lines)
    project.edit(
        "pipelines/digits.yaml", "  thresholds: [{metric: cosine, min: 0.99}]\n", f"  thresholds:\n{spec}"
    )
    assert project.run("build").code == 0
    for cells in ([], ["a", "b"], ["digits/none"]):
        with pytest.raises(SpecError):
            propose(*cells)


def test_a_reference_in_float64_says_where_it_is_not(project):
    project.edit("pipelines/digits.yaml", "validate:\n", "validate:\n  reference: float64\n")

    done = project.run("build")

    assert done.code == 0, done.err
    manifest = project.manifest("fp16@ada")
    assert any(text.startswith("float64 in Conv of the reference:") for text in manifest["not_run"])
    (run, *_) = read_recording(cell_folder(project) / "golden.npz")
    assert run.outputs["logits"].dtype == np.float64
