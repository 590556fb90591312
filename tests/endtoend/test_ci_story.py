"""The matrix that continuous integration takes: which machine gets which cells."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
import yaml

from tests.projects import SPEC, make_project

DOCS = Path(__file__).resolve().parents[2] / "docs" / "ci.md"
MORE = (
    SPEC.replace(
        "  ampere: {gpu: sm86}\n", "  both: {gpu: [sm86, sm89]}\n  old: {gpu: sm86, toolchain: old}\n"
    )
    + 'toolchains: {old: {flavour: tensorrt_rtx, version: "1.6.1.120"}}\n'
)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return make_project(tmp_path_factory.mktemp("ci") / "project", MORE)


def jobs_of(project, *arguments):
    done = project.run("ci", "matrix", *arguments)
    assert done.code == 0, done.err
    assert done.out.count("\n") == 1  # it is given to a step's output as it is
    return json.loads(done.out)["include"]


def test_engines_that_build_anywhere_are_a_job_for_each_version(project):
    new, old = jobs_of(project)

    assert (new["gpu"], old["gpu"]) == ("none", "none")
    assert old["toolchain"] == "tensorrt_rtx-1.6.1.120"
    assert old["cells"] == "digits/fp32@old digits/fp16@old"
    assert len(new["cells"].split()) == 4


def test_to_run_them_each_gpu_is_a_job_and_an_engine_for_two_is_in_both(project):
    jobs = {(one["gpu"], one["toolchain"]): one["cells"].split() for one in jobs_of(project, "--for", "run")}

    assert {gpu for gpu, _ in jobs} == {"sm86", "sm89"}
    assert sum("digits/fp32@both" in cells for cells in jobs.values()) == 2
    assert sum("digits/fp32@ada" in cells for cells in jobs.values()) == 1


def test_jobs_are_split_and_lose_no_cell(project):
    whole, split = jobs_of(project), jobs_of(project, "--cells-per-job", "3")

    assert [len(one["cells"].split()) for one in split] == [3, 1, 2]
    assert sorted(" ".join(one["cells"] for one in split).split()) == sorted(
        " ".join(one["cells"] for one in whole).split()
    )
    assert len({one["name"] for one in split}) == 3


def test_a_jobs_cells_are_arguments_of_build(project):
    (job,) = jobs_of(project, "--only", "digits/*@ada")

    plan = project.run("plan", "--json", *job["cells"].split())

    assert plan.code == 0, plan.err
    engines = [one["address"] for one in json.loads(plan.out)["steps"] if one["stage"] == "build_engine"]
    assert sorted(engines) == ["digits/fp16@ada:build_engine", "digits/fp32@ada:build_engine"]


def test_nothing_is_built_or_written(project):
    jobs_of(project)

    assert not (project.root / "build").exists()


@pytest.mark.parametrize(
    ("arguments", "said"), [(["--for", "fun"], "'fun'"), (["--only", "nothing/*"], "no cell matches")]
)
def test_what_cannot_be_meant_is_refused(project, arguments, said):
    done = project.run("ci", "matrix", *arguments)

    assert (done.code, done.out) == (2, "")
    assert said in done.err


@pytest.mark.parametrize("line", re.findall(r"^trtpipe (ci (?:init|matrix).*)$", DOCS.read_text(), re.M))
def test_every_example_of_the_documentation_works(project, line):
    assert project.run(*shlex.split(line)).code == 0


def test_the_workflow_uses_fields_that_a_job_has(project):
    text = project.run("ci", "init", "github", "--gpu-runner", "sm89=gpu-l4", "--stdout").out

    fields = set(re.findall(r"\bmatrix\.(\w+)", text))
    assert fields == {"name", "toolchain", "cells", "build", "runner"}
    assert fields <= jobs_of(project, "--gpu-runner", "none=ubuntu-latest")[0].keys()


def test_the_pages_step_gives_inputs_that_the_action_has(project):
    (text,) = re.findall(r"```yml\n(.*?)```", DOCS.read_text(), re.S)
    (_, step) = yaml.safe_load(text)["steps"]

    out = project.run("ci", "init", "github", "--stdout").out

    action = yaml.safe_load(out.partition("# .github/actions/trtpipe/action.yml\n")[2])
    assert step["uses"] == "./.github/actions/trtpipe"
    assert step["with"].keys() <= action["inputs"].keys()


def test_jobs_are_for_the_runners_that_are_named_and_the_rest_is_told(project):
    done = project.run("ci", "matrix", "--for", "run", "--gpu-runner", "rtx4090=self-hosted,l4")

    jobs = json.loads(done.out)["include"]
    assert {one["gpu"] for one in jobs} == {"sm89"}
    assert all(one["runner"] == ["self-hosted", "l4"] and one["build"] == "anywhere" for one in jobs)
    assert "left out, for no runner is named for sm86: " in done.err


def test_the_cells_of_one_machine_are_words(project):
    done = project.run("ci", "matrix", "--for", "run", "--cells", "RTX 4090")

    assert done.code == 0
    assert sorted(done.out.split()) == sorted(
        f"digits/{variant}@{target}" for variant in ("fp32", "fp16") for target in ("ada", "both")
    )
    assert project.run("ci", "matrix", "--cells", "sm89").out == "\n"  # all of them are built anywhere
