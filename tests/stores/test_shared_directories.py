"""A store that is only read under one's own: used where it lies, never written to, and not believed when damaged."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.stores.places import fingerprint
from trtpipe.digests import key_of
from trtpipe.errors import ArtifactMissing
from trtpipe.plan.trace import Trace
from trtpipe.stores.layered import LayeredStore
from trtpipe.stores.local import LocalStore


@pytest.fixture
def common(tmp_path: Path) -> Trace:
    """Somebody's step in a shared directory."""
    store = LocalStore(tmp_path / "common")
    with store.scratch() as scratch:
        (scratch / "x").write_bytes(b"engine")
        digest = store.put(scratch / "x")
    trace = Trace(*fingerprint("digits"), {"out": digest})
    store.record(trace)
    return trace


@pytest.fixture
def own(tmp_path: Path, common: Trace) -> LayeredStore:
    shared = [
        LocalStore(tmp_path / "nowhere", read_only=True),
        LocalStore(tmp_path / "common", read_only=True),
    ]
    return LayeredStore(tmp_path / "own", shared=shared)


def snapshot(root: Path) -> dict:
    return {str(path): (path.stat().st_mtime_ns, path.stat().st_ino) for path in sorted(root.rglob("*"))}


def test_what_is_shared_is_used_where_it_lies(own, common, tmp_path):
    before = snapshot(tmp_path / "common")

    assert own.trace(common.key) == common
    assert own.has(common.outputs["out"])
    own.fetch(common.outputs["out"], tmp_path / "x")

    assert (tmp_path / "x").read_bytes() == b"engine"
    assert own.path(common.outputs["out"]).is_relative_to(tmp_path / "common")
    assert snapshot(tmp_path / "common") == before
    assert not (tmp_path / "own").exists() and not (tmp_path / "nowhere").exists()


def test_old_traces_of_a_shared_store_are_not_touched(own, common, tmp_path):
    path = LocalStore(tmp_path / "common").trace_path(common.key)
    os.utime(path, (0, 0))

    own.trace(common.key)

    assert path.stat().st_mtime == 0


def test_what_is_made_goes_into_the_own_store(own, common, tmp_path):
    before = snapshot(tmp_path / "common")
    with own.scratch() as scratch:
        (scratch / "x").write_bytes(b"mine")
        digest = own.put(scratch / "x")
    own.record(Trace(key_of({"b": 1}), "digits:import", {"b": 1}, {"out": digest}))

    assert LocalStore(tmp_path / "own").trace(key_of({"b": 1}))
    assert snapshot(tmp_path / "common") == before


def test_damage_in_a_shared_store_is_told_and_left_there(own, common, tmp_path):
    path = LocalStore(tmp_path / "common").object_path(common.outputs["out"])
    path.chmod(0o644)
    path.write_bytes(b"emgine")

    with pytest.raises(ArtifactMissing):
        own.fetch(common.outputs["out"], tmp_path / "x")

    assert not own.has(common.outputs["out"])
    assert path.read_bytes() == b"emgine"
    assert len(own.warnings) == 1 and "is damaged" in own.warnings[0]


def test_what_others_need_is_none_of_the_collectors_business(own, common, tmp_path):
    from trtpipe.stores.collector import Limits, Roots, collect

    own.open()
    collect(own, Roots(), Limits(older_than=0.0, grace=-1.0))

    assert LocalStore(tmp_path / "common").trace(common.key) == common
