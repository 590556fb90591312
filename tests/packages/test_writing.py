"""Packages are written whole or not at all, and the same contents give the same bytes."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from tests.packages.small_packages import contents, engine, index, model
from trtpipe import files
from trtpipe.errors import PackageError
from trtpipe.packages import places
from trtpipe.packages.archive import write_archive
from trtpipe.packages.directory import write_directory
from trtpipe.packages.verification import verify_files
from trtpipe.problem_codes import Code

WRITERS = {"dir": write_directory, "tar": write_archive}


@pytest.fixture(params=WRITERS)
def write(request):
    return WRITERS[request.param]


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def tree(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def test_a_package_is_verified_where_it_was_written(tmp_path, write):
    done = write(contents(), tmp_path / "deep" / "p")

    found = verify_files(tmp_path / "deep" / "p")
    assert (found.index, found.signed, found.digest) == (index(), False, done.digest)


def test_modes_do_not_depend_on_the_umask(tmp_path, write):
    before = os.umask(0o077)
    try:
        write(contents(), tmp_path / "p")
    finally:
        os.umask(before)

    paths = [tmp_path / "p", *(tmp_path / "p").rglob("*")]
    assert {path.stat().st_mode & 0o777 for path in paths if path.is_dir()} <= {0o755}
    assert {path.stat().st_mode & 0o777 for path in paths if path.is_file()} == {0o644}


def test_an_archive_has_the_files_of_the_directory_and_nothing_of_this_machine(tmp_path):
    write_directory(contents(), tmp_path / "p")
    write_archive(contents(), tmp_path / "p.tar")

    with tarfile.open(tmp_path / "p.tar", "r:") as archive:
        members = archive.getmembers()
        found = {one.name: archive.extractfile(one).read() for one in members}
    assert found == tree(tmp_path / "p")
    assert [one.name for one in members] == [
        "index.json",
        *sorted(name for name in found if name != "index.json"),
    ]
    facts = {(one.mode, one.mtime, one.uid, one.gid, one.uname, one.gname, one.type) for one in members}
    assert facts == {(0o644, 0, 0, 0, "", "", tarfile.REGTYPE)}
    assert {tuple(one.pax_headers) for one in members} == {()}


def test_an_archive_is_plain_ustar_unless_a_path_needs_more(tmp_path):
    write_archive(contents(), tmp_path / "p.tar")
    write_archive(contents(long_paths()), tmp_path / "long.tar")

    assert b"PaxHeader" not in (tmp_path / "p.tar").read_bytes()
    assert b"PaxHeader" in (tmp_path / "long.tar").read_bytes()
    assert verify_files(tmp_path / "long.tar").index == long_paths()
    with tarfile.open(tmp_path / "long.tar", "r:") as archive:
        assert {one.name for one in archive} == {"index.json", *long_paths().files}


def long_paths():
    """Paths that need an extended header: too long for a part of USTAR's, or not ASCII."""
    home = "models/" + "n" * 120
    names = {name: f"{home}/{name}" for name in ("file", "manifest", "provenance")}
    return index(model("net", [engine("net/fp16@ada", **names, bom="models/ü/model.cdx.json")]))


def test_the_bytes_are_the_same_in_another_place_under_another_user_s_settings(tmp_path, write):
    """What could differ: the working directory, the locale, the zone, the hash seed, the user's name, the umask."""
    form = next(name for name, one in WRITERS.items() if one is write)
    code = (
        "import os, sys; from pathlib import Path; os.umask(int(sys.argv[3], 8));"
        "from tests.packages.test_writing import WRITERS, contents, long_paths;"
        "WRITERS[sys.argv[1]](contents(long_paths()), Path(sys.argv[2]))"
    )
    settings = [
        ("one", "022", {"LANG": "C.UTF-8", "TZ": "UTC", "PYTHONHASHSEED": "0", "USER": "a", "LC_ALL": "C"}),
        (
            "two/deep",
            "077",
            {"LANG": "tr_TR", "TZ": "Asia/Tokyo", "PYTHONHASHSEED": "7", "USER": "b", "HOME": "/x"},
        ),
    ]
    made = []
    for place, umask, variables in settings:
        out = tmp_path / place / "p"
        out.parent.mkdir(parents=True)
        command = [sys.executable, "-c", code, form, str(out), umask]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **variables}
        subprocess.run(command, env=environment, cwd=out.parent, check=True)
        made.append({"": out.read_bytes()} if form == "tar" else tree(out))

    assert made[0] == made[1]


def test_what_exists_is_not_replaced(tmp_path, write):
    (tmp_path / "p").write_text("mine")

    with pytest.raises(PackageError, match="exists already"):
        write(contents(), tmp_path / "p")
    with pytest.raises(PackageError, match="is no package, so --force does not replace it"):
        write(contents(), tmp_path / "p", force=True)
    assert (tmp_path / "p").read_text() == "mine"


def test_an_older_package_is_replaced_by_force(tmp_path, write):
    write(contents(), tmp_path / "p")
    newer = index(model("net", [engine("net/fp16@ada"), engine("net/fp16@ampere")]))

    write(contents(newer), tmp_path / "p", force=True)

    assert verify_files(tmp_path / "p").index == newer
    assert names_in(tmp_path) == ["p"]


def test_a_link_is_not_followed_by_force(tmp_path):
    write_directory(contents(), tmp_path / "real")
    (tmp_path / "p").symlink_to("real")

    with pytest.raises(PackageError, match="does not replace it"):
        write_directory(contents(), tmp_path / "p", force=True)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), Code.DISK_FULL),
        (OSError(errno.EACCES, "Permission denied"), Code.CANNOT_WRITE),
    ],
)
def test_a_disk_that_is_full_in_the_middle_leaves_nothing(tmp_path, write, monkeypatch, error, code):
    older = index(model("net", [engine("net/fp32@ada")]))
    write(contents(older), tmp_path / "p")
    break_at(monkeypatch, error)

    with pytest.raises(PackageError) as caught:
        write(contents(), tmp_path / "p", force=True)

    assert caught.value.problems[0].code == code and "nothing was changed there" in str(caught.value)
    assert names_in(tmp_path) == ["p"]
    assert verify_files(tmp_path / "p").index == older


def test_ctrl_c_in_the_middle_leaves_nothing(tmp_path, write, monkeypatch):
    break_at(monkeypatch, KeyboardInterrupt())

    with pytest.raises(KeyboardInterrupt):
        write(contents(), tmp_path / "p")

    assert names_in(tmp_path) == []


def break_at(monkeypatch, error: BaseException) -> None:
    """Fails while the third file is written."""
    real, count = places.checked_chunks, iter(range(9))

    def chunks(*arguments):
        if next(count) == 2:
            raise error
        return real(*arguments)

    for module in (places, sys.modules["trtpipe.packages.archive"]):
        monkeypatch.setattr(module, "checked_chunks", chunks)


def test_what_a_killed_process_left_is_removed_by_the_next(tmp_path, write):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    mine = files.owner_prefix()
    left = tmp_path / f".p.{mine.replace(str(os.getpid()), str(ended.pid), 1)}abc"
    alive = tmp_path / f".p.{mine}abc"
    for folder in (left, alive):
        folder.mkdir()

    write(contents(), tmp_path / "p")

    assert not left.exists() and alive.exists()


def test_a_file_that_changes_while_it_is_packaged_is_noticed(tmp_path, write):
    made = contents()
    path = next(iter(made.sources))
    made.sources[path] = b"other bytes"  # type: ignore[index]

    with pytest.raises(PackageError, match=f"{path} changed while it was packaged"):
        write(made, tmp_path / "p")
    assert names_in(tmp_path) == []
