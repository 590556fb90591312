"""What killed processes left goes with the next build; what live ones are writing stays."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.traces import trace_of
from trtpipe import files
from trtpipe.files import owner_prefix, sweep_files, temporary_folder, write_whole
from trtpipe.stores.local import LocalStore
from trtpipe.workspace.leftovers import sweep_project

DEAD = 999_999_999


def names(base: str) -> dict[str, str]:
    """A temporary file's names for `base`: of a process that is gone, and of processes that may live."""
    ours = owner_prefix()
    gone = ours.replace(f"-{os.getpid()}-", f"-{DEAD}-")
    return {
        "dead": f".{base}.{gone}abc",
        "alive": f".{base}.{ours}abc",
        "in another container": f".{base}.{gone.rpartition('-n')[0]}-n1-abc",
        "on another machine": f".{base}.elsewhere-{DEAD}-n1-abc",
        "nobody's": f".{base}.swp",
    }


def strew(folder: Path, base: str) -> set[Path]:
    """Put all of them into a folder; those that must stay."""
    folder.mkdir(parents=True, exist_ok=True)
    found = {kind: folder / name for kind, name in names(base).items()}
    for path in found.values():
        path.write_bytes(b"half")
    return set(found.values()) - {found["dead"]}


def hidden(root: Path) -> set[Path]:
    return {path for path in root.rglob(".*") if path.is_file()}


def test_only_files_of_dead_processes_here_are_removed(tmp_path):
    stay = strew(tmp_path, "a.b-c.json")

    assert sweep_files(tmp_path) == 1
    assert hidden(tmp_path) == stay
    assert sweep_files(tmp_path / "nowhere") == 0


def test_who_writes_somewhere_removes_what_was_left_there_of_other_files(tmp_path):
    stay = strew(tmp_path, "other.json")

    write_whole(tmp_path / "mine.json", b"x")

    assert hidden(tmp_path) == stay


def test_a_store_is_swept_before_the_first_write_wherever_it_writes(tmp_path):
    store = LocalStore(tmp_path)
    stay = set()
    for folder in ("", "traces/ab", "projects", "timing/10.1-sm89"):
        stay |= strew(tmp_path / folder, "x.json")
    (tmp_path / "tmp").mkdir()
    left = tmp_path / "tmp" / names("x")["dead"].removeprefix(".x.")
    left.write_bytes(b"half of an artifact")

    store.record(trace_of({"a": 1}))

    assert hidden(tmp_path) == stay
    assert not left.exists()


def test_a_project_is_swept_down_to_its_cells_and_no_further(tmp_path):
    stay = set()
    for folder in ("", ".trtpipe", "build", "build/net", "build/net/fp32@ada"):
        stay |= strew(tmp_path / folder, "model.engine")
    deeper = tmp_path / "build/net/fp32@ada/mine"
    strew(deeper, "x")
    stay |= hidden(deeper)

    sweep_project(tmp_path, tmp_path / "build")

    assert hidden(tmp_path) == stay


def test_temporary_folders_of_dead_processes_are_removed_by_the_next(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    gone = tmp_path / f"trtpipe-model-{names('x')['dead'].removeprefix('.x.')}"
    others = tmp_path / "trtpipe-model-abc", tmp_path / names("y")["dead"]
    for path in (gone, *others):
        path.mkdir()
        (path / "half").write_bytes(b"x")

    with temporary_folder("diff") as mine, temporary_folder("diff") as again:
        assert {*tmp_path.iterdir()} == {mine, again, *others}
    assert {*tmp_path.iterdir()} == {*others}


def test_a_temporary_folder_of_another_user_is_left_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(files.os, "getuid", lambda: tmp_path.stat().st_uid + 1)
    theirs = tmp_path / f"trtpipe-model-{names('x')['dead'].removeprefix('.x.')}"
    theirs.mkdir()

    with temporary_folder("diff"):
        assert theirs.exists()


@pytest.mark.slow
@pytest.mark.engine
def test_after_builds_that_were_killed_at_random_points_nothing_is_left(tmp_path):
    script = Path(__file__).with_name("killed_builds.py")
    done = subprocess.run(
        [sys.executable, script, tmp_path / "storm", "--kills", "24"],
        capture_output=True,
        text=True,
        check=True,
    )

    found = json.loads(done.stdout)
    assert found["killed"] > 12
    assert found["left on the way"] > 0, "the kills left nothing that could be swept"
    assert found["left"] == []
