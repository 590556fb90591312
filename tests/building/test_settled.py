"""What is settled need not be planned: each condition is broken once, and every answer is held against a whole plan's.

The project is one of `tests/many_cells.py`: three pipelines of two cells, all built.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.many_cells import STORE, ManyCells, spec, targets_of
from trtpipe.building.unchanged.settled import open_unsettled
from trtpipe.cli.build import build_command
from trtpipe.cli.build_options import BuildOptions
from trtpipe.cli.check import check_command
from trtpipe.cli.lock import lock_command
from trtpipe.cli.plan import Form, plan_command
from trtpipe.cli.report import report_command
from trtpipe.digests import digest_bytes
from trtpipe.errors import SpecError

pytestmark = pytest.mark.engine

RECORD, SHARES = Path(".trtpipe/settled"), Path(".trtpipe/reports")
ALL = ["digits0", "digits1", "digits2"]


BUNDLE = """\
schema: 1
bundle: whole
members: {one: digits0/fp16, other: digits1/fp16}
edges: {one.scores: other.image}
"""


def settle() -> None:
    """Wait until what was just written counts as unchanged."""
    time.sleep(0.1)


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("built") / "p"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRTPIPE_STORE", STORE)
        project = ManyCells(root, 6, each=2)
        project.write()
        patch.chdir(root)
        build_command(BuildOptions(["digits0/*@t0"], ()))
        project.invent()
        settle()
        build_command(BuildOptions((), ()))
    return root


@pytest.fixture
def project(built, tmp_path, monkeypatch) -> ManyCells:
    """A copy that was built where it is."""
    root = tmp_path / "p"
    shutil.copytree(built, root, symlinks=True)
    monkeypatch.setenv("TRTPIPE_STORE", STORE)
    monkeypatch.chdir(root)
    settle()
    build_command(BuildOptions((), ()))
    assert settled_names() == ALL
    return ManyCells(root, 6, each=2)


def settled_names(*arguments: str) -> list[str]:
    _, settled = open_unsettled(arguments, ())
    return [one.name for one in settled.pipelines.values()]


def answers(*arguments: str) -> list[tuple[int, str]]:
    """Exit codes and output of the commands that take answers from the record."""
    found = []
    for command in (
        lambda: plan_command(arguments, (), Form(), force=False, exit_code=True),
        lambda: plan_command(arguments, (), Form(why=True), force=False),
        lambda: lock_command(arguments, (), check=True, as_json=False),
        lambda: lock_command(arguments, (), check=True, as_json=True),
        lambda: check_command(arguments, (), as_json=False),
        lambda: check_command(arguments, (), as_json=True),
    ):
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            found.append((command(), out.getvalue()))
    return found


def assert_answers_as_without_record(*arguments: str) -> None:
    with_record = answers(*arguments)
    RECORD.unlink(missing_ok=True)
    assert with_record == answers(*arguments)


def rewrite(path: Path, change: Callable[[str], str] = lambda text: text) -> None:
    path.write_text(change(path.read_text()))


def upgrade(monkeypatch) -> None:
    monkeypatch.setattr("trtpipe.building.stamp.__version__", "99.0")


CHANGES: dict[str, tuple[Callable[[ManyCells, pytest.MonkeyPatch], object], list[str]]] = {
    "nothing": (lambda project, patch: None, ALL),
    "a spec": (lambda project, patch: project.change(1), ["digits0", "digits2"]),
    "a spec, to the same": (lambda project, patch: rewrite(project.spec_file(2)), ["digits0", "digits1"]),
    "a new spec": (
        lambda project, patch: project.spec_file(3).write_text(spec(3, targets_of(1))),
        ALL,
    ),
    "a spec is gone": (lambda project, patch: project.spec_file(0).unlink(), ["digits1", "digits2"]),
    "a delivered file is gone": (
        lambda project, patch: (project.root / "build/digits1/fp16@t0/model.engine").unlink(),
        ["digits0", "digits2"],
    ),
    "a delivered file was touched": (
        lambda project, patch: (project.root / "build/digits2/fp16@t1/manifest.json").touch(),
        ["digits0", "digits1"],
    ),
    "a proof appeared": (
        lambda project, patch: (project.root / "build/digits0/fp16@t1/proof.json").write_text("{}"),
        ["digits1", "digits2"],
    ),
    "the model": (lambda project, patch: (project.root / "models/digits.onnx").touch(), []),
    "the lockfile": (lambda project, patch: rewrite(project.root / "trtpipe.lock"), []),
    "the lockfile is gone": (lambda project, patch: (project.root / "trtpipe.lock").unlink(), []),
    "shared defaults": (lambda project, patch: (project.root / "trtpipe.yaml").write_text("schema: 1\n"), []),
    "a data set": (lambda project, patch: (project.root / "calibration").mkdir(), []),
    "the state": (lambda project, patch: (project.root / ".trtpipe/state.json").unlink(), []),
    "the record, damaged": (lambda project, patch: os.truncate(RECORD, RECORD.stat().st_size - 1), []),
    "the record, of somebody else": (
        lambda project, patch: RECORD.write_bytes(RECORD.read_bytes().replace(b'"seal":"', b'"seal":"0', 1)),
        [],
    ),
    "another trtpipe": (lambda project, patch: upgrade(patch), []),
    "another interpreter": (lambda project, patch: patch.setattr(sys, "executable", "/usr/bin/other"), []),
    "other toolchains": (lambda project, patch: patch.setenv("TRTPIPE_TOOLCHAINS", "/nowhere"), []),
    "another store": (lambda project, patch: patch.setenv("TRTPIPE_STORE", ".trtpipe/./store"), []),
    "the user's configuration": (
        lambda project, patch: patch.setenv("XDG_CONFIG_HOME", str(project.root)),
        [],
    ),
}


@pytest.mark.parametrize(("change", "left"), CHANGES.values(), ids=CHANGES)
def test_what_changed_is_planned_and_the_answers_are_those_of_a_whole_plan(
    project, monkeypatch, change, left
):
    change(project, monkeypatch)

    assert settled_names() == left
    if "TRTPIPE_TOOLCHAINS" not in os.environ:
        assert_answers_as_without_record()


def test_a_package_whose_version_is_in_the_keys_was_upgraded(project, monkeypatch):
    from trtpipe.building.unchanged import watched_files

    watched_files._metadata_of.cache_clear()
    monkeypatch.setattr(watched_files, "_metadata_of", lambda name: project.root / f"{name}-2.dist-info")
    (project.root / "numpy-2.dist-info").mkdir()
    rewrite(project.spec_file(0))
    settle()
    build_command(BuildOptions((), ()))
    assert settled_names() == ALL

    (project.root / "numpy-2.dist-info").rmdir()

    assert settled_names() == []


def test_answers_are_forgotten_with_the_state_that_they_were_found_with(project):
    (project.root / ".trtpipe" / "state.json").unlink()
    plan_command((), (), Form(), force=False)  # which writes a new one

    assert settled_names() == []
    build_command(BuildOptions((), ()))
    assert settled_names() == ALL


def test_a_nearer_project_file_appeared(project):
    (project.root / "pipelines" / "trtpipe.lock").write_text("")

    with pytest.raises(SpecError, match="no such file"):  # which its pipelines are planned to find
        open_unsettled((), ())


def test_a_name_that_was_given_twice_is_told(project):
    project.spec_file(7).write_text(spec(1, targets_of(1)))

    with pytest.raises(SpecError, match="pipeline 'digits1' is also in"):
        open_unsettled((), ())


def test_a_project_with_a_bundle_is_planned_whole(project):
    (project.root / "pipelines" / "whole.yaml").write_text(BUNDLE)

    workspace, settled = open_unsettled((), ())
    assert not settled.pipelines
    assert len(workspace.pipelines) == 3


@pytest.mark.parametrize("arguments", [("pipelines/digits0001.yaml",), ("digits1/fp16@t0",), ("pipelines",)])
def test_a_command_about_some_pipelines_takes_from_the_record_what_it_is_about(project, arguments):
    names = {"pipelines/digits0001.yaml": ["digits1"], "pipelines": ALL}.get(arguments[0], [])

    assert settled_names(*arguments) == names
    assert_answers_as_without_record(*arguments)


def test_a_build_of_one_pipeline_keeps_what_is_known_of_the_others(project):
    project.change(1)
    settle()

    build_command(BuildOptions(["pipelines/digits0001.yaml"], ()))

    assert settled_names() == ALL
    assert_answers_as_without_record()


@pytest.mark.parametrize("options", [BuildOptions((), ("digits0/*@t1",)), BuildOptions((), (), as_json=True)])
def test_a_build_that_plans_everything_or_some_cells_leaves_what_is_known(project, options):
    project.change(0)
    settle()

    assert build_command(options) == 0

    assert settled_names() == (["digits1", "digits2"] if options.only else ALL)
    assert_answers_as_without_record()


def test_another_build_that_wrote_the_lockfile_meanwhile_makes_the_others_be_planned(project, monkeypatch):
    from trtpipe.building import lock_writer

    write_entries = lock_writer.write_entries

    def edited_before(planned, *given):
        rewrite(project.root / "trtpipe.lock")
        return write_entries(planned, *given)

    monkeypatch.setattr(lock_writer, "write_entries", edited_before)
    project.change(1)
    settle()

    build_command(BuildOptions(["pipelines/digits0001.yaml"], ()))

    assert settled_names() == ["digits1"]


def test_a_failed_build_settles_the_pipelines_that_are_whole(project):
    project.change(0, 1)
    folder = project.root / "build" / "digits0" / "fp16@t0"
    shutil.rmtree(folder)
    folder.write_text("in the way")
    settle()

    assert build_command(BuildOptions((), (), keep_going=True)) == 1

    assert settled_names() == ["digits1", "digits2"]


REPORTS = ("report.json", "report.html", "junit.xml", "summary.md")


def reports_of(project: ManyCells) -> dict[str, str]:
    return {name: (project.root / "build" / name).read_text() for name in REPORTS}


def deliver_again(project: ManyCells) -> dict[str, str]:
    """The reports of a build that puts one cell into place."""
    (project.root / "build" / "digits1" / "fp16@t0" / "manifest.json").unlink()
    settle()
    assert build_command(BuildOptions((), ())) == 0
    return reports_of(project)


def loaded_by(monkeypatch) -> list[str]:
    """The specs that are read from now on."""
    from trtpipe.loader import all_specs

    read, complete_document = [], all_specs.complete_document
    monkeypatch.setattr(
        all_specs, "complete_document", lambda path: read.append(path.stem) or complete_document(path)
    )
    return read


def test_reports_of_a_build_that_planned_one_pipeline_are_those_of_one_that_planned_all(project, monkeypatch):
    read = loaded_by(monkeypatch)

    of_one = deliver_again(project)
    assert read == ["digits0001"]

    RECORD.unlink()
    of_all = deliver_again(project)
    assert sorted(read) == ["digits0000", "digits0001", "digits0001", "digits0002"]
    assert of_one == of_all
    assert json.loads(of_one["report.json"])["counts"]["states"] == {"restored": 1, "up to date": 5}


@pytest.mark.parametrize(
    "most", ["trtpipe.reports.build_page.MOST_ROWS", "trtpipe.reports.making_shares._MOST_DETAILS"]
)
def test_a_cell_that_comes_into_view_is_shown_as_in_a_whole_report(project, monkeypatch, most):
    with monkeypatch.context() as patch:
        patch.setattr(most, 1)
        patch.setattr("trtpipe.reports.making_shares.MOST_ROWS", 1)
        assert report_command((), (), since=None, as_json=False) == 0
        build_command(BuildOptions((), ()))
    of_one = deliver_again(project)

    RECORD.unlink()
    assert of_one == deliver_again(project)


@pytest.mark.parametrize("kind", ["damaged", "gone", "a bench appeared"])
def test_a_share_that_does_not_fit_makes_its_pipeline_be_planned(project, monkeypatch, kind):
    share = SHARES / digest_bytes(b"digits0").hex[:32]
    if kind == "damaged":
        os.truncate(share, share.stat().st_size - 1)
    elif kind == "gone":
        share.unlink()
    else:
        (project.root / "build" / "digits0" / "fp16@t1" / "bench.json").write_text("{}")
    read = loaded_by(monkeypatch)

    of_some = deliver_again(project)
    assert read == ["digits0000", "digits0001"]

    RECORD.unlink()
    assert of_some == deliver_again(project)


def test_a_share_that_is_lost_while_the_build_runs_leaves_the_reports_to_the_next_build(project, capsys):
    from trtpipe.workspace.reports_mark import is_marked

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("trtpipe.app.report.pipeline_shares.kept_share", lambda root, name: None)
        deliver_again(project)
    assert (
        "the reports were not written: ArtifactMissing: what was kept of digits0 for the reports is gone"
        in capsys.readouterr().err
    )
    assert is_marked(project.root)

    assert build_command(BuildOptions((), ())) == 0

    assert capsys.readouterr().out == "nothing to do, reports written\n"
    assert not is_marked(project.root)


def test_a_build_of_which_all_is_settled_takes_a_stamp(project):
    from trtpipe.building.stamp import is_unchanged

    arguments = ["pipelines/digits0002.yaml"]
    assert not is_unchanged(arguments, ())

    build_command(BuildOptions(arguments, ()))

    assert is_unchanged(arguments, ())
    project.change(2)
    assert not is_unchanged(arguments, ())


def test_the_page_of_a_settled_cell_is_written_again_when_it_is_gone(project):
    page, found = project.root / "build" / "digits2" / "fp16@t0" / "report.html", []
    for _ in range(2):
        page.unlink()
        deliver_again(project)
        found.append(page.read_text())
        RECORD.unlink()

    assert found[0] == found[1]
