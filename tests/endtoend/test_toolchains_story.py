"""Two TensorRT versions from one spec: the installed one, and an older one that is provisioned when it is needed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from trtpipe.lockfile import read_lock

OLD = "1.6.1.120"
SPEC = f"""\
schema: 1
pipeline: digits
model: {{source: models/digits.onnx}}
profiles:
  - image: {{min: 1x1x8x8, opt: 16x1x8x8, max: 64x1x8x8}}
targets:
  ada: {{gpu: sm89}}
  ada-old: {{gpu: sm89, toolchain: old}}
  turing-old: {{gpu: sm75, toolchain: old}}
toolchains:
  old: {{flavour: tensorrt_rtx, version: "{OLD}"}}
"""


def two_versions(project):
    (project.root / "models").mkdir()
    digits = Path(__file__).resolve().parents[2] / "pipelines" / "models" / "digits_cnn.onnx"
    shutil.copy(digits, project.root / "models" / "digits.onnx")
    project.write("pipelines/digits.yaml", SPEC)
    return project


@pytest.fixture
def nothing_provisioned(new_project, tmp_path):
    return two_versions(new_project(tmp_path / "project", {"TRTPIPE_TOOLCHAINS": str(tmp_path / "none")}))


@pytest.fixture(scope="module")
def built(new_project, tmp_path_factory):
    """Both versions' engines, built by one command."""
    root = tmp_path_factory.mktemp("story")
    project = two_versions(new_project(root / "project", {"TRTPIPE_TOOLCHAINS": str(root / "toolchains")}))
    done = project.run("build", "--json", timeout=600)
    if "cannot be reached" in done.err + done.out:
        pytest.skip(f"the package index cannot be reached: {OLD} cannot be provisioned")
    assert done.code == 0, done.err
    return project


def test_what_is_missing_offline_is_named_with_its_remedy(nothing_provisioned):
    done = nothing_provisioned.run("build", "--offline", "--keep-going")

    assert done.code == 1
    assert f"tensorrt_rtx {OLD} is not here, and --offline forbids fetching it" in done.err
    assert f"run `trtpipe toolchain install {OLD}` once with a network" in done.err
    assert nothing_provisioned.engine("fp32@ada")  # the installed version builds all the same
    assert not (nothing_provisioned.root / "build" / "digits" / "fp32@ada-old").exists()


def test_planning_and_checking_fetch_nothing(nothing_provisioned):
    plan = nothing_provisioned.run("plan", "--json")
    check = nothing_provisioned.run("check")

    assert (plan.code, check.code) == (0, 0), check.err
    assert not Path(nothing_provisioned.env["TRTPIPE_TOOLCHAINS"]).exists()


@pytest.mark.slow
def test_one_command_builds_with_both_versions(built):
    """The older one still has float32 products for Turing, as `check` says when the newer one refuses them."""
    manifests = {cell: built.manifest(f"fp32@{cell}") for cell in ("ada", "ada-old", "turing-old")}

    versions = {cell: one["engine"]["header"]["version"] for cell, one in manifests.items()}
    assert versions["ada-old"] == versions["turing-old"] == OLD
    assert versions["ada"] == manifests["ada"]["toolchain"]["version"] != OLD
    assert manifests["turing-old"]["engine"]["header"]["capabilities"] == ["sm75"]
    assert built.run("build").out == "nothing to do\n"


@pytest.mark.slow
def test_both_versions_build_from_the_same_model_under_their_own_keys(built):
    locked = read_lock(built.root / "trtpipe.lock")
    new, old = locked["digits/fp32@ada"], locked["digits/fp32@ada-old"]

    assert new["model"] == old["model"]
    assert new["key"] != old["key"]
    assert new["engine"] != old["engine"]
    assert old["toolchain"] == f"tensorrt_rtx {OLD}"


@pytest.mark.slow
def test_provisioned_once_it_is_there_offline_and_for_other_projects(built, new_project, tmp_path):
    other = two_versions(new_project(tmp_path / "other", built.env))

    done = other.run("build", "--offline")

    assert done.code == 0, done.err
    assert other.engine("fp32@ada-old") == built.engine("fp32@ada-old")


@pytest.mark.slow
def test_another_version_changes_the_key_and_is_the_reason(built, tmp_path):
    shutil.copytree(built.root, tmp_path / "copy", symlinks=True)
    copy = type(built)(tmp_path / "copy", built.env)
    copy.edit("pipelines/digits.yaml", f'version: "{OLD}"', 'version: "1.5.0.114"')

    plan = json.loads(copy.run("plan", "--json").out)

    steps = {step["address"]: step for step in plan["steps"]}
    for target in ("ada-old", "turing-old"):
        step = steps[f"digits/fp32@{target}:build_engine"]
        changes = [(one["field"], one["old"], one["new"]) for one in step["reason"]["changes"]]
        assert (step["decision"], changes) == ("run", [("tools.toolchain.version", OLD, "1.5.0.114")])
    assert steps["digits/fp32@ada:build_engine"]["decision"] != "run"


@pytest.mark.slow
def test_a_version_that_another_target_was_built_with_builds_nothing(built, tmp_path):
    shutil.copytree(built.root, tmp_path / "copy", symlinks=True)
    copy = type(built)(tmp_path / "copy", built.env)
    copy.edit("pipelines/digits.yaml", "ada-old: {gpu: sm89, toolchain: old}", "ada-old: {gpu: sm89}")

    done = copy.run("build", "--json")

    assert (done.code, done.ran) == (0, [])
    assert copy.engine("fp32@ada-old") == built.engine("fp32@ada")
