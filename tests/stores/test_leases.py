"""Locks that are files: held by one, taken over from the dead."""

from __future__ import annotations

import os
import socket
import time

import pytest
from filelock import Timeout

from trtpipe.stores import leases
from trtpipe.stores.leases import FileLease
from trtpipe.stores.local import LocalStore

DEAD = f"{socket.gethostname()}-999999999-abc"
ELSEWHERE = "elsewhere-1-abc"


def test_it_is_held_by_one_at_a_time(tmp_path):
    with FileLease(tmp_path / "x.lock"), pytest.raises(Timeout):
        FileLease(tmp_path / "x.lock").acquire(timeout=0.1)
    with FileLease(tmp_path / "x.lock"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_one_of_a_process_of_this_machine_that_died_is_taken_over_at_once(tmp_path):
    (tmp_path / "x.lock").write_text(DEAD)

    lease = FileLease(tmp_path / "x.lock")
    lease.acquire(timeout=1.0)
    held = (tmp_path / "x.lock").read_text()
    lease.release()

    assert held != DEAD
    assert list(tmp_path.iterdir()) == []


def test_one_of_a_machine_that_never_came_back_is_taken_over_after_a_while(tmp_path, monkeypatch):
    monkeypatch.setattr(leases, "LEASE_SECONDS", 0.2)
    (tmp_path / "x.lock").write_text(ELSEWHERE)
    began = time.monotonic()

    FileLease(tmp_path / "x.lock").acquire(timeout=5.0).release()

    assert time.monotonic() - began >= 0.2


def test_one_that_is_touched_is_alive_whatever_its_clock_says(tmp_path, monkeypatch):
    monkeypatch.setattr(leases, "LEASE_SECONDS", 0.3)
    path = tmp_path / "x.lock"
    path.write_text(ELSEWHERE)
    other = FileLease(path)

    for hour in range(8):
        os.utime(path, (hour * 3600, hour * 3600))
        with pytest.raises(Timeout):
            other.acquire(timeout=0.1)


def test_who_lost_it_does_not_take_it_from_the_next(tmp_path):
    path = tmp_path / "x.lock"
    first = FileLease(path).acquire()
    path.write_text(ELSEWHERE)

    first.release()

    assert path.read_text() == ELSEWHERE


def test_a_store_with_lock_files_leaves_none_behind(tmp_path):
    store = LocalStore(tmp_path / "store", lock_files=True)
    with store.lock("ab" * 32, lambda: None):
        assert [path.name for path in (store.root / "locks").iterdir()] == ["ab" * 32 + ".lock"]
    assert list((store.root / "locks").iterdir()) == []
