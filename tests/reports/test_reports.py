"""A build becomes records, and those become JSON, JUnit XML and Markdown that say the same and believe nothing."""

from __future__ import annotations

import json
import re
from xml.etree import ElementTree

import jsonschema
import pytest

from tests.reports.synthetic_build import (
    HOSTILE,
    bench,
    fail,
    manifest,
    outcome_of,
    proof,
    validation,
    write_build,
)
from trtpipe.app.report.engine_directories import delivered_in
from trtpipe.app.report.reports import report_build, report_delivered, report_directory
from trtpipe.errors import Location, Problem
from trtpipe.problem_codes import Code
from trtpipe.reports.annotations import annotation
from trtpipe.reports.builds import Course, build_record
from trtpipe.reports.cell_page import cell_page
from trtpipe.reports.cell_report import Parts, cell_report
from trtpipe.reports.cells import delivered_cell, worst_verdict
from trtpipe.reports.changes import changes_between
from trtpipe.reports.details import bench_of, proof_of, validation_of
from trtpipe.reports.junit import junit_xml
from trtpipe.reports.making_shares import shares_of
from trtpipe.reports.markdown import build_markdown
from trtpipe.reports.models import BundleRecord, BundleTarget, Change, OnGpu
from trtpipe.reports.schema import report_schema
from trtpipe.reports.words import fact_words

CELLS = [("net", "fp16", "t0"), ("net", "int8", "t0"), ("net", "int8", "t1")]
OF_ANOTHER_SPEC = "contains files of an earlier build, which do not match the current spec"
SCHEMA = jsonschema.Draft202012Validator(report_schema())


@pytest.fixture
def planned(tmp_path):
    return write_build(tmp_path, CELLS, full=False)


def read(path):
    return json.loads(path.read_text())


def test_every_report_of_a_build_fits_the_schema(planned):
    outcome = outcome_of(planned)
    fail(outcome, "net/int8@t1")

    written = report_build(planned, outcome, interrupted=False)

    build = planned.workspace.build
    reports = [build / "report.json", *build.glob("*/*/report.json")]
    assert written.warnings == []
    assert len(reports) == 3
    for path in reports:
        SCHEMA.validate(read(path))


def test_a_build_says_what_became_of_each_cell(planned):
    outcome = outcome_of(planned)
    fail(outcome, "net/int8@t1")

    report = report_build(planned, outcome, interrupted=False).report

    assert report.status == "failed"
    assert {cell.cell: cell.state for cell in report.cells} == {
        "net/fp16@t0": "up to date",
        "net/int8@t0": "built",
        "net/int8@t1": "failed",
    }
    assert report.missing == ("net/int8@t1",)
    assert report.failures[0].problems[0].remedy == "keep more of it wide"
    lost = report.cells[2]
    assert lost.engine is None
    assert lost.problems == (
        "net/int8@t1: cosine of output 'logits' is 0.91, must be >= 0.999",
        f"net/int8@t1/ {OF_ANOTHER_SPEC}",
    )


def test_an_interrupted_build_says_what_is_missing(planned):
    outcome = outcome_of(planned)
    outcome.built, outcome.blocked = [], list(outcome.built)

    report = report_build(planned, outcome, interrupted=True).report

    assert report.status == "interrupted"
    assert report.missing == ("net/int8@t0", "net/int8@t1")
    assert report.cells[1].problems == ("the build was interrupted", f"net/int8@t0/ {OF_ANOTHER_SPEC}")
    assert "interrupted: 2 cells missing" in build_markdown(report, shares_of(report))


def test_the_steps_tell_whether_they_ran_and_how_long(planned):
    report = report_build(planned, outcome_of(planned), interrupted=False).report

    steps = {step.address: step for step in report.steps}
    assert steps["net/int8@t0:build_engine"].state == "ran"
    assert steps["net/int8@t0:build_engine"].needs == ("net/int8:quantize",)
    assert steps["net/fp16:quantize"].seconds == 3.1  # as its manifest tells


def test_a_report_of_what_is_delivered_remembers_what_failed_and_what_changed(planned):
    outcome = outcome_of(planned)
    fail(outcome, "net/int8@t1")
    outcome.locked = {
        "net/int8@t0": {"engine": "0" * 64 + " (7 bytes)", "validated": "passed", "run_on_gpu": "not run"}
    }
    built = report_build(planned, outcome, interrupted=False).report
    planned.undelivered = {"net/int8@t1"}

    again = report_delivered(planned, None).report

    assert [cell.changes for cell in again.cells] == [cell.changes for cell in built.cells]
    assert again.cells[1].changes[0].field == "engine"
    assert again.cells[2].state == "failed"
    assert again.status == "failed"
    SCHEMA.validate(again.to_json())


def test_an_engine_directory_alone_is_reported_without_specs(planned, tmp_path):
    folder = planned.workspace.build / "net" / "fp16@t0"

    written = report_directory(folder)

    assert [path.name for path in written.files] == ["report.json", "report.html"]
    report = read(folder / "report.json")
    SCHEMA.validate(report)
    assert report["cell"]["state"] == "delivered"
    assert report["cell"]["on_gpu"] == {"outcome": "passed", "gpu": "NVIDIA RTX 4090 (8.9)", "why": ""}


def test_what_cannot_be_written_is_a_warning_and_the_rest_is_written(planned):
    (planned.workspace.build / "junit.xml").mkdir()

    written = report_build(planned, outcome_of(planned), interrupted=False)

    assert len(written.warnings) == 1
    assert "junit.xml" in written.warnings[0]
    assert (planned.workspace.build / "summary.md").is_file()


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"cell": 5}', "[" * 100_000])
def test_a_damaged_manifest_costs_its_own_cell_only(planned, content):
    (planned.workspace.build / "net" / "fp16@t0" / "manifest.json").write_text(content)

    report = report_build(planned, outcome_of(planned), interrupted=False).report

    assert [cell.state for cell in report.cells] == ["not built", "built", "built"]
    assert "manifest.json" in report.cells[0].problems[0]


WRONG = [5, "x", [], {}, [[]], {"places": 5}, {"places": [5, {"outputs": []}, {"outputs": {"o": 1}}]},
         {"latency": {"compute": 5}}, {"latency": {"compute": {"histogram": {"edges_us": [2, 1], "counts": [1]}}}},
         {"outcome": "passed", "engine": 5}, {"points": [5], "front": [{}], "choice": 7},
         {"tensors": {"a": 5, "b": {"amax": "x"}}}, {"places": [{"place": 10**400, "samples": -1}]}]  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG, ids=range(len(WRONG)))
def test_files_that_are_not_as_they_should_be_are_left_out_or_shown_as_far_as_they_go(planned, wrong):
    folder = planned.workspace.build / "net" / "fp16@t0"
    for name in ("validation.json", "bench.json", "proof.json", "scales.json", "search.json"):
        (folder / name).write_text(json.dumps(wrong))

    report_directory(folder)

    SCHEMA.validate(read(folder / "report.json"))
    assert (folder / "report.html").is_file()


@pytest.mark.parametrize("field", sorted(manifest("net", "fp16", "t0").keys() - {"cell"}))
def test_a_manifest_with_a_field_of_another_kind_is_shown_without_it(field):
    for wrong in (None, 7, "x", [1], {"x": [None]}):
        made = {**manifest("net", "fp16", "t0"), field: wrong}
        cell = delivered_cell(made, "built")

        report = cell_report(cell, made, Parts(), {}, ())

        SCHEMA.validate(report.to_json())
        assert "</html>" in cell_page(report)
        build = build_record([cell], Course([]), {})
        assert "net/fp16@t0" in build_markdown(build, shares_of(build))


def test_a_proof_and_a_benchmark_of_another_engine_do_not_count(planned):
    folder = planned.workspace.build / "net" / "fp16@t0"
    (folder / "proof.json").write_text(json.dumps(proof("f" * 64)))
    (folder / "bench.json").write_text(json.dumps(bench("f" * 64)))

    report_directory(folder)

    report = read(folder / "report.json")
    assert report["proof"] is report["bench"] is None
    assert report["absent"]["proof.json"] == "of a different engine than the one next to it"
    assert report["cell"]["on_gpu"]["outcome"] == "not run"


def test_a_pipe_in_place_of_a_file_does_not_hang_the_report(planned):
    import os

    folder = planned.workspace.build / "net" / "fp16@t0"
    (folder / "validation.json").unlink()
    os.mkfifo(folder / "validation.json")

    report_directory(folder)

    assert read(folder / "report.json")["absent"]["validation.json"] == "not a file"


def test_what_was_not_run_is_skipped_in_junit_and_never_passed(planned):
    outcome = outcome_of(planned)
    fail(outcome, "net/int8@t1")
    outcome.blocked, outcome.fresh = list(outcome.fresh), []
    report = report_build(planned, outcome, interrupted=False).report

    suites = ElementTree.fromstring(junit_xml(shares_of(report)))

    cases = {(one.get("classname"), one.get("name")): one for one in suites.iter("testcase")}
    failure = cases["net", "int8@t1"].find("failure")
    assert failure is not None
    assert "cosine of output 'logits' is 0.91" in failure.get("message", "")
    skipped = cases["net", "fp16@t0"].find("skipped")
    assert skipped is not None
    assert skipped.get("message") == (
        f"not run: the build stopped after a failure; net/fp16@t0/ {OF_ANOTHER_SPEC}"
    )
    assert suites.get("failures") == "1"
    assert suites.get("skipped") == "1"


def test_a_bundle_is_a_suite_that_says_what_passed_failed_and_was_not_run():
    def target(name, on_gpu, *not_run):
        return BundleTarget(
            target=name,
            members={"a": f"net/fp16@{name}"},
            outcome="passed",
            on_gpu=on_gpu,
            not_run=not_run,
            costs=(),
        )

    bundles = [
        BundleRecord(
            bundle="ocr",
            state="complete",
            why=(),
            targets=(
                target("ada", "not run", "the whole on engines: needs sm89"),
                target("l4", "NVIDIA L4 (sm89)"),
            ),
        ),
        BundleRecord(bundle="bad", state="failed", why=("output 'y' has cosine 0.5",), targets=()),
        BundleRecord(bundle="none", state="not built", why=("a member was not built",), targets=()),
    ]

    suites = ElementTree.fromstring(junit_xml([], bundles))

    found = {
        (one.get("classname"), one.get("name")): [(child.tag, child.get("message")) for child in one]
        for one in suites.iter("testcase")
    }
    assert found == {
        ("ocr", "the bundle"): [],
        ("ocr.ada", "the typed models as a whole"): [],
        ("ocr.ada", "the whole on engines"): [("skipped", "not run: needs sm89")],
        ("ocr.l4", "the typed models as a whole"): [],
        ("ocr.l4", "the engines as a whole"): [],
        ("bad", "the bundle"): [("failure", "output 'y' has cosine 0.5")],
        ("none", "the bundle"): [("skipped", "not run: a member was not built")],
    }
    assert [suites.get(name) for name in ("tests", "failures", "skipped")] == ["7", "1", "2"]


def test_the_engine_is_skipped_on_a_gpu_that_is_not_there(planned):
    made = delivered_cell(manifest("net", "fp16", "t9"), "built")
    report = build_record([made], Course([]), {})

    cases = {
        one.get("name"): one for one in ElementTree.fromstring(junit_xml(shares_of(report))).iter("testcase")
    }

    sm = made.compute_capabilities[0]
    skipped = cases["the engine on a GPU"].find("skipped")
    assert skipped is not None
    assert skipped.get("message") == f"not run: needs {sm}, this machine has no GPU"
    assert len(cases["fp16@t9"]) == 0
    assert len(cases["data: cosine of logits >= 0.999"]) == 0


def test_a_proof_on_a_gpu_takes_the_place_of_the_reason(planned):
    made = manifest("net", "fp16", "t0")

    cell = delivered_cell(made, "built", None, proof_of(proof(made["engine"]["blake3"])))

    assert cell.on_gpu == OnGpu(outcome="passed", gpu="NVIDIA RTX 4090 (8.9)", why="")
    assert cell.not_run == ()


def test_hostile_names_stay_text_in_xml_and_markdown(planned):
    made = manifest("net", "fp16", "t0")
    made["precision"] = HOSTILE
    made["validation"]["verdicts"][0] |= {"output": HOSTILE, "outcome": "failed", "metric": "|x|\n# heading"}
    made["not_run"].append(f"{HOSTILE}: {HOSTILE}")
    report = build_record([delivered_cell(made, "built")], Course([]), {"python": HOSTILE})

    names = [one.get("name") for one in ElementTree.fromstring(junit_xml(shares_of(report))).iter("testcase")]
    text = build_markdown(report, shares_of(report))

    assert any("<img" in name and "\\u202e" in name and "\\x00" in name for name in names if name)
    assert "<img" not in text
    assert "\u202e" not in text
    assert "\x00" not in text
    assert not re.search(r"^# heading", text, re.M)
    rows = [line for line in text.splitlines() if line.startswith("| `net")]
    assert [len(re.findall(r"(?<!\\)\|", row)) for row in rows] == [12]


def test_a_summary_of_thousands_of_cells_fits_a_step_summary():
    cells = [delivered_cell(manifest("net", f"int8-{index}", "t0"), "built") for index in range(3000)]

    report = build_record(cells, Course([]), {})
    text = build_markdown(report, shares_of(report))

    assert len(text.encode()) < 200_000
    assert "2800 more cells" in text


def test_the_worst_verdict_is_the_one_that_failed():
    made = manifest("net", "fp16", "t0")
    verdicts = made["validation"]["verdicts"]
    least = min(one["value"] for one in verdicts if one["metric"] == "cosine")
    assert worst_verdict(delivered_cell(made, "built")).value == least

    verdicts[3]["outcome"] = "failed"

    assert worst_verdict(delivered_cell(made, "built")).metric == "max_abs"


def test_changes_are_told_field_by_field_the_engine_first():
    old = {"key": "1", "engine": "aa", "keep_fp16": ["x"], "reached": "cosine 1"}
    new = {"key": "2", "engine": "bb", "keep_fp16": ["x", "y"], "base": ""}

    assert changes_between(old, new) == (
        Change(field="engine", old="aa", new="bb"),
        Change(field="key", old="1", new="2"),
        Change(field="keep_fp16", old=("x",), new=("x", "y")),
        Change(field="reached", old="cosine 1", new=None),
    )


def test_facts_of_every_kind_are_told_short():
    digest = "ab" * 32

    changes = changes_between(
        {"engine": f"{digest} (7 bytes)"}, {"source": {"model.onnx": digest}, "engine": "x"}
    )

    assert [fact_words(one.old) for one in changes] == ["abababababab (7 bytes)", "(none)"]
    assert [fact_words(one.new) for one in changes] == ["x", "model.onnx: abababababab"]


def test_an_annotation_cannot_be_broken_out_of():
    problem = Problem(
        Code.STEP_CRASHED,
        "no such 'a'\n::error::x",
        "100 % sure",
        Location("dir,with:signs/a.yaml", 3, 7),
        severity="warning",
    )

    assert annotation(problem, title="a:b,c") == (
        "::warning file=dir%2Cwith%3Asigns/a.yaml,line=3,col=7,title=a%3Ab%2Cc::"
        "no such 'a'%0A::error::x%0A100 %25 sure"
    )


def test_readers_take_what_the_contracts_say():
    assert validation_of(validation("x")).places[0].outputs[0].errors.counts
    assert [one.part for one in bench_of(bench("x")).latency] == [
        "compute", "copies_in", "copies_out", "total", "host",
    ]  # fmt: skip
    assert proof_of(proof("x")).outcome == "passed"


def test_a_folder_without_a_manifest_is_no_engine_directory(tmp_path):
    assert delivered_in(tmp_path) == "its manifest.json is not there"
