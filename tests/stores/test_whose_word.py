"""Whose word a trace is: what others said is kept apart, and believed where they are named and trusted, today."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.stores.places import fingerprint, needs, step, store_on
from trtpipe.digests import digest_bytes
from trtpipe.plan.trace import Trace
from trtpipe.stores.collector import Limits, Roots, collect
from trtpipe.stores.kept import Kept, kept_places
from trtpipe.stores.layered import LayeredStore
from trtpipe.stores.local import LocalStore
from trtpipe.stores.signatures import new_key, signed
from trtpipe.stores.state import STATE_FILE, ProjectState
from trtpipe.stores.survey import survey
from trtpipe.stores.traces import written_trace
from trtpipe.stores.verification import verify

signs = needs("cryptography")


@pytest.fixture
def remote(tmp_path: Path) -> str:
    (tmp_path / "remote").mkdir()
    return str(tmp_path / "remote")


def made_elsewhere(tmp_path: Path, remote: str, secret: str = "") -> Trace:
    """A step that somebody else did and sent to the remote."""
    other = store_on(tmp_path / "other", remote, writes=True, secret=secret)
    trace = step(other, "digits", b"engine")
    other.settle()
    return trace


def mine(tmp_path: Path, remote: str, *trusted: str, asked: bool = True) -> LayeredStore:
    store = store_on(tmp_path / "mine", remote, trusted=trusted)
    if not asked:
        store.remote.stop()
    return store


class TestARemote:
    def test_what_it_said_is_kept_apart_from_what_was_made_here(self, tmp_path, remote):
        trace = made_elsewhere(tmp_path, remote)
        store = mine(tmp_path, remote)

        assert store.trace(trace.key) == trace

        assert not store.trace_path(trace.key).exists()
        (kept,) = kept_places(store.root)
        assert kept.place == f"the remote store {remote}"
        assert kept.path(trace.key).exists()
        assert mine(tmp_path, remote, asked=False).trace(trace.key) == trace

    def test_nobody_else_believes_it(self, tmp_path, remote):
        trace = made_elsewhere(tmp_path, remote)
        mine(tmp_path, remote).trace(trace.key)
        (tmp_path / "another").mkdir()

        assert LocalStore(tmp_path / "mine").trace(trace.key) is None
        assert store_on(tmp_path / "mine", str(tmp_path / "another")).trace(trace.key) is None

    @signs
    def test_trust_that_is_set_later_ends_the_belief_in_what_was_kept(self, tmp_path, remote):
        trace = made_elsewhere(tmp_path, remote)
        mine(tmp_path, remote).trace(trace.key)

        store = mine(tmp_path, remote, new_key()[1], asked=False)

        assert store.trace(trace.key) is None
        (told,) = store.warnings
        assert "which was kept, is ignored: it is not signed" in told

    @signs
    def test_a_key_that_was_taken_back_is_worth_nothing_at_once(self, tmp_path, remote):
        (secret, public), (_, other) = new_key(), new_key()
        trace = made_elsewhere(tmp_path, remote, secret)
        assert mine(tmp_path, remote, public, other).trace(trace.key) == trace
        assert mine(tmp_path, remote, public, asked=False).trace(trace.key) == trace

        revoked = mine(tmp_path, remote, other, asked=False)

        assert revoked.trace(trace.key) is None
        assert "which is not trusted" in revoked.warnings[0]

    @signs
    def test_what_it_signed_anew_takes_the_place_of_what_was_kept(self, tmp_path, remote):
        secret, public = new_key()
        trace = made_elsewhere(tmp_path, remote)
        mine(tmp_path, remote).trace(trace.key)
        next((tmp_path / "remote/v1/traces").rglob("*.json")).unlink()
        made_elsewhere(tmp_path, remote, secret)

        assert mine(tmp_path, remote, public).trace(trace.key) == trace
        assert mine(tmp_path, remote, public, asked=False).trace(trace.key) == trace

    @signs
    def test_an_older_result_does_not_take_the_place_of_one_that_is_kept(self, tmp_path, remote):
        secret, public = new_key()
        old = made_elsewhere(tmp_path, remote, secret)
        (path,) = (tmp_path / "remote/v1/traces").rglob("*.json")
        replayed = path.read_bytes()
        new = Trace(old.key, old.address, old.fingerprint, {"out0": digest_bytes(b"new")}, old.summary)
        path.write_text(json.dumps(signed(new.to_json(), secret)))
        assert mine(tmp_path, remote, public).trace(new.key) == new

        path.write_bytes(replayed)

        assert mine(tmp_path, remote, public).trace(new.key) == new

    def test_damage_of_what_was_kept_is_found_and_asked_anew(self, tmp_path, remote):
        trace = made_elsewhere(tmp_path, remote)
        store = mine(tmp_path, remote)
        store.trace(trace.key)
        (kept,) = kept_places(store.root)
        kept.path(trace.key).write_text("{")

        found = verify(mine(tmp_path, remote, asked=False))

        assert found.damaged == [f"trace {trace.key[:12]} is damaged"]
        assert not kept.path(trace.key).exists()
        assert mine(tmp_path, remote).trace(trace.key) == trace

    def test_the_collector_keeps_what_a_root_needs_of_others(self, tmp_path, remote):
        trace = made_elsewhere(tmp_path, remote)
        store = mine(tmp_path, remote)
        store.path(store.trace(trace.key).outputs["out0"])

        nothing = Limits(older_than=0.0, grace=-1.0)
        assert collect(store, Roots(frozenset([trace.key])), nothing).artifacts == []
        assert store.has_here(trace.outputs["out0"])
        assert len(collect(store, Roots(), nothing).artifacts) == 1
        assert survey(store).traces == {}


class TestASharedDirectory:
    @pytest.fixture
    def common(self, tmp_path: Path) -> LocalStore:
        return LocalStore(tmp_path / "common")

    def own(self, tmp_path: Path, *trusted: str) -> LayeredStore:
        shared = [LocalStore(tmp_path / "common", read_only=True)]
        return LayeredStore(tmp_path / "own", shared=shared, trusted=trusted)

    @signs
    def test_where_keys_are_trusted_it_must_be_signed_too(self, tmp_path, common):
        (secret, public), (_, other) = new_key(), new_key()
        plain = step(common, "plain", b"x")
        common.sign = lambda data: signed(data, secret)
        vouched = step(common, "vouched", b"y")

        store = self.own(tmp_path, public)

        assert store.trace(vouched.key) == vouched
        assert store.trace(plain.key) is None
        told = f"the shared store {common.root}: its trace {plain.key[:12]} is ignored: it is not signed"
        assert store.warnings == [told]
        assert self.own(tmp_path, other).trace(vouched.key) is None
        assert self.own(tmp_path).trace(plain.key) == plain
        assert common.trace(vouched.key) == vouched, "a signed trace is a trace of the own store too"

    @signs
    def test_a_signature_does_not_fit_another_outcome(self, tmp_path, common):
        secret, public = new_key()
        common.sign = lambda data: signed(data, secret)
        trace = step(common, "digits", b"y")
        path = common.trace_path(trace.key)
        lie = Trace(trace.key, trace.address, trace.fingerprint, {"out0": digest_bytes(b"z")}, trace.summary)
        signature = json.loads(path.read_bytes())["signature"]

        path.write_bytes(written_trace(lie, lambda data: {**data, "signature": signature}))

        assert self.own(tmp_path, public).trace(trace.key) is None

    def test_what_an_address_came_to_is_not_its_to_say(self, tmp_path, common):
        trace = step(common, "model", b"x", stage="fetch", files={})

        assert common.trace(trace.key) == trace
        assert self.own(tmp_path).trace(trace.key) is None

    def test_a_trace_of_another_key_is_not_believed(self, tmp_path, common):
        one, other = step(common, "one", b"1"), step(common, "other", b"2")
        common.trace_path(one.key).write_bytes(common.trace_path(other.key).read_bytes())

        assert self.own(tmp_path).trace(one.key) is None

    def test_something_that_would_be_waited_for_is_not_read(self, tmp_path, common):
        import os

        key = fingerprint("digits")[0]
        path = common.trace_path(key)
        path.parent.mkdir(parents=True)
        os.mkfifo(path)

        assert self.own(tmp_path).trace(key) is None


def test_what_was_taken_on_anothers_word_is_asked_anew_when_that_word_counts_no_more(tmp_path):
    digest = digest_bytes(b"engine")
    state = ProjectState.load(tmp_path / STATE_FILE)
    state.word = LayeredStore(tmp_path, shared=[LocalStore(tmp_path / "common")]).word
    state.remember_step("digits:import", "k", {"out": digest})
    state.save()

    def remembered(word: str) -> object:
        again = ProjectState.load(tmp_path / STATE_FILE)
        again.word = word
        return again.last_outputs("digits:import", "k")

    assert remembered(state.word) == {"out": digest}
    assert remembered("") is None
    other = LayeredStore(tmp_path, shared=[LocalStore(tmp_path / "common")], trusted=("ed25519:…",))
    assert remembered(other.word) is None


def test_what_others_said_is_not_pushed_as_ones_own_word(tmp_path, remote, monkeypatch, capsys):
    from trtpipe.cli.stores.cache_sharing import push_command

    theirs = made_elsewhere(tmp_path, remote)
    root = tmp_path / "project"
    root.mkdir()
    (tmp_path / "target").mkdir()
    (root / "trtpipe.yaml").write_text(
        f"schema: 1\nstore: {{path: ../mine, remote: {tmp_path}/target, mode: read-write}}\n"
    )
    mine(tmp_path, remote).trace(theirs.key)
    ours = step(LocalStore(tmp_path / "mine"), "ours", b"ours")
    monkeypatch.chdir(root)

    push_command(everything=True, as_json=False)

    assert "sent 1 trace and 1 artifact" in capsys.readouterr().out
    sent = [path.stem for path in (tmp_path / "target/v1/traces").rglob("*.json")]
    assert sent == [ours.key]


def test_places_are_told_apart_by_their_names(tmp_path):
    folders = {Kept.of(tmp_path, name).folder for name in ("a", "b", "the remote store a")}

    assert len(folders) == 3
