"""What a remote says is checked before it is believed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.stores.places import fingerprint, needs, step, store_on
from trtpipe.plan.trace import Trace
from trtpipe.spec.store import StoreSpec
from trtpipe.stores.signatures import new_key, public_key, signed
from trtpipe.stores.strangers import MOST_BYTES, Untrusted, believed, parse

D = "ab" * 32 + "/10"


def data(**changes: object) -> dict:
    key, address, record = fingerprint("digits")
    found = {"schema": 1, "key": key, "address": address, "outputs": {"model.onnx": D}}
    return found | {"seconds": 0.5, "fingerprint": record, "summary": {}} | changes


def test_a_trace_that_is_right_is_believed():
    found = data()

    assert believed(found, found["key"], fetched=False).to_json() == found


@pytest.mark.parametrize(
    "changes",
    [
        {"schema": 2},
        {"schema": True},
        {"key": "cd" * 32},
        {"address": 3},
        {"address": "x" * 5000},
        {"outputs": {}},
        {"outputs": []},
        {"outputs": {"model.onnx": 3}},
        {"outputs": {"model.onnx": "../../etc/passwd"}},
        {"outputs": {"model.onnx": "ab" * 32 + "/-1"}},
        {"outputs": {"model.onnx": "ab" * 32 + "/99999999999999999999"}},
        {"outputs": {"../../.bashrc": D}},
        {"outputs": {"/etc/passwd": D}},
        {"outputs": {"C:\\x": D}},
        {"outputs": {"a/../b": D}},
        {"outputs": {"": D}},
        {"outputs": {"a\n": D}},
        {"outputs": {f"{n}": D for n in range(10_001)}},
        {"seconds": -1},
        {"seconds": "1"},
        {"seconds": True},
        {"fingerprint": {}},
        {"fingerprint": fingerprint("another")[2]},
        {"summary": None},
        {"extra": 1},
    ],
    ids=lambda changes: str(changes)[:60],
)
def test_a_trace_that_is_wrong_anywhere_is_not(changes):
    with pytest.raises(Untrusted):
        believed(data(**changes), fingerprint("digits")[0], fetched=True)


def test_a_trace_of_another_version_of_a_stage_is_not_taken():
    from trtpipe.digests import key_of

    record = fingerprint("digits")[2] | {"version": 99}
    key = key_of(record)

    with pytest.raises(Untrusted, match="another version"):
        believed(data(fingerprint=record, key=key), key, fetched=True)


@pytest.mark.parametrize("stage", ["build_engine", "search", "evaluate", "quantize", "validate"])
def test_a_trace_without_what_is_read_of_its_stage_is_not_believed(stage):
    key, address, record = fingerprint("digits", stage)

    with pytest.raises(Untrusted, match="its summary's"):
        believed(data(key=key, address=address, fingerprint=record), key, fetched=False)


def test_what_a_pin_came_to_is_taken_only_from_those_who_sign():
    key, address, record = fingerprint("digits", "fetch")
    found = data(key=key, address=address, fingerprint=record, summary={"files": {}})

    assert believed(found, key, fetched=True)
    with pytest.raises(Untrusted, match="not shared"):
        believed(found, key, fetched=False)


@pytest.mark.parametrize(
    "text",
    [b"", b"[]", b"null", b"\xff", b'{"a": NaN}', b"[" * 100_000, b'{"a": 1' + b"0" * 10_000 + b"}"],
    ids=lambda text: str(text[:12]),
)
def test_what_is_no_json_object_is_refused(text):
    with pytest.raises(Untrusted):
        parse(text)


def test_a_trace_that_is_too_large_is_refused_unread():
    with pytest.raises(Untrusted, match="larger than 32 MiB"):
        parse(b" " * (MOST_BYTES + 1))


def test_a_remote_that_answers_with_another_keys_trace_is_told_of_once(tmp_path: Path):
    (tmp_path / "remote").mkdir()
    alice = store_on(tmp_path / "alice", str(tmp_path / "remote"), writes=True)
    traces = [step(alice, name, name.encode()) for name in ("one", "two", "three")]
    alice.settle()
    files = [tmp_path / "remote/v1/traces" / t.key[:2] / f"{t.key}.json" for t in traces]
    files[0].write_bytes(files[2].read_bytes())
    files[1].write_bytes(files[2].read_bytes())
    bob = store_on(tmp_path / "bob", str(tmp_path / "remote"))

    assert [bob.trace(trace.key) for trace in traces] == [None, None, traces[2]]
    assert bob.warnings == [
        f"the remote store {tmp_path}/remote: its trace {traces[0].key[:12]} is ignored: "
        "it belongs to another key"
    ]


@pytest.fixture
def keys() -> tuple[str, str]:
    pytest.importorskip("cryptography", reason="not run: needs cryptography")
    return new_key()


@needs("cryptography")
class TestSigned:
    """Traces with a signature."""

    def test_a_reader_that_trusts_the_key_takes_them(self, tmp_path: Path, keys):
        (tmp_path / "remote").mkdir()
        secret, public = keys
        alice = store_on(tmp_path / "alice", str(tmp_path / "remote"), writes=True, secret=secret)
        trace = step(alice, "digits", b"engine")
        alice.settle()

        for trusted in ((public,), ()):
            bob = store_on(tmp_path / f"bob{len(trusted)}", str(tmp_path / "remote"), trusted=trusted)
            assert bob.trace(trace.key) == trace
            assert bob.warnings == []

    @pytest.mark.parametrize(
        ("change", "why"),
        [
            (lambda data, other: data.pop("signature"), "it is not signed"),
            (lambda data, other: data.update(signature="x"), "it is not signed"),
            (lambda data, other: data["signature"].update(algorithm="none"), "unknown kind"),
            (lambda data, other: data["signature"].update(value="AAAA"), "its signature is invalid"),
            (lambda data, other: data["signature"].update(value="A" * 86 + "=="), "its signature is wrong"),
            (lambda data, other: data["signature"].update(key=other[1]), "is not trusted"),
            (lambda data, other: data["outputs"].update(out0=D), "its signature is wrong"),
            (lambda data, other: data["summary"].update(nodes=4), "its signature is wrong"),
            (lambda data, other: data.update(seconds=0.5), "its signature is wrong"),
            (lambda data, other: data.update(data | signed(strip(data), other[0])), "is not trusted"),
        ],
    )
    def test_what_is_not_signed_by_a_trusted_key_counts_as_absent(self, tmp_path: Path, keys, change, why):
        (tmp_path / "remote").mkdir()
        alice = store_on(tmp_path / "alice", str(tmp_path / "remote"), writes=True, secret=keys[0])
        trace = step(alice, "digits", b"engine")
        alice.settle()
        path = tmp_path / "remote/v1/traces" / trace.key[:2] / f"{trace.key}.json"
        found = json.loads(path.read_bytes())
        change(found, new_key())
        path.write_text(json.dumps(found))
        bob = store_on(tmp_path / "bob", str(tmp_path / "remote"), trusted=(keys[1],))

        assert bob.trace(trace.key) is None
        assert len(bob.warnings) == 1 and why in bob.warnings[0]

    def test_who_signs_replaces_what_it_does_not_trust(self, tmp_path: Path, keys):
        (tmp_path / "remote").mkdir()
        mallory = store_on(tmp_path / "mallory", str(tmp_path / "remote"), writes=True)
        step(mallory, "digits", b"false engine")
        mallory.settle()
        alice = store_on(
            tmp_path / "alice", str(tmp_path / "remote"), writes=True, secret=keys[0], trusted=(keys[1],)
        )
        key = fingerprint("digits")[0]
        assert alice.trace(key) is None
        trace = step(alice, "digits", b"engine")
        alice.settle()

        bob = store_on(tmp_path / "bob", str(tmp_path / "remote"), trusted=(keys[1],))
        assert bob.trace(key) == trace

    def test_keys_are_what_the_spec_takes(self, keys):
        assert public_key(keys[0]) == keys[1]
        assert StoreSpec(remote="s3://b", trust=keys[1]).trust == (keys[1],)


def strip(data: dict) -> dict:
    return {name: value for name, value in data.items() if name != "signature"}


def test_a_summary_that_nobody_else_could_read_is_not_sent(tmp_path: Path):
    (tmp_path / "remote").mkdir()
    alice = store_on(tmp_path / "alice", str(tmp_path / "remote"), writes=True)
    trace = step(alice, "digits", b"engine", cosine=float("nan"))
    alice.settle()

    assert not list((tmp_path / "remote").rglob("*.json"))
    assert isinstance(alice.trace(trace.key), Trace)


@pytest.mark.parametrize(
    "remote",
    [
        "s3://",
        "https://user:secret@host/x",
        "https://host/x?token=1",
        "https://host/../x",
        "http://cache.example.com/x",
        "C:relative",
        "",
        "https://[",
    ],
)
def test_an_address_that_must_not_be_used_is_refused(remote):
    with pytest.raises(ValueError):
        StoreSpec(remote=remote)


@pytest.mark.parametrize(
    "remote",
    [
        "s3://b/p",
        "gs://b",
        "az://c/p",
        "https://host/x",
        "http://localhost:8080/x",
        "../cache",
        "/mnt/c",
        "sftp://h/p",
    ],
)
def test_an_address_that_may_be_used_is_taken(remote):
    assert StoreSpec(remote=remote).remote == remote


@pytest.mark.parametrize("key", ["", "ed25519:", "ed25519:AAAA", "rsa:AAAA", "ed25519:" + "!" * 44])
def test_what_is_no_public_key_is_refused(key):
    with pytest.raises(ValueError, match="not a public key"):
        StoreSpec(trust=[key])
