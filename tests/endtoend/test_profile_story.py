"""`build --profile`: what took how long, in a file that Chrome opens and in the report."""

from __future__ import annotations

import json

from tests.trace_format import refuse_misfits
from trtpipe.digests import digest_file


def spans(project, name="out/prof.json"):
    profile = json.loads((project.root / name).read_text())
    refuse_misfits(profile)
    return [one for one in profile["traceEvents"] if one["ph"] == "X"]


def test_a_profile_shows_each_part_of_a_build(project):
    done = project.run("build", "--only", "*/fp32@*", "--profile", "out/prof.json")

    assert done.code == 0, done.err
    found = spans(project)
    names = {one["name"] for one in found}
    assert {"read the specs", "plan", "prove the specs", "run the steps", "write the lockfile"} <= names
    assert {"write the reports", "put the outputs and the trace into the store"} <= names
    assert "digits:import" in names
    assert {one["cat"] for one in found} == {
        "build",
        "step",
        "stage",
        "worker",
        "tensorrt",
        "store",
        "report",
    }
    assert "Building engine" in {one["name"] for one in found if one["cat"] == "tensorrt"}
    assert {"start the process", "import", "parse", "build", "write", "end the process"} <= {
        one["name"] for one in found if one["cat"] == "worker"
    }
    whole = next(one for one in found if one["name"] == "build" and one["cat"] == "build")
    assert all(one["ts"] + one["dur"] <= whole["ts"] + whole["dur"] + 1000 for one in found)
    assert "Where the time went" in (project.root / "build/report.html").read_text()


def test_a_profiled_build_makes_the_same_engine_bytes(project):
    project.run("build", "--only", "*/fp32@*")
    engines = {path: digest_file(path) for path in (project.root / "build").rglob("model.engine")}

    project.run("build", "--only", "*/fp32@*", "--force", "--profile", "again.json")

    assert engines
    assert {path: digest_file(path) for path in engines} == engines


def test_a_build_that_fails_or_has_nothing_to_do_leaves_a_profile_too(project):
    failed = project.run("build", "pipelines/none.yaml", "--profile", "failed.json")
    project.run("build", "--only", "*/fp32@*")
    idle = project.run("build", "--only", "*/fp32@*", "--profile", "idle.json")

    assert failed.code != 0
    assert next(one["name"] for one in spans(project, "failed.json")) == "build"
    assert idle.out == "nothing to do\n"
    assert [one["name"] for one in spans(project, "idle.json")] == ["build"]


def test_a_profile_that_cannot_be_written_is_one_line(project):
    (project.root / "taken").write_text("")

    done = project.run("build", "--only", "*/fp32@*", "--profile", "taken/prof.json")

    assert done.code != 0
    assert done.err.startswith("cannot write taken/prof.json"), "before anything is built"
