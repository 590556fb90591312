"""Files are written whole or not at all, also where a disk is full or a rename is refused; and read only if regular."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import socket
import stat
import threading
from pathlib import Path

import filelock
import pytest

from trtpipe import files
from trtpipe.files import (
    held,
    is_special,
    open_regular,
    owner_is_dead,
    owner_of,
    owner_prefix,
    place_file,
    read_regular,
    sweep_files,
    write_whole,
)

DEAD = 999_999_999


def refusing(number: int):
    def refuse(*_, **__):
        raise OSError(number, os.strerror(number))

    return refuse


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# -- writing


@pytest.mark.parametrize("durable", [True, False])
def test_a_file_is_replaced_whole_and_can_be_read_by_others(tmp_path, durable):
    path = tmp_path / "a.json"
    path.write_bytes(b"old and longer")

    write_whole(path, b"new", durable=durable)

    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert names(tmp_path) == ["a.json"]


@pytest.mark.parametrize(("durable", "asked"), [(True, 1), (False, 0)])
def test_what_must_survive_a_power_failure_is_on_disk_before_the_rename(
    tmp_path, monkeypatch, durable, asked
):
    done = []
    rename = Path.replace
    monkeypatch.setattr(files.os, "fsync", lambda handle: done.append("sync"))
    monkeypatch.setattr(Path, "replace", lambda path, to: (done.append("rename"), rename(path, to))[1])

    write_whole(tmp_path / "a", b"x", durable=durable)

    assert done == ["sync"] * asked + ["rename"]


@pytest.mark.parametrize("step", ["fsync", "rename", "chmod"])
def test_a_write_that_fails_leaves_the_old_file_and_nothing_beside_it(tmp_path, monkeypatch, step):
    path = tmp_path / "a.json"
    path.write_bytes(b"old")
    if step == "fsync":
        monkeypatch.setattr(files.os, "fsync", refusing(errno.ENOSPC))
    else:
        monkeypatch.setattr(Path, {"rename": "replace", "chmod": "chmod"}[step], refusing(errno.ENOSPC))

    with pytest.raises(OSError, match="No space left"):
        write_whole(path, b"new")

    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["a.json"]


def test_an_interrupted_write_leaves_nothing_either(tmp_path, monkeypatch):
    def interrupt(handle):
        raise KeyboardInterrupt

    monkeypatch.setattr(files.os, "fsync", interrupt)

    with pytest.raises(KeyboardInterrupt):
        write_whole(tmp_path / "a", b"x")

    assert names(tmp_path) == []


def test_a_failed_write_tells_its_own_error_even_if_its_leftover_cannot_be_removed(tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "replace", refusing(errno.EACCES))
    monkeypatch.setattr(Path, "unlink", refusing(errno.EPERM))

    with pytest.raises(PermissionError) as caught:
        write_whole(tmp_path / "a", b"x")

    assert caught.value.errno == errno.EACCES


def test_a_folder_that_is_not_there_is_not_made(tmp_path):
    with pytest.raises(FileNotFoundError):
        write_whole(tmp_path / "no" / "a", b"x")


@pytest.mark.parametrize("name", ["n" * 255, "ä" * 127])
def test_a_name_as_long_as_a_file_system_takes_can_be_written(tmp_path, name):
    write_whole(tmp_path / name, b"x")

    assert (tmp_path / name).read_bytes() == b"x"


# -- reading what may be anything


def fifo(path: Path) -> Path:
    os.mkfifo(path)
    return path


def test_what_is_no_regular_file_is_told_apart(tmp_path):
    plain = tmp_path / "plain"
    plain.write_bytes(b"x")
    link = tmp_path / "link"
    link.symlink_to(plain)

    assert [is_special(path) for path in (plain, link, tmp_path / "none", Path("a\0b"))] == [False] * 4
    assert is_special(tmp_path) and is_special(Path("/dev/null")) and is_special(fifo(tmp_path / "pipe"))


@pytest.mark.parametrize("make", [fifo, lambda path: Path("/dev/zero")], ids=["pipe", "device"])
def test_a_pipe_or_device_is_refused_at_once_and_stays_open_nowhere(tmp_path, make):
    path = make(tmp_path / "p")
    before = len([*Path("/proc/self/fd").iterdir()])

    with pytest.raises(OSError, match="it is not a regular file"):
        open_regular(path)

    assert len([*Path("/proc/self/fd").iterdir()]) == before


@pytest.mark.parametrize(("size", "fits"), [((1 << 20) + 0, True), ((1 << 20) + 1, False)])
def test_a_file_is_read_up_to_its_limit(tmp_path, size, fits):
    path = tmp_path / "a"
    path.write_bytes(b"x" * size)

    if fits:
        assert len(read_regular(path, 1 << 20)) == size
    else:
        with pytest.raises(OSError, match="it is larger than 1 MiB"):
            read_regular(path, 1 << 20)


# -- moving from one file system to another


@pytest.fixture
def apart(tmp_path, monkeypatch):
    """Two folders between which a rename is refused, as between two file systems; the second has a `tmp`."""
    rename = Path.replace

    def replace(path, target):
        if path.parent == tmp_path / "a":
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        return rename(path, target)

    for name in ("a", "b", "b/tmp"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(Path, "replace", replace)
    (tmp_path / "a/made").write_bytes(b"engine")
    return tmp_path


def test_a_file_of_another_file_system_is_copied_beside_its_place_and_then_renamed(apart):
    place_file(apart / "a/made", apart / "b/kept", scratch=apart / "b/tmp")

    assert (apart / "b/kept").read_bytes() == b"engine"
    assert stat.S_IMODE((apart / "b/kept").stat().st_mode) == 0o444
    assert names(apart / "a") == [] and names(apart / "b/tmp") == []


def test_a_copy_that_does_not_fit_keeps_the_file_and_fills_no_place(apart, monkeypatch):
    monkeypatch.setattr(shutil, "copyfile", refusing(errno.ENOSPC))

    with pytest.raises(OSError, match="No space left"):
        place_file(apart / "a/made", apart / "b/kept", scratch=apart / "b/tmp")

    assert (apart / "a/made").read_bytes() == b"engine"
    assert not (apart / "b/kept").exists()


def test_a_rename_that_is_refused_for_another_reason_is_not_tried_otherwise(tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "replace", refusing(errno.EACCES))

    with pytest.raises(PermissionError):
        place_file(tmp_path / "a", tmp_path / "b", scratch=tmp_path)

    assert names(tmp_path) == []


# -- whose file it is


def test_a_name_tells_its_process_on_this_machine_alone():
    host = socket.gethostname()

    assert owner_of(owner_prefix() + "abc") == os.getpid()
    assert owner_of(f"{host}-12-n0-x") == 12
    for other in ("elsewhere-12-n0-x", f"{host}-x-n0-x", f"{host}-²-n0-x", f"{host}", ""):
        assert owner_of(other) is None


@pytest.mark.parametrize(
    ("failure", "dead"),
    [(ProcessLookupError, True), (OverflowError, True), (PermissionError, False), (OSError, False)],
)
def test_a_process_counts_as_dead_only_where_the_system_says_that_there_is_none(monkeypatch, failure, dead):
    def kill(pid, number):
        assert (pid, number) == (DEAD, 0)
        raise failure

    monkeypatch.setattr(files.os, "kill", kill)

    assert owner_is_dead(owner_prefix().replace(f"-{os.getpid()}-", f"-{DEAD}-")) is dead


def test_where_asking_would_end_a_process_all_count_as_alive(monkeypatch):
    dead = owner_prefix().replace(f"-{os.getpid()}-", f"-{DEAD}-")
    assert owner_is_dead(dead)

    monkeypatch.setattr(files.os, "name", "nt")

    assert not owner_is_dead(dead)


def test_a_system_without_namespaces_has_the_one(monkeypatch):
    monkeypatch.setattr(Path, "readlink", refusing(errno.ENOENT))

    assert owner_prefix() == f"{socket.gethostname()}-{os.getpid()}-n0-"


def test_a_leftover_that_somebody_else_removes_meanwhile_is_no_error(tmp_path, monkeypatch):
    left = tmp_path / f".a.{owner_prefix().replace(f'-{os.getpid()}-', f'-{DEAD}-')}x"
    left.write_bytes(b"half")
    unlink = Path.unlink

    def late(path, missing_ok=False):
        unlink(path)
        unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", late)

    assert sweep_files(tmp_path) == 1


# -- locks


def test_a_lock_keeps_a_second_holder_out_until_the_first_is_done(tmp_path):
    path, order = tmp_path / "new" / "a.lock", []

    def second():
        with held(path):
            order.append("second")

    with held(path):
        thread = threading.Thread(target=second)
        thread.start()
        thread.join(0.2)
        order.append("first")
    thread.join(10)

    assert order == ["first", "second"]


@pytest.mark.parametrize("failure", [OSError, NotImplementedError])
def test_where_no_lock_can_be_made_the_work_is_done_without(tmp_path, monkeypatch, failure):
    def refuse(self, *_, **__):
        raise failure

    monkeypatch.setattr(filelock.FileLock, "acquire", refuse)
    done = []

    with held(tmp_path / "a.lock"):
        done.append(1)

    assert done == [1]


def test_what_fails_under_a_lock_is_told_and_the_lock_is_free_again(tmp_path):
    with contextlib.suppress(PermissionError), held(tmp_path / "a.lock"):
        raise PermissionError("from the work itself")
    with pytest.raises(PermissionError, match="the work itself"), held(tmp_path / "a.lock"):
        raise PermissionError("from the work itself")

    with held(tmp_path / "a.lock"):
        pass
