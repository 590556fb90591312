"""What data, preprocessing, thresholds, transforms and plugins change: which step runs, and for which reason."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from trtpipe.toolchains.installed import installed_toolchain

ROOT = Path(__file__).resolve().parents[2]
SPEC = "pipelines/digits.yaml"
DATA = "calibration/digits-val.yaml"
VALIDATIONS = {"digits/fp32:validate", "digits/fp16:validate"}
BUILDS = {"digits/fp32@ada:build_engine", "digits/fp16@ada:build_engine"}
TENSORRT = f"tensorrt_rtx-{installed_toolchain('tensorrt_rtx').version}"
PARSES = {f"digits/fp32@{TENSORRT}:parse", f"digits/fp16@{TENSORRT}:parse"}


@pytest.fixture(scope="module")
def demo(new_project, tmp_path_factory):
    """The demo of the README for one GPU, built."""
    project = new_project(tmp_path_factory.mktemp("demo") / "project")
    shutil.copytree(ROOT / "calibration", project.root / "calibration")
    shutil.copytree(ROOT / "pipelines" / "models", project.root / "pipelines" / "models")
    text = (ROOT / SPEC).read_text()
    for line in ("  ampere: {gpu: sm86}\n", "  blackwell: {gpu: sm120}\n"):
        assert line in text
        text = text.replace(line, "")
    project.write(SPEC, "\n".join(line for line in text.splitlines() if "desktop:" not in line) + "\n")
    done = project.run("build")
    assert done.code == 0, done.err
    return project


@pytest.fixture
def changed(demo, tmp_path):
    shutil.copytree(demo.root, tmp_path / "copy", symlinks=True)
    return type(demo)(tmp_path / "copy")


def reverse_the_samples(project):
    path = project.root / "calibration" / "digits" / "val.npz"
    with np.load(path) as archive:
        arrays = {name: array[::-1] for name, array in archive.items()}
    np.savez(path, **arrays)


CHANGES = {
    "the data's bytes": (reverse_the_samples, VALIDATIONS, "inputs.data.calibration/digits/val.npz"),
    "the preprocessing": (
        lambda p: p.edit(DATA, "{array: image}", "{array: image, scale: 0.5}"),
        VALIDATIONS,
        "options.data.spec.inputs.image.scale",
    ),
    "how many samples": (
        lambda p: p.edit(SPEC, "data: digits-val", "data: digits-val\n  samples: 64"),
        VALIDATIONS,
        "options.samples",
    ),
    "a plugin": (
        lambda p: (
            p.write("libx.so", "x"),
            p.edit(SPEC, "profiles:", "plugins: [{library: libx.so}]\nprofiles:"),
        ),
        BUILDS | PARSES,
        "inputs.plugins.",
    ),
}


def plan_of(project):
    return {step["address"]: step for step in json.loads(project.run("plan", "--json").out)["steps"]}


@pytest.mark.parametrize("what", CHANGES)
def test_a_change_runs_what_depends_on_it_for_one_reason(changed, what):
    change, addresses, field = CHANGES[what]
    change(changed)

    plan = plan_of(changed)

    assert {address for address, step in plan.items() if step["decision"] == "run"} == addresses
    for address in addresses:
        (only,) = plan[address]["reason"]["changes"]
        assert only["field"].startswith(field)


def test_a_transform_is_a_step_of_its_own_and_stops_where_it_changes_nothing(changed):
    """The network has nothing to simplify: its typed models, and so its engines, stay."""
    changed.edit(SPEC, "profiles:", "transform: {simplify: true}\nprofiles:")

    plan = plan_of(changed)
    built = changed.run("build", "--json")

    assert plan["digits:transform"]["reason"]["cause"] == "first"
    assert plan["digits/fp32@ada:build_engine"]["decision"] == "pending"
    assert built.code == 0, built.err
    assert "digits:transform" in built.ran
    assert not BUILDS & set(built.ran)
    assert changed.run("build").out == "nothing to do\n"


def test_another_threshold_is_judged_without_running_anything(changed):
    changed.edit(SPEC, "metric: accuracy, min: 0.98", "metric: accuracy, min: 0.99")
    harder = changed.run("build", "--json")
    changed.edit(SPEC, "metric: accuracy, min: 0.99", "metric: accuracy, min: 0.97")
    easier = changed.run("build", "--json")

    assert (harder.code, harder.ran) == (1, [])
    assert "output 'logits' has accuracy 0.988, which must be at least 0.99 (data)" in harder.err + harder.out
    assert (easier.code, easier.ran) == (0, [])
    verdicts = changed.manifest()["validation"]["verdicts"]
    assert {one["min"] for one in verdicts if one["metric"] == "accuracy"} == {0.97}


def test_words_about_the_data_run_nothing(changed):
    changed.edit(DATA, "description: 500", "# Counted again.\ndescription: five hundred")

    built = changed.run("build", "--json")

    assert (built.code, built.ran) == (0, [])
