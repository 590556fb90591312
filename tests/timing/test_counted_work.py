"""What builds cost, counted: files opened, parses of lockfile and state, bytes hashed, imports, fsyncs, processes.

Counts and not seconds, because machines differ: what must not grow with the number of cells is equal for a few and for
many, what may grow is so much for each cell. The projects are those of `tests/many_cells.py`.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.many_cells import STORE, ManyCells
from tests.timing.counts import counted
from trtpipe.building import stamp
from trtpipe.building.planned import make_plan, nothing_to_do
from trtpipe.stores.sealed_files import sealed
from trtpipe.workspace.workspace import open_workspace

pytestmark = pytest.mark.engine

FEW, MORE, MANY = 10, 30, 1000
STAMPS = ".trtpipe/stamps"


@dataclass
class Counts:
    """Of one project: its first build, with all results in the store; nothing to do; two cells changed."""

    root: Path
    cells: int
    specs: int
    first: dict[str, int]
    nothing: dict[str, dict[str, int]]
    dirty: dict[str, int]


def counts_of(root: Path, cells: int, each: int = 0) -> Counts:
    project = ManyCells(root, cells, each=each or min(50, cells // 2))
    project.write()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRTPIPE_STORE", STORE)
        patch.chdir(root)
        counted(root, "build", "digits0/*@t0")
        project.invent()
        time.sleep(0.1)  # files that were written just now do not count as unchanged
        first = counted(root, "build", calls=True)
        counted(root, "build", "pipelines/digits0000.yaml")
        kinds = {"plain": (), "json": ("--json",), "jobs": ("--jobs", "2"), "offline": ("-k", "--offline")}
        nothing = {kind: counted(root, "build", *options) for kind, options in kinds.items()}
        project.change(0, 1)
        dirty = counted(root, "build", calls=True)
    return Counts(root, cells, len(project.specs), first, nothing, dirty)


@pytest.fixture(scope="module")
def few(tmp_path_factory) -> Counts:
    return counts_of(tmp_path_factory.mktemp("few") / "p", FEW)


@pytest.fixture(scope="module", params=[MORE, pytest.param(MANY, marks=pytest.mark.slow)])
def many(tmp_path_factory, request) -> Counts:
    return counts_of(tmp_path_factory.mktemp("many") / "p", request.param)


def test_a_build_with_nothing_to_do_opens_its_stamp_alone_however_many_cells_there_are(few, many):
    for kind, found in many.nothing.items():
        assert found["opened"] == 1, (kind, found)
        assert (found["processes"], found["fsyncs"]) == (0, 0)
        assert found["modules"] == few.nothing[kind]["modules"]
    assert many.nothing["plain"]["modules"] < 160


def test_a_build_reads_lockfile_and_state_once_and_again_before_it_writes_them(few, many):
    for found in (few.first, few.dirty, many.first, many.dirty):
        assert found["parses of the lockfile"] <= 1
        assert found["opened trtpipe.lock"] <= 3
        assert found["reads of the state"] <= 2


def test_each_line_of_the_state_is_parsed_once_for_each_time_that_it_is_read(few, many):
    for one in (few, many):
        assert one.dirty["parses of lines of the state"] <= 2 * (one.specs + 1)


def test_what_two_changed_cells_cost_does_not_grow_with_the_others(few, many):
    for count in ("fsyncs", "processes"):
        assert many.dirty[count] == few.dirty[count], count
    hashed = few.dirty["bytes hashed"], many.dirty["bytes hashed"]
    # Sizes of engines and logs vary, and one that is read within 50 ms of its writing is digested once more.
    engine = max(path.stat().st_size for path in few.root.glob("build/**/model.engine"))
    assert max(hashed) < 1.01 * min(hashed) + 1.05 * engine
    assert many.dirty["fsyncs"] < 100


def test_of_pipelines_that_did_not_change_a_build_opens_their_share_of_the_reports_alone(tmp_path_factory):
    some, more = (counts_of(tmp_path_factory.mktemp("specs") / "p", cells, each=2) for cells in (8, 24))

    for count in ("parses of lines of the state", "parses of the lockfile", "processes", "fsyncs"):
        assert some.dirty[count] == more.dirty[count], count
    assert more.dirty["opened"] - some.dirty["opened"] <= more.specs - some.specs


def test_a_first_build_costs_the_same_for_each_cell(few, many):
    for count in ("fsyncs", "bytes hashed"):
        each = (many.first[count] - few.first[count]) / (many.cells - few.cells)
        assert each <= few.first[count] / few.cells * 1.1, count
    assert many.first["fsyncs"] / many.cells < 12
    assert many.first["processes"] == few.first["processes"]


def test_files_are_opened_in_proportion_to_the_cells(few, many):
    for one, other in ((few.first, many.first), (few.dirty, many.dirty)):
        each = (other["opened"] - one["opened"]) / (many.cells - few.cells)
        assert each <= one["opened"] / few.cells * 1.1
    assert (many.dirty["opened"] - few.dirty["opened"]) / (many.cells - few.cells) < 3


@pytest.fixture
def project(few, monkeypatch) -> Path:
    """The project of a few cells, built and without stamps."""
    monkeypatch.setenv("TRTPIPE_STORE", STORE)
    monkeypatch.chdir(few.root)
    shutil.rmtree(few.root / STAMPS, ignore_errors=True)
    return few.root


def take(*arguments: str, meanwhile: Callable[[], object] = lambda: None) -> bool:
    """Take the stamp of a plan, with something happening since it was made; whether the next build relies on it."""
    planned = make_plan(open_workspace([], ()))
    assert nothing_to_do(planned)
    meanwhile()
    stamp.take(planned, arguments, ())
    return stamp.is_unchanged(arguments, ())


def test_a_spec_that_was_edited_during_the_build_is_not_taken_for_built(project):
    spec = project / "pipelines" / "digits0000.yaml"

    assert not take(meanwhile=lambda: spec.write_text(spec.read_text()))
    assert take()


def test_a_file_that_was_changed_after_its_delivery_is_not_taken_for_delivered(project):
    manifest = project / "build" / "digits0" / "fp16@t1" / "manifest.json"
    found = manifest.stat()

    assert not take(meanwhile=manifest.touch)
    os.utime(manifest, ns=(found.st_atime_ns, found.st_mtime_ns))
    assert take()


def test_the_stamps_of_the_last_few_commands_are_kept(project):
    assert all(take(f"spec{number}") for number in range(18))

    assert len(list((project / STAMPS).iterdir())) == 16
    assert not stamp.is_unchanged(["spec0"], ())
    assert stamp.is_unchanged(["spec17"], ())


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b'{"environment": 1, "seen": 2}', b"\xff"])
def test_a_stamp_of_another_form_counts_as_none(project, content):
    assert take()
    (path,) = (project / STAMPS).iterdir()
    good = path.read_bytes()
    path.write_bytes(sealed(content))
    assert not stamp.is_unchanged((), ())
    path.write_bytes(good[:10] + (b"1" if good[10:11] == b"0" else b"0") + good[11:])
    assert not stamp.is_unchanged((), ()), "which somebody else has written"
