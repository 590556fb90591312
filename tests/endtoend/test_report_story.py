"""A build reports what it did, and says no less when it fails or when something is in the way of its reports."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
from xml.etree import ElementTree

import jsonschema
import pytest

from tests.projects import Project, make_project
from trtpipe.reports.schema import report_schema

SPEC = """\
schema: 1
pipeline: digits
model: {source: models/digits.onnx}
profiles:
  - image: {min: 1x1x8x8, opt: 16x1x8x8, max: 64x1x8x8}
targets:
  ada: {gpu: rtx4090}
  ampere: {gpu: sm86}
builder: {workspace: 1GiB}
validate:
  random: {seed: 0, samples: 4}
  corners: false
  thresholds:
    - {output: logits, metric: cosine, min: 0.999}
"""
WRITTEN = ("report.html", "report.json", "junit.xml", "summary.md")


@pytest.fixture(scope="module")
def reported(tmp_path_factory):
    """A project whose two cells were built once."""
    project = make_project(tmp_path_factory.mktemp("reported") / "project", SPEC)
    done = project.run("build")
    assert done.code == 0, done.err
    return project


def read(project, name="report.json"):
    return json.loads((project.root / "build" / name).read_text())


def test_a_build_leaves_its_reports_and_they_fit_their_schema(reported):
    schema = json.loads(reported.run("schema", "report").out)
    build = reported.root / "build"

    assert all((build / name).is_file() for name in WRITTEN)
    assert schema == report_schema()
    for path in (build / "report.json", *build.glob("*/*/report.json")):
        jsonschema.Draft202012Validator(schema).validate(json.loads(path.read_text()))
    report = read(reported)
    assert report["status"] == "complete"
    assert [cell["new"] for cell in report["cells"]] == [True, True]
    assert {cell["on_gpu"]["outcome"] for cell in report["cells"]} == {"not run"}
    assert all(step["state"] == "ran" and step["seconds"] > 0 for step in report["steps"])


def test_a_build_with_nothing_to_do_writes_nothing_and_report_writes_it_anew(reported):
    build = reported.root / "build"
    before = {path: path.stat().st_mtime_ns for path in build.rglob("*") if path.is_file()}

    assert reported.run("build").out == "nothing to do\n"
    assert {path: path.stat().st_mtime_ns for path in build.rglob("*") if path.is_file()} == before

    page = (build / "digits" / "fp32@ada" / "report.html").read_bytes()
    (build / "report.html").unlink()
    done = reported.run("report", "digits/fp32@ada")

    assert done.code == 0, done.err
    assert done.out.splitlines() == ["build/digits/fp32@ada/report.html", "build/report.html"]
    assert len(read(reported)["cells"]) == 1
    assert len((build / "digits" / "fp32@ada" / "report.html").read_bytes()) == pytest.approx(
        len(page), abs=200
    )
    assert reported.run("build").out == "nothing to do\n"


def test_a_failed_build_reports_what_is_missing_and_annotates_the_spec(reported, tmp_path):
    project = make_project(tmp_path / "project", SPEC.replace("cosine, min: 0.999}", "max_abs, min: 5}"))
    project.env |= {
        "TRTPIPE_STORE": str(reported.root / ".trtpipe" / "store"), "GITHUB_ACTIONS": "true",
        "GITHUB_WORKSPACE": str(tmp_path), "GITHUB_STEP_SUMMARY": str(tmp_path / "summary"),
    }  # fmt: skip
    (tmp_path / "summary").write_text("before\n")

    done = project.run("build", "-k")

    assert done.code == 1
    assert "::error title=digits/fp32@ada failed::" in done.err
    report = read(project)
    assert report["status"] == "failed"
    assert [cell["state"] for cell in report["cells"]] == ["failed", "failed"]
    suites = ElementTree.fromstring((project.root / "build" / "junit.xml").read_text())
    assert suites.get("failures") == "2"
    summary = (tmp_path / "summary").read_text()
    assert summary.startswith("before\n## trtpipe build: failed")
    assert summary.endswith((project.root / "build" / "summary.md").read_text())


def test_a_wrong_spec_is_annotated_at_its_line(tmp_path):
    project = make_project(tmp_path / "in a folder", SPEC.replace("workspace: 1GiB", "workspaec: 1GiB"))
    project.env |= {"GITHUB_ACTIONS": "true", "GITHUB_WORKSPACE": str(tmp_path)}

    for command in ("check", "plan", "build"):
        done = project.run(command)
        lines = [line for line in done.err.splitlines() if line.startswith("::error ")]

        assert done.code == 2
        assert len(lines) == 1
        assert lines[0].startswith("::error file=in a folder/pipelines/digits.yaml,line=9,col=11::")
    project.env.clear()
    assert "::error" not in project.run("check").err


def test_reports_that_cannot_be_written_cost_nothing(reported, tmp_path):
    project = make_project(tmp_path / "project", SPEC)
    project.env["TRTPIPE_STORE"] = str(reported.root / ".trtpipe" / "store")
    (project.root / "build" / "report.html").mkdir(parents=True)
    project.env["GITHUB_STEP_SUMMARY"] = str(project.root / "models")

    done = project.run("build")

    assert done.code == 0
    assert "warning: cannot write " in done.err
    assert "warning: cannot write GITHUB_STEP_SUMMARY: " in done.err
    assert (project.root / "trtpipe.lock").is_file()
    assert read(project)["status"] == "complete"
    again = project.run("report")
    assert again.code == 2
    (project.root / "build" / "report.html").rmdir()
    assert project.run("build").out == "nothing to do, reports written\n"
    assert (project.root / "build" / "report.html").is_file()
    assert project.run("build").out == "nothing to do\n"


def test_what_an_interrupted_build_by_force_reports_is_what_stands(reported, tmp_path):
    project = Project(tmp_path / "copy")
    shutil.copytree(reported.root, project.root, symlinks=True)
    project.run("build")  # files that were copied have other inodes
    running = project.start("build", "--force", "--json")
    for line in running.stdout:
        if json.loads(line)["event"] == "start":
            os.killpg(running.pid, signal.SIGINT)
            os.killpg(running.pid, signal.SIGINT)
            break
    running.communicate(timeout=60)

    assert running.returncode == 130
    assert [cell["state"] for cell in read(project)["cells"]] == ["up to date", "up to date"]
    assert read(project)["status"] == "interrupted"
    assert project.run("build").out == "nothing to do, reports written\n"
    assert read(project)["status"] == "complete"


@pytest.mark.slow
@pytest.mark.parametrize("after", [0.5, 1.5, 2.5, 4, 6, 8, 10, 12])
def test_a_build_that_is_killed_leaves_reports_to_be_mended(reported, tmp_path, after):
    """Whatever the killed build came to, the next one ends with reports of all that is delivered."""
    project = make_project(tmp_path / "project", SPEC)
    project.env["TRTPIPE_STORE"] = str(tmp_path / "store")
    running = project.start("build")
    with contextlib.suppress(subprocess.TimeoutExpired):
        running.communicate(timeout=after)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(running.pid, signal.SIGKILL)
    running.communicate()

    done = project.run("build")

    assert done.code == 0, done.err
    report = read(project)
    assert report["status"] == "complete"
    assert all(cell["engine"] for cell in report["cells"])
    assert all((project.root / "build" / name).is_file() for name in WRITTEN)
    assert project.run("build").out == "nothing to do\n"


def test_an_earlier_report_that_is_damaged_is_told_of_and_replaced(reported):
    path = reported.root / "build" / "report.json"
    whole = json.loads(path.read_text())
    path.write_text(json.dumps({**whole, "counts": {**whole["counts"], "cells": "two"}}))

    done = reported.run("report")

    assert done.code == 0
    assert (
        done.err
        == f"warning: {path} is not a report, so its content is not kept: counts.cells is not an integer\n"
    )
    jsonschema.Draft202012Validator(report_schema()).validate(read(reported))


def test_changes_are_told_since_a_lockfile(reported, tmp_path):
    lock = (reported.root / "trtpipe.lock").read_text()
    (tmp_path / "main.lock").write_text(
        lock.replace("compute_capabilities: sm89", "compute_capabilities: sm80")
    )

    done = reported.run("report", "--since", str(tmp_path / "main.lock"), "--json")

    changes = {cell["cell"]: cell["changes"] for cell in json.loads(done.out)["cells"]}
    assert changes == {
        "digits/fp32@ada": [{"field": "compute_capabilities", "old": "sm80", "new": "sm89"}],
        "digits/fp32@ampere": [],
    }
    assert "| sm80 | sm89 |" in (reported.root / "build" / "summary.md").read_text()
    missing = reported.run("report", "--since", "nowhere.lock")
    assert missing.code == 2
    assert "no such lockfile: 'nowhere.lock'" in missing.err


def test_an_engine_directory_is_reported_anywhere(reported, tmp_path, new_project):
    import shutil

    elsewhere = new_project(tmp_path / "elsewhere")
    shutil.copytree(reported.root / "build" / "digits" / "fp32@ada", elsewhere.root / "engine")

    done = elsewhere.run("report", "engine")

    assert (done.code, done.out) == (0, "engine/report.html\n")
