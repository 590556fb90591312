"""`trtpipe ci report`: one report of several jobs, of which some built, some proved, and some came to nothing."""

from __future__ import annotations

import json
import shutil
from xml.etree import ElementTree

import pytest

from tests.projects import Project

CELLS = [f"digits/{variant}@{target}" for variant in ("fp32", "fp16") for target in ("ada", "ampere")]


@pytest.fixture
def jobs(copy):
    """A job that built the cells for ada and one that built those for ampere, as their artifacts are; no store."""
    project = Project(copy.root)
    for target in ("ada", "ampere"):
        done = project.run("report", f"digits/*@{target}")
        assert done.code == 0, done.err
        to = copy.root / "jobs" / target
        shutil.copytree(copy.root / "build", to)
        for folder in to.glob(f"digits/*@{'ampere' if target == 'ada' else 'ada'}"):
            shutil.rmtree(folder)
    shutil.rmtree(copy.root / "build")
    shutil.rmtree(copy.root / ".trtpipe")
    return copy.root / "jobs"


def proof_job(jobs, name, outcome, cell="digits/fp32@ada"):
    """The artifact of a job that proved one engine, without the engine."""
    to = jobs / name / cell
    to.mkdir(parents=True)
    report = json.loads((jobs / "ada" / cell / "report.json").read_text())
    report["cell"]["on_gpu"] = {"outcome": outcome, "gpu": f"GPU of {name}", "why": ""}
    (to / "report.json").write_text(json.dumps(report))


def reported(jobs, code=0):
    project = Project(jobs.parent)
    summary = jobs.parent / "summary"
    project.env["GITHUB_STEP_SUMMARY"] = str(summary)
    done = project.run("ci", "report", "jobs")
    assert done.code == code, done.err
    report = json.loads((jobs.parent / "build/report.json").read_text())
    assert summary.read_text() == (jobs.parent / "build/summary.md").read_text()
    return report, done


def test_the_cells_of_all_jobs_are_in_one_report(jobs):
    report, done = reported(jobs)

    assert done.out == "".join(f"build/{one}report.html\n" for one in (*(f"{cell}/" for cell in CELLS), ""))
    assert [one["cell"] for one in report["cells"]] == CELLS
    assert (report["status"], report["missing"], report["other_cells"]) == ("complete", [], 0)
    assert {one["stage"] for one in report["steps"]} >= {"import", "build_engine"}
    suite = ElementTree.parse(jobs.parent / "build/junit.xml")
    assert len([one for one in suite.iter("testcase") if one.get("name") in ("fp32@ada", "fp16@ampere")]) == 2
    assert (jobs.parent / "build/digits/fp32@ada/report.html").is_file()


def test_a_proof_is_taken_over_and_one_that_failed_counts(jobs):
    proof_job(jobs, "first", "passed")
    report, _ = reported(jobs)
    assert report["counts"]["on_gpu"] == {"passed": 1, "failed": 0, "not run": 3}
    assert report["status"] == "complete"
    shutil.rmtree(jobs.parent / "build")
    (jobs.parent / "summary").unlink()

    proof_job(jobs, "second", "failed")
    proof_job(jobs, "third", "passed")
    report, _ = reported(jobs)

    assert report["counts"]["on_gpu"] == {"passed": 0, "failed": 1, "not run": 3}
    assert report["status"] == "failed"
    (failure,) = report["failures"]
    assert failure["name"] == "digits/fp32@ada"
    assert failure["problems"][0]["fact"] == "the engine failed its proof on GPU of second"


def test_the_proof_of_another_engine_is_not_taken_over(jobs):
    proof_job(jobs, "old", "passed")
    path = jobs / "old/digits/fp32@ada/report.json"
    path.write_text(path.read_text().replace('"blake3": "', '"blake3": "00'))

    report, _ = reported(jobs)

    assert report["counts"]["on_gpu"]["passed"] == 0


def test_cells_that_no_job_tells_of_are_named(jobs):
    shutil.rmtree(jobs / "ampere")

    report, _ = reported(jobs)

    assert report["status"] == "failed"
    assert report["missing"] == ["digits/fp32@ampere", "digits/fp16@ampere"]
    (lost,) = [one for one in report["cells"] if one["cell"] == "digits/fp32@ampere"]
    assert lost["problems"] == ["no job of this run has built it"]


def test_failures_of_each_job_are_kept(jobs):
    for name in ("ada", "ampere"):
        path = jobs / name / "report.json"
        report = json.loads(path.read_text())
        problem = {"severity": "error", "fact": f"no luck on {name}", "remedy": "", "where": None}
        report |= {"status": "failed", "failures": [{"name": f"digits/fp16@{name}", "problems": [problem]}]}
        path.write_text(json.dumps(report))

    report, _ = reported(jobs)

    assert [one["problems"][0]["fact"] for one in report["failures"]] == [
        "no luck on ada",
        "no luck on ampere",
    ]
    assert "no luck on ampere" in (jobs.parent / "build/summary.md").read_text()


@pytest.mark.parametrize("text", ["{", "[]", '{"kind": "build"}', '{"kind": "cell"}'])
@pytest.mark.parametrize("name", ["ampere/report.json", "ampere/digits/fp16@ampere/report.json"])
def test_a_damaged_report_is_told_and_the_rest_is_reported(jobs, name, text):
    (jobs / name).write_text(text)

    report, done = reported(jobs, code=2)

    assert f"jobs/{name} is no report of a " in done.err
    assert [one["cell"] for one in report["cells"]] == CELLS


@pytest.mark.parametrize("name", ["nothing", "jobs"])
def test_without_a_job_there_is_no_report(tmp_path, built, name):
    shutil.copytree(built.root / "pipelines", tmp_path / "p/pipelines")
    shutil.copytree(built.root / "models", tmp_path / "p/models")
    (tmp_path / "p/jobs").mkdir()

    done = Project(tmp_path / "p").run("ci", "report", name)

    assert done.code == 2
    assert f"no report of a job in '{name}'" in done.err
    assert not (tmp_path / "p/build").exists()
