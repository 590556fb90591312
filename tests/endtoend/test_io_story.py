"""Inputs and outputs in the variant's own type: fed, compared, built and told as such; a bf16 proof says what ran."""

from __future__ import annotations

import json
import shutil

import pytest

from tests.projects import ROOT

VARIANTS = """\
  half: {precision: fp16, io: convert}
  brain: {precision: bf16, io: {"*": convert, logits: keep}}
  small: {precision: int8, calibration: digits-calib, io: convert}
"""


@pytest.fixture(scope="module")
def narrow(tmp_path_factory):
    from tests.projects import make_project

    project = make_project(tmp_path_factory.mktemp("io") / "project")
    shutil.copytree(ROOT / "calibration", project.root / "calibration")
    project.edit("pipelines/digits.yaml", "  fp32: {}\n  fp16: {precision: fp16}\n", VARIANTS)
    project.edit("pipelines/digits.yaml", "  ampere: {gpu: sm86}\n", "")
    with (project.root / "pipelines/digits.yaml").open("a") as file:
        file.write("validate: {data: digits-val, thresholds: [{metric: accuracy, min: 0.98}]}\n")
    done = project.run("build")
    assert done.code == 0, done.err
    return project, done


def test_engines_have_the_types_that_were_chosen(narrow):
    project, _ = narrow
    types = {
        variant: {one["name"]: one["dtype"] for one in project.manifest(f"{variant}@ada")["io"]}
        for variant in ("half", "brain", "small")
    }

    assert types["half"] == types["small"] == {"image": "float16", "logits": "float16"}
    assert types["brain"] == {"image": "bfloat16", "logits": "float32"}


def test_float32_data_are_fed_rounded_and_compared_at_every_corner(narrow):
    project, _ = narrow

    for variant in ("half", "brain", "small"):
        validation = project.manifest(f"{variant}@ada")["validation"]
        report = json.loads((project.root / f"build/digits/{variant}@ada/validation.json").read_bytes())

        assert validation["accuracy"] >= 0.98
        assert validation["outcome"] == "passed"
        assert {place["kind"] for place in report["places"]} == {"data", "corner"}
        assert not report["not_run"]


def test_a_bf16_proof_says_that_a_twin_ran(narrow):
    project, done = narrow
    twin = "a float32 twin that rounds to bfloat16"

    assert project.manifest("brain@ada")["validation"]["twins"] == {"bfloat16": twin}
    assert project.manifest("half@ada")["validation"]["twins"] == {}
    summary = (project.root / "build/digits/brain@ada/summary.md").read_text()
    assert f"run on the CPU: {twin}, for ONNX Runtime has no kernels for bfloat16 there" in summary
    assert f"validated on the CPU up to TensorRT's network, as {twin}, accuracy" in done.err
    assert done.err.count("twin") == 1


def test_check_names_a_border_that_is_not_there(narrow, tmp_path):
    project, _ = narrow
    shutil.copytree(project.root, tmp_path / "copy", symlinks=True)
    copy = type(project)(tmp_path / "copy", dict(project.env))
    copy.edit("pipelines/digits.yaml", "logits: keep", "logit: keep")

    done = copy.run("check")

    assert done.code == 2
    assert "no input or output is called 'logit'" in done.err
    assert "did you mean 'logits'?" in done.err
    assert "pipelines/digits.yaml:" in done.err
