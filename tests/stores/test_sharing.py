"""What one build makes, another one takes from the remote: of every kind, and nothing that it does not need."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.stores.places import bytes_of, step, store_on
from trtpipe.digests import digest_bytes
from trtpipe.errors import ArtifactMissing
from trtpipe.stores.remote import Traffic

TEXT = b"layer " * 100_000
NOISE = os.urandom(300_000)


def test_what_one_made_another_has(address: str, tmp_path: Path):
    alice = store_on(tmp_path / "alice", address, writes=True)
    trace = step(alice, "digits", TEXT, NOISE, b"")
    alice.settle()

    bob = store_on(tmp_path / "bob", address)

    assert bob.trace(trace.key) == trace
    assert all(bob.has(digest) for digest in trace.outputs.values())
    assert [bytes_of(bob, digest, tmp_path) for digest in trace.outputs.values()] == [TEXT, NOISE, b""]
    assert alice.warnings == bob.warnings == []


def test_an_artifact_is_fetched_when_its_bytes_are_needed_and_once(address: str, tmp_path: Path):
    alice = store_on(tmp_path / "alice", address, writes=True)
    trace = step(alice, "digits", TEXT, NOISE)
    alice.settle()
    bob = store_on(tmp_path / "bob", address)

    assert bob.trace(trace.key)
    assert all(map(bob.has, trace.outputs.values()))
    assert bob.remote.traffic == Traffic(traces_received=1)
    bytes_of(bob, trace.outputs["out0"], tmp_path)
    bytes_of(bob, trace.outputs["out0"], tmp_path)

    assert bob.remote.traffic == Traffic(traces_received=1, received=1, bytes_received=len(TEXT))
    assert bob.has_here(trace.outputs["out0"]) and not bob.has_here(trace.outputs["out1"])


def test_what_nobody_made_is_absent_and_no_trouble(address: str, tmp_path: Path):
    bob = store_on(tmp_path / "bob", address, required=True)

    assert bob.trace("ab" * 32) is None
    assert not bob.has(digest_bytes(b"never"))
    with pytest.raises(ArtifactMissing):
        bob.fetch(digest_bytes(b"never"), tmp_path / "x")
    assert bob.warnings == []


def test_a_reader_sends_nothing(address: str, tmp_path: Path):
    bob = store_on(tmp_path / "bob", address)
    trace = step(bob, "digits", TEXT)
    bob.settle()

    assert store_on(tmp_path / "carol", address).trace(trace.key) is None


def test_a_push_goes_on_with_what_is_missing(address: str, tmp_path: Path):
    alice = store_on(tmp_path / "alice", address, writes=True)
    first = step(alice, "first", TEXT)
    alice.settle()
    again = store_on(tmp_path / "alice", address, writes=True)
    second = step(again, "second", TEXT, NOISE)
    again.push(first)
    again.settle()

    assert again.remote.traffic == Traffic(traces_sent=1, sent=1, bytes_sent=len(NOISE))
    assert store_on(tmp_path / "bob", address).trace(second.key) == second


def test_a_large_artifact_goes_in_parts_and_comes_whole(address: str, tmp_path: Path):
    large = os.urandom(20 << 20)
    alice = store_on(tmp_path / "alice", address, writes=True)
    trace = step(alice, "digits", large)
    alice.settle()

    bob = store_on(tmp_path / "bob", address)

    assert bob.trace(trace.key)
    assert bytes_of(bob, trace.outputs["out0"], tmp_path) == large


def test_traces_are_asked_for_many_at_a_time(address: str, tmp_path: Path):
    alice = store_on(tmp_path / "alice", address, writes=True)
    traces = [step(alice, f"n{index}", b"%d" % index) for index in range(40)]
    alice.settle()
    bob = store_on(tmp_path / "bob", address)

    bob.prefetch([trace.key for trace in traces] + ["ab" * 32])

    assert bob.remote.traffic.traces_received == 40
    bob.remote.stop()
    assert [bob.trace(trace.key) for trace in traces] == traces
    assert bob.warnings == []
