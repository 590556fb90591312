"""A remote that fails in any way costs one warning, and nothing else; or an error where it is required."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from tests.stores.places import bytes_of, needs, servers, step, store_on, web_server
from trtpipe.errors import ArtifactMissing, StoreError
from trtpipe.stores.packs import MAGIC

pytestmark = needs("obstore")
STALL = 0.5
ENGINE = os.urandom(200_000)


@pytest.fixture
def server():
    with web_server() as state:
        yield state


@pytest.fixture
def shared(server, tmp_path):
    """Somebody's trace on the server."""
    alice = store_on(tmp_path / "alice", server.url("/prefix"), writes=True)
    trace = step(alice, "digits", ENGINE)
    alice.settle()
    return trace


def paths(server) -> tuple[str, str]:
    """Of the trace and of the artifact."""
    one = next(path for path in server.files if "/traces/" in path)
    return one, next(path for path in server.files if "/objects/" in path)


def silent(seconds: float) -> servers.Act:
    def act(handler: servers.Handler, data: bytes) -> None:
        time.sleep(seconds)
        handler.close_connection = True

    return act


def reset(handler: servers.Handler, data: bytes) -> None:
    import socket
    import struct

    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.close()
    handler.close_connection = True


WORDS = {
    "reset": "the connection broke off",
    "500": "it says 500",
    "401": "access was denied",
    "403": "access was denied",
    "stalls for 10 s": "it did not answer in time",
    "trickles": "it did not answer in time",
}
FAULTS = {
    "reset": reset,
    "cut": servers.cut(100),
    "500": servers.status(500),
    "503": servers.status(503, Retry_After="10"),
    "401": servers.status(401),
    "403": servers.status(403),
    "redirect nowhere": servers.redirect("http://127.0.0.1:9/x"),
    "stalls for 10 s": silent(10.0),
    "trickles": servers.trickle(200, 0.05),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_server_that_fails_at_an_artifact_costs_one_warning(server, shared, tmp_path, fault):
    """And no more time than the patience that it is given."""
    server.always[paths(server)[1]] = FAULTS[fault]
    bob = store_on(tmp_path / "bob", server.url("/prefix"), stall=STALL)
    assert bob.trace(shared.key) == shared
    began = time.monotonic()

    for _ in range(3):
        with pytest.raises(ArtifactMissing):
            bob.fetch(shared.outputs["out0"], tmp_path / "x")

    assert time.monotonic() - began < 8 * STALL + 2
    assert len(bob.warnings) == 1
    assert not (tmp_path / "x").exists()
    assert not list((bob.root / "tmp").iterdir())
    assert not bob.has(shared.outputs["out0"])


@pytest.mark.parametrize("fault", FAULTS)
def test_a_server_that_fails_at_a_trace_is_not_asked_again(server, shared, tmp_path, fault):
    server.always[paths(server)[0]] = FAULTS[fault]
    bob = store_on(tmp_path / "bob", server.url("/prefix"), stall=STALL)

    assert bob.trace(shared.key) is None
    asked = len(server.seen)
    assert bob.trace("ab" * 32) is None
    assert not bob.has(shared.outputs["out0"])

    assert len(server.seen) == asked
    assert len(bob.warnings) == 1 and "; what it holds is built here instead" in bob.warnings[0]
    assert f"{server.url('/prefix')}: {WORDS.get(fault, '')}" in bob.warnings[0]


@pytest.mark.parametrize("fault", FAULTS)
def test_where_the_remote_is_required_its_failure_is_an_error(server, shared, tmp_path, fault):
    server.always[paths(server)[0]] = FAULTS[fault]
    bob = store_on(tmp_path / "bob", server.url("/prefix"), stall=STALL, required=True)

    with pytest.raises(StoreError, match="the remote store"):
        bob.trace(shared.key)


@pytest.mark.parametrize(
    "lie",
    [
        MAGIC + b"-" + os.urandom(len(ENGINE)),
        MAGIC + b"-" + ENGINE[:-1],
        MAGIC + b"-" + ENGINE + b"x",
        MAGIC + b"z" + b"\0" * 50,
        b"trt",
        b"<html>login</html>",
        ENGINE,
    ],
    ids=["other bytes", "half-written", "longer", "no frame", "three bytes", "a page", "no header"],
)
def test_wrong_bytes_count_as_absent_and_are_healed_by_the_next_who_makes_them(server, shared, tmp_path, lie):
    server.files[paths(server)[1]] = lie
    bob = store_on(tmp_path / "bob", server.url("/prefix"), stall=STALL, writes=True)
    assert bob.trace(shared.key) == shared

    with pytest.raises(ArtifactMissing):
        bob.fetch(shared.outputs["out0"], tmp_path / "x")
    assert not bob.has(shared.outputs["out0"])
    assert len(bob.warnings) == 1 and "is ignored: " in bob.warnings[0]

    step(bob, "digits", ENGINE)
    bob.settle()
    carol = store_on(tmp_path / "carol", server.url("/prefix"))
    assert carol.trace(shared.key)
    assert bytes_of(carol, shared.outputs["out0"], tmp_path) == ENGINE


def test_an_artifact_that_a_trace_names_and_that_is_gone_counts_as_absent(server, shared, tmp_path):
    del server.files[paths(server)[1]]
    bob = store_on(tmp_path / "bob", server.url("/prefix"))
    assert bob.trace(shared.key)
    assert bob.has(shared.outputs["out0"])

    with pytest.raises(ArtifactMissing):
        bob.path(shared.outputs["out0"])

    assert not bob.has(shared.outputs["out0"])
    assert "it is not there, though a trace names it" in bob.warnings[0]


@pytest.mark.parametrize("fault", ["reset", "500", "401", "403", "stalls for 10 s"])
def test_a_server_that_takes_nothing_costs_one_warning_and_the_work_is_kept(server, tmp_path, fault):
    server.always["PUT"] = FAULTS[fault]
    alice = store_on(tmp_path / "alice", server.url("/prefix"), stall=STALL, writes=True)
    traces = [step(alice, f"n{index}", ENGINE + b"%d" % index) for index in range(4)]
    alice.settle()

    assert len(alice.warnings) == 1
    assert [alice.trace(trace.key) for trace in traces] == traces
    assert server.files == {}


def test_a_push_that_was_cut_off_leaves_no_trace_without_its_artifacts(server, tmp_path):
    """And the next one sends what is missing only."""
    server.acts["PUT"] = [putting, reset]
    alice = store_on(tmp_path / "alice", server.url("/prefix"), stall=STALL, writes=True)
    trace = step(alice, "digits", ENGINE, b"other" * 1000)
    alice.settle()
    assert not any("/traces/" in path for path in server.files)
    assert len(server.files) == 1

    again = store_on(tmp_path / "alice", server.url("/prefix"), stall=STALL, writes=True)
    again.push(trace)
    again.settle()

    assert again.remote.traffic.sent == 1
    assert store_on(tmp_path / "bob", server.url("/prefix")).trace(trace.key) == trace


def test_a_build_that_gives_up_leaves_the_rest_to_the_next_push(server, tmp_path):
    """Ctrl-C waits for what is under way, not for what is queued."""
    given_up = threading.Event()
    server.always["PUT"] = held_until(given_up)
    alice = store_on(tmp_path / "alice", server.url("/prefix"), stall=60.0, writes=True)
    traces = [step(alice, f"n{index}", b"%d" % index) for index in range(40)]
    queued = alice._sending[-1]
    queued.add_done_callback(lambda future: given_up.set())
    alice.settle(give_up=True)
    sent = len(server.files)

    assert queued.cancelled()
    assert sent < 40
    server.always.clear()
    for trace in traces:
        alice.push(trace)
    alice.settle()
    assert sum("/traces/" in path for path in server.files) == 40


def held_until(event: threading.Event) -> servers.Act:
    """Nothing is taken before: what is queued waits, however slow the machine is."""

    def act(handler: servers.Handler, data: bytes) -> None:
        event.wait(30)
        putting(handler, data)

    return act


def putting(handler: servers.Handler, data: bytes) -> None:
    handler.state.files[handler.path] = data
    servers.status(201)(handler, data)


def test_a_token_is_sent_to_the_server(server, shared, tmp_path, monkeypatch):
    monkeypatch.setenv("TRTPIPE_REMOTE_TOKEN", "secret-token")
    bob = store_on(tmp_path / "bob", server.url("/prefix"), writes=True)
    bob.trace(shared.key)
    step(bob, "other", b"x")
    bob.settle()

    assert {
        one.headers.get("authorization", one.headers.get("Authorization")) for one in server.seen[-4:]
    } == {"Bearer secret-token"}


def test_a_token_is_not_sent_where_anybody_can_read_it():
    from trtpipe.stores.buckets.objects import ObjectBucket

    sent = {
        url: "Authorization" in ObjectBucket(url, STALL, "secret-token")._headers()
        for url in ("https://host/x", "http://localhost:1/x", "http://cache.example.com/x")
    }
    assert list(sent.values()) == [True, True, False]


def test_nobody_listens(tmp_path):
    bob = store_on(tmp_path / "bob", "http://127.0.0.1:9/prefix", stall=STALL)

    assert bob.trace("ab" * 32) is None
    assert bob.warnings == [
        "the remote store http://127.0.0.1:9/prefix: the connection was refused; what it holds is built here instead"
    ]


def test_a_directory_that_is_not_mounted_is_not_filled(tmp_path: Path):
    alice = store_on(tmp_path / "alice", str(tmp_path / "nowhere"), writes=True)
    step(alice, "digits", b"engine")
    alice.settle()

    assert not (tmp_path / "nowhere").exists()
    assert f"there is no directory {tmp_path}/nowhere" in alice.warnings[0]


@needs("moto")
def test_an_s3_that_says_no_costs_one_warning(s3_bucket, tmp_path, monkeypatch):
    bob = store_on(tmp_path / "bob", "s3://no-such-bucket/x", writes=True)
    assert bob.trace("ab" * 32) is None
    step(bob, "digits", b"engine")
    bob.settle()
    assert len(bob.warnings) == 1 and "there is no such bucket" in bob.warnings[0]

    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", "http://127.0.0.1:9")
    carol = store_on(tmp_path / "carol", s3_bucket, stall=STALL)
    assert carol.trace("ab" * 32) is None
    assert len(carol.warnings) == 1 and "no credentials were found" in carol.warnings[0]
