"""Reports that an earlier build left behind are known to be so, and mended by the next build."""

from __future__ import annotations

import json

import pytest

from tests.reports.synthetic_build import fail, outcome_of, write_build
from trtpipe.app.report.reports import report_build
from trtpipe.building import planned as planning
from trtpipe.cli import report as command
from trtpipe.cli.report import mend_reports, tell_reports
from trtpipe.digests import digest_bytes
from trtpipe.stores.sealed_files import sealed
from trtpipe.workspace.reports_mark import found_mark, is_marked, set_mark

CELLS = [("net", "fp16", "t0"), ("net", "int8", "t0")]


@pytest.fixture
def planned(tmp_path, monkeypatch):
    made = write_build(tmp_path, CELLS, full=False)
    made.workspace.state.path = tmp_path / ".trtpipe" / "state.json"
    monkeypatch.setattr(planning, "delivered_now", lambda _: {"net/fp16@t0"})
    return made


def state_of(planned):
    return planned.workspace.state.path


def page(planned):
    return planned.workspace.build / "report.html"


def test_a_build_that_delivered_all_and_reported_it_leaves_no_mark(planned):
    mark = set_mark(state_of(planned))
    assert is_marked(planned.workspace.root)

    tell_reports(planned, outcome_of(planned), mark)

    assert not is_marked(planned.workspace.root)
    assert not mend_reports(planned)


@pytest.mark.parametrize("way", ["failed", "interrupted", "unwritable", "broken"])
def test_any_other_end_leaves_it_and_the_next_build_mends_the_reports(planned, way, monkeypatch, capsys):
    outcome, mark = outcome_of(planned), set_mark(state_of(planned))
    with monkeypatch.context() as patch:
        if way == "failed":
            fail(outcome, "net/int8@t0")
        elif way == "unwritable":
            page(planned).mkdir(parents=True)
        elif way == "broken":
            patch.setattr(command, "append_step_summary", lambda _: 1 / 0)
        tell_reports(planned, outcome, mark, interrupted=way == "interrupted")
    assert is_marked(planned.workspace.root)
    if page(planned).is_dir():
        assert not mend_reports(planned), "it still cannot be written"
        page(planned).rmdir()

    assert mend_reports(planned)

    assert not is_marked(planned.workspace.root)
    assert page(planned).is_file()


def test_a_build_that_began_later_keeps_its_mark(planned):
    first = set_mark(state_of(planned))
    later = set_mark(state_of(planned))

    first.lift()
    assert found_mark(state_of(planned)) == later

    later.lift()
    assert not is_marked(planned.workspace.root)


def test_where_nothing_can_be_written_there_is_no_mark_and_no_error(tmp_path):
    (tmp_path / "file").write_text("")

    set_mark(tmp_path / "file" / "state.json").lift()

    assert not found_mark(tmp_path / "file" / "state.json").is_set


def test_an_interrupted_build_tells_what_stands_and_what_is_of_an_earlier_spec(planned):
    outcome = outcome_of(planned)
    outcome.built, outcome.fresh = [], []

    report = report_build(planned, outcome, interrupted=True, standing={"net/fp16@t0"}).report

    stands, gone = report.cells
    assert (stands.state, bool(stands.engine)) == ("up to date", True)
    assert (gone.state, gone.engine) == ("not built", None)
    assert gone.problems == (
        "the build was interrupted",
        "net/int8@t0/ contains files of an earlier build, which do not match the current spec",
    )


def test_a_cell_that_failed_says_that_what_stands_is_still_right(planned):
    outcome = outcome_of(planned)
    fail(outcome, "net/fp16@t0", "it broke")

    report = report_build(planned, outcome, interrupted=False, standing={"net/fp16@t0"}).report

    assert report.cells[0].state == "failed"
    assert report.cells[0].problems == (
        "net/fp16@t0: it broke",
        "net/fp16@t0/ contains files of an earlier build, which match the spec",
    )


def test_a_marked_project_is_not_taken_for_unchanged(tmp_path, monkeypatch):
    from trtpipe.building import stamp

    (tmp_path / ".trtpipe").mkdir()
    (tmp_path / ".trtpipe" / "state.json").touch()
    monkeypatch.chdir(tmp_path)
    entry = {"environment": stamp.environment(), "seen": [[[], digest_bytes(b"").hex]]}
    stamp._write(stamp._stamp(tmp_path, (), ()), sealed(json.dumps(entry).encode()))
    assert stamp.is_unchanged((), ())

    set_mark(tmp_path / ".trtpipe" / "state.json")

    assert not stamp.is_unchanged((), ())
