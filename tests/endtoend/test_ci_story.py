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


@pytest.mark.parametrize("line", re.findall(r"^trtpipe (.+)$", DOCS.read_text(), re.M))
def test_every_example_of_the_documentation_works(project, line):
    assert project.run(*shlex.split(line)).code == 0


def test_the_workflow_uses_fields_that_a_job_has(project):
    (text,) = re.findall(r"```yml\n(.*?)```", DOCS.read_text(), re.S)
    workflow = yaml.safe_load(text)

    fields = set(re.findall(r"\bmatrix\.(\w+)", str(workflow["jobs"]["build"]))) - {"outputs"}
    assert fields == {"name", "gpu", "cells"}
    assert fields <= jobs_of(project)[0].keys()
