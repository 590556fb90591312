"""One thing changes: exactly the steps that must run do, each for the right reason, and then there is nothing to do."""

from __future__ import annotations

import itertools
import json
import os
import shutil

import numpy as np
import pytest

from tests.endtoend.test_build_stories import change_a_weight
from tests.projects import ROOT, Project, make_project
from trtpipe.toolchains.installed import installed_toolchain

SPEC, DATA = "pipelines/digits.yaml", "calibration/digits-val.yaml"
TEXT = """\
schema: 1
pipeline: digits
model: {source: models/digits.onnx}
variants:
  fp32: {}
profiles:
  - image: {min: 1x1x8x8, opt: 16x1x8x8, max: 64x1x8x8}
targets:
  ada: {gpu: rtx4090}
builder: {workspace: 1GiB, tf32: true}
validate: {data: digits-val, corners: false, samples: 16}
"""
IMPORT, QUANTIZE = "digits:import", "digits/fp32:quantize"
BUILD, VALIDATE = "digits/fp32@ada:build_engine", "digits/fp32:validate"
TENSORRT = f"tensorrt_rtx-{installed_toolchain('tensorrt_rtx').version}"
PARSE, READBACK = f"digits/fp32@{TENSORRT}:parse", f"digits/fp32@{TENSORRT}:readback"


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    """One cell, validated on real data."""
    project = make_project(tmp_path_factory.mktemp("one") / "project", TEXT)
    shutil.copytree(ROOT / "calibration", project.root / "calibration")
    done = project.run("build")
    assert done.code == 0, done.err
    return project


@pytest.fixture
def mine(one, tmp_path):
    shutil.copytree(one.root, tmp_path / "mine", symlinks=True)
    project = Project(tmp_path / "mine")
    assert project.run("build").code == 0  # a copy has other inodes: deliver once
    return project


def change_a_sample(project):
    path = project.root / "calibration" / "digits" / "val.npz"
    with np.load(path) as archive:
        arrays = {name: array.copy() for name, array in archive.items()}
    arrays["image"][3] = arrays["image"][4]
    np.savez(path, **arrays)


RUNS = {
    "a weight": (
        change_a_weight,
        {
            IMPORT: ["inputs.source.model.onnx"],
            QUANTIZE: ["inputs.model.model.onnx"],
            PARSE: ["inputs.model.model.onnx"],
            BUILD: ["inputs.model.model.onnx"],
            READBACK: [
                "inputs.network.parsed.weights",
                "inputs.outputs.typed.npz",
                "inputs.typed.model.onnx",
            ],
            VALIDATE: ["inputs.reference.model.onnx", "inputs.typed.model.onnx"],
        },
    ),
    "a sample": (
        change_a_sample,
        {
            VALIDATE: ["inputs.data.calibration/digits/val.npz"],
            READBACK: ["inputs.data.calibration/digits/val.npz", "inputs.outputs.typed.npz"],
        },
    ),
    "a profile": (
        lambda p: p.edit(SPEC, "opt: 16x1x8x8", "opt: 8x1x8x8"),
        {
            BUILD: ["options.profiles[0].image.opt"],
            VALIDATE: ["options.profiles[0].image.opt"],
            READBACK: ["options.profiles[0].image.opt"],
        },
    ),
    "an option": (lambda p: p.edit(SPEC, "tf32: true", "tf32: false"), {BUILD: ["options.builder.tf32"]}),
}


@pytest.mark.parametrize("what", RUNS)
def test_one_change_runs_what_must_run_for_the_right_reason(mine, what):
    change, expected = RUNS[what]
    change(mine)

    built = mine.run("build", "--json")

    assert built.code == 0, built.err
    started = {event["address"]: event["reason"] for event in built.events if event["event"] == "start"}
    fields = {address: [one["field"] for one in why["changes"]] for address, why in started.items()}
    assert fields == expected
    assert built.ran == sorted(expected)
    assert mine.run("build").out == "nothing to do\n"


def other_order(project):
    blocks = TEXT.replace("{workspace: 1GiB, tf32: true}", "{tf32: true, workspace: 1GiB}").splitlines(True)
    head, rest = blocks[:1], blocks[1:]
    tops = [index for index, line in enumerate(rest) if not line.startswith(" ")] + [len(rest)]
    parts = [rest[start:end] for start, end in itertools.pairwise(tops)]
    project.write(SPEC, "".join([*head, *(line for part in reversed(parts) for line in part)]))


def touch_everything(project):
    for path in (SPEC, DATA, "models/digits.onnx", "calibration/digits/val.npz"):
        os.utime(project.root / path, (1, 1))


NOTHING = {
    "a comment": lambda p: p.edit(SPEC, "schema: 1", "# Said again.\nschema: 1  # here too"),
    "an option set to its default": lambda p: p.edit(
        SPEC, "tf32: true", "tf32: true, optimization_level: 3, weight_streaming: false"
    ),
    "a variant spelled out": lambda p: p.edit(SPEC, "fp32: {}", "fp32: {precision: fp32, keep: {}}"),
    "the times of files": touch_everything,
    "the order of keys": other_order,
    "another name of the same gpu": lambda p: p.edit(SPEC, "{gpu: rtx4090}", "{gpu: [rtx4090]}"),
}


@pytest.mark.parametrize("what", NOTHING)
def test_what_does_not_matter_leaves_nothing_to_do(mine, what):
    NOTHING[what](mine)

    assert mine.run("build").out == "nothing to do\n"


def test_a_project_that_moved_has_nothing_to_do(mine, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    moved = mine.root.rename(tmp_path / "elsewhere" / "of another name")

    assert Project(moved).run("build").out == "nothing to do\n"


def test_another_patch_version_of_the_toolchain_parses_and_builds_again(mine):
    """Planned, not built: the other version would have to be installed. The change taken back, nothing is to do."""
    mine.edit(SPEC, "ada: {gpu: rtx4090}", "ada: {gpu: rtx4090, toolchain: next}")
    with (mine.root / SPEC).open("a") as file:
        file.write('toolchains: {next: {flavour: tensorrt_rtx, version: "1.6.1.120"}}\n')

    steps = {step["address"]: step for step in json.loads(mine.run("plan", "--json").out)["steps"]}
    mine.write(SPEC, TEXT)

    other = [f"digits/fp32@tensorrt_rtx-1.6.1.120:{stage}" for stage in ("parse", "readback")]
    assert {name for name, step in steps.items() if step["decision"] != "up_to_date"} == {BUILD, *other}
    assert "tools.toolchain.version" in [one["field"] for one in steps[BUILD]["reason"]["changes"]]
    assert mine.run("build").out == "nothing to do\n"
