"""The store's contract, held against the local store."""

from __future__ import annotations

import os
import socket
import threading
import time
from pathlib import Path

import pytest

from tests.traces import trace_of
from trtpipe.digests import digest_bytes, digest_file, key_of
from trtpipe.errors import ArtifactDamaged, ArtifactMissing, StoreError
from trtpipe.stores import placement
from trtpipe.stores.local import LocalStore


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


def put(store: LocalStore, data: bytes):
    with store.scratch() as scratch:
        (scratch / "x").write_bytes(data)
        return store.put(scratch / "x")


def test_what_is_put_is_fetched(store, tmp_path):
    digest = put(store, b"engine")

    store.fetch(digest, tmp_path / "out" / "model.engine")

    assert digest == digest_bytes(b"engine")
    assert (tmp_path / "out" / "model.engine").read_bytes() == b"engine"


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(OSError) as caught:
        digest_file(tmp_path)

    assert str(caught.value.filename) == str(tmp_path)
    assert caught.value.strerror == "Is a directory"


def test_an_artifact_costs_its_bytes_once(store, tmp_path):
    digest = put(store, b"engine")

    store.fetch(digest, tmp_path / "model.engine")

    assert (tmp_path / "model.engine").stat().st_nlink == 2


def test_fetching_twice_leaves_one_file_and_no_rest(store, tmp_path):
    digest = put(store, b"engine")
    out = tmp_path / "out"

    store.fetch(digest, out / "model.engine")
    store.fetch(digest, out / "model.engine")

    assert [path.name for path in out.iterdir()] == ["model.engine"]


def test_an_unknown_digest_is_missing(store, tmp_path):
    with pytest.raises(ArtifactMissing):
        store.fetch(digest_bytes(b"never"), tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_damaged_bytes_are_refused_and_put_aside(store, tmp_path):
    digest = put(store, b"engine")
    path = store.path(digest)
    path.chmod(0o644)
    path.write_bytes(b"emgine")

    with pytest.raises(ArtifactDamaged):
        store.fetch(digest, tmp_path / "x")

    assert not (tmp_path / "x").exists()
    assert not store.has(digest)
    assert len(list((store.root / "quarantine").iterdir())) == 1
    assert put(store, b"engine") == digest
    store.fetch(digest, tmp_path / "x")


def test_putting_over_a_damaged_copy_heals_it(store, tmp_path):
    digest = put(store, b"engine")
    path = store.path(digest)
    path.chmod(0o644)
    path.write_bytes(b"emgine")

    put(store, b"engine")

    store.fetch(digest, tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == b"engine"


def test_equal_bytes_put_at_the_same_time_are_one_artifact(store):
    digests = []
    threads = [threading.Thread(target=lambda: digests.append(put(store, b"same" * 1000))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(set(digests)) == 1
    assert len(digests) == 8


def test_a_trace_is_found_by_its_key(store):
    digest = put(store, b"engine")
    trace = trace_of({"stage": "import"}, {"out": digest}, {"n": 1})

    store.record(trace)

    assert store.trace(trace.key) == trace
    assert store.trace("cd" * 32) is None


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"schema": 99}', '{"schema": 1}'])
def test_a_damaged_trace_counts_as_none(store, text):
    trace = trace_of({})
    store.record(trace)
    store.trace_path(trace.key).write_text(text)

    assert store.trace(trace.key) is None


def test_scratch_directories_of_dead_processes_are_swept(store):
    with store.scratch() as scratch:
        own = scratch.name
        host = own.rsplit(f"-{os.getpid()}-", 1)[0]
        dead = scratch.parent / f"{host}-999999999-abc"
        dead.mkdir()
        (dead / "half").write_bytes(b"x")
        other = LocalStore(store.root)
        with other.scratch():
            assert not dead.exists()
            assert scratch.exists()


def test_a_lock_is_held_by_one_at_a_time(store):
    waited = []

    class GaveUp(Exception):
        pass

    def waiting() -> None:
        waited.append(True)
        raise GaveUp

    other = LocalStore(store.root)
    with store.lock("ab" * 32, waiting):
        with pytest.raises(GaveUp), other.lock("ab" * 32, waiting):
            pass
        with other.lock("cd" * 32, waiting):
            pass
    with other.lock("ab" * 32, waiting):
        pass
    assert waited == [True]


def test_a_store_of_another_schema_is_refused(store):
    put(store, b"x")
    (store.root / "store.json").write_text('{"schema": 2}')

    with pytest.raises(StoreError, match="has schema 2, this trtpipe writes schema 1"):
        put(LocalStore(store.root), b"y")


def test_a_full_disk_is_one_clear_error(store, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("trtpipe.stores.local.flush", full)
    with pytest.raises(StoreError, match="no space left on the device that holds"):
        put(store, b"engine")
    assert not list(store.root.glob("objects/*/*"))


KEPT = {"result": 1}


def keep(store: LocalStore, **files: bytes):
    """Keep the files of a result, and its trace."""

    with store.scratch() as scratch:
        for name, data in files.items():
            (scratch / name).write_bytes(data)
        return store.keep(
            {name: scratch / name for name in files}, lambda found: trace_of(KEPT, outputs=found)
        )


def test_a_result_and_its_trace_are_kept(store, tmp_path):
    known = put(store, b"log")

    made = keep(store, engine=b"engine", log=b"log", same=b"engine")

    assert store.trace(made.key) == made
    assert made.outputs == {
        "engine": digest_bytes(b"engine"), "log": known, "same": digest_bytes(b"engine"),
    }  # fmt: skip
    assert all(digest_file(store.path(digest)) == digest for digest in made.outputs.values())
    assert len(list(store.root.glob("objects/*/*"))) == 2


def test_everything_is_on_disk_before_anything_has_its_name(store, monkeypatch):
    happened: list[str] = []
    flush, place = placement.flush, LocalStore._place

    def flushed(path: Path) -> None:
        assert not list(store.root.glob("objects/*/*")) and store.trace(key_of(KEPT)) is None
        flush(path)
        happened.append("flushed")

    def placed(self: LocalStore, *file: object) -> None:
        assert store.trace(key_of(KEPT)) is None
        place(self, *file)
        happened.append("placed")

    monkeypatch.setattr(placement, "flush", flushed)
    monkeypatch.setattr(LocalStore, "_place", placed)
    keep(store, a=b"1", b=b"2")

    assert happened == ["flushed"] * 3 + ["placed"] * 2
    assert store.trace(key_of(KEPT)) is not None


def test_a_result_that_the_disk_has_no_room_for_leaves_nothing(store, monkeypatch):
    def full(path: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(placement, "flush", full)
    with pytest.raises(StoreError, match="no space left on the device that holds"):
        keep(store, a=b"1", b=b"2")

    assert not list(store.root.glob("objects/*/*"))
    assert not [one for one in store.root.glob("traces/*/*") if one.is_file()]


def test_nothing_is_made_before_the_first_write(store, tmp_path):
    store.has(digest_bytes(b"x"))
    store.trace("ab" * 32)

    assert not store.root.exists()


def test_temporary_files_of_killed_writers_are_removed_by_the_next(store, tmp_path):
    digest = put(store, b"engine")
    target = tmp_path / "out" / "model.engine"
    target.parent.mkdir()
    dead = target.with_name(f".model.engine.{socket.gethostname()}-999999999-abc")
    other = target.with_name(f".model.engine.elsewhere-{os.getpid()}-abc")
    dead.write_bytes(b"half")
    other.write_bytes(b"half")

    store.fetch(digest, target)

    assert sorted(path.name for path in target.parent.iterdir()) == [other.name, "model.engine"]


def test_a_trace_whose_facts_were_changed_is_put_aside(store):
    trace = trace_of({}, summary={"gpu": "sm89"})
    store.record(trace)
    path = store.trace_path(trace.key)
    path.write_text(path.read_text().replace("sm89", "sm75"))

    assert store.trace(trace.key) is None
    assert not path.exists()
    assert [warning.startswith(f"trace {trace.key[:12]}") for warning in store.warnings] == [True]


def test_a_scratch_directory_in_use_is_not_swept_whoever_seems_to_own_it(store):
    """In another container the owner's process id means nothing: the lock tells."""
    with store.scratch() as scratch:
        renamed = scratch.rename(scratch.with_name(f"{socket.gethostname()}-999999999-abc"))
        with LocalStore(store.root).scratch():
            assert renamed.exists()


def test_what_is_made_little_by_little_outlives_its_process(store):
    folder = store.partial("a" * 64)
    (folder / "file").write_bytes(b"half")

    assert (LocalStore(store.root).partial("a" * 64) / "file").read_bytes() == b"half"
    store.forget_partial("a" * 64)
    store.forget_partial("a" * 64)
    assert not list((store.root / "tmp").iterdir())


def test_what_nobody_went_on_with_for_weeks_is_swept(store):
    for key, days in (("a" * 64, 15), ("b" * 64, 1)):
        folder = store.partial(key)
        then = time.time() - days * 24 * 3600
        os.utime(folder, (then, then))

    store.partial("c" * 64)

    left = sorted(path.name for path in (store.root / "tmp").iterdir())
    assert left == ["partial-" + "b" * 64, "partial-" + "c" * 64]
