"""Traces, the state and the store's mark with anything in any place: counted as absent, refused, or read."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.damage import damages
from tests.stores.places import fingerprint
from tests.traces import trace_of
from trtpipe.digests import digest_bytes
from trtpipe.errors import ArtifactMissing, StoreError
from trtpipe.fetch.partial import Partial
from trtpipe.plan.address import address
from trtpipe.plan.decisions import Pending, Run
from trtpipe.plan.graph import FromStep, Source, Step, plan_of
from trtpipe.plan.options import NO_TRANSFORM
from trtpipe.plan.rebuilder import Past, Rebuilder, decide_all
from trtpipe.stores import sealed_files
from trtpipe.stores.local import LocalStore
from trtpipe.stores.state import ProjectState
from trtpipe.stores.strangers import MOST_BYTES, Untrusted, believed, parse
from trtpipe.stores.traces import read_trace, written_trace

D = "ab" * 32 + "/10"


def trace():
    key, address, record = fingerprint("digits")
    about = {"files": {"a": "b"}, "numbers": [1, 0.5]}
    found = {"schema": 1, "key": key, "address": address, "outputs": {"model.onnx": D}}
    return found | {"seconds": 0.5, "fingerprint": record, "summary": about}


def sealed(record: dict) -> bytes:
    """A trace's text with the digest that it ought to have, whatever it says."""
    digest = digest_bytes(json.dumps(record, sort_keys=True).encode()).hex
    return json.dumps({**record, "blake3": digest}).encode()


def test_a_trace_with_anything_in_any_place_is_damaged_or_read():
    good = trace()
    assert read_trace(sealed(good), good["key"]).to_json() == good
    for damage in damages(good):
        with damage.assert_raises_only(Untrusted):
            read_trace(damage.text.encode(), good["key"])
            raise AssertionError("it has no digest of its own")
        if isinstance(damage.record, dict):
            with damage.assert_raises_only(Untrusted):
                found = read_trace(sealed(damage.record), good["key"])
                assert found.fingerprint == good["fingerprint"]
                assert read_trace(written_trace(found), good["key"]) == found


def test_a_record_of_a_step_that_yielded_something_else_is_one_error_that_force_mends():
    source = Source("net.onnx", Path("net.onnx"), digest_bytes(b"net"))
    first = Step(address("import", "net"), NO_TRANSFORM, {}, {"source": (source,)})
    taken = {"model": (FromStep(first.address, ("model.onnx",)),)}
    plan = plan_of(
        {one.address: one for one in (first, Step(address("transform", "net"), NO_TRANSFORM, {}, taken))}, ()
    )
    past = Past(lambda place, key: {"other": digest_bytes(b"x")}, lambda place: None, lambda digest: True)

    with pytest.raises(ArtifactMissing, match=r"net:import yielded no model\.onnx") as caught:
        decide_all(plan, Rebuilder(past))

    assert "trtpipe build --force" in str(caught.value)
    forced = decide_all(plan, Rebuilder(past, frozenset(plan.steps))).decisions
    assert [type(one) for one in forced.values()] == [Run, Pending]


@pytest.mark.parametrize(
    "key", ["", "x", "../../../../tmp/x", "ab" * 32 + "\n", "AB" * 32, "\0" * 64, "ab" * 31]
)
def test_a_key_that_is_none_has_no_trace_and_touches_no_file(tmp_path, key):
    store = LocalStore(tmp_path / "a/b/store")
    store.open()
    (tmp_path / "tmp").mkdir()
    (tmp_path / "tmp/x.json").write_text("{}")

    assert store.trace(key) is None
    assert store.warnings == []
    assert (tmp_path / "tmp/x.json").exists()


def test_a_trace_of_another_key_is_put_aside(tmp_path):
    """Whoever copies a trace to another key's name, or writes another fingerprint, seals it as we do."""
    store = LocalStore(tmp_path)
    ours, other = trace_of({"a": 1}), trace_of({"a": 2})
    for wrong in (other.to_json(), other.to_json() | {"key": ours.key}):
        store.record(ours)
        store.trace_path(ours.key).write_bytes(sealed(wrong))

        assert store.trace(ours.key) is None
        assert "is damaged: it belongs to another key; it was put into quarantine" in store.warnings.pop()
        assert not store.trace_path(ours.key).exists()


def test_what_is_no_file_or_too_large_is_no_trace(tmp_path):
    store = LocalStore(tmp_path)
    trace = trace_of({"a": 1})
    path = store.trace_path(trace.key)
    path.parent.mkdir(parents=True)
    os.mkfifo(path)
    assert store.trace(trace.key) is None
    path.unlink(missing_ok=True)
    with path.open("wb") as file:
        file.truncate(MOST_BYTES + 1)
    assert store.trace(trace.key) is None


def test_a_trace_is_read_again_only_when_its_file_changed(tmp_path):
    store = LocalStore(tmp_path)
    trace = trace_of({"a": 1})
    store.record(trace)
    path = store.trace_path(trace.key)
    old = path.stat().st_mtime - 60
    os.utime(path, (old, old))

    assert store.trace(trace.key) is store.trace(trace.key)
    path.write_bytes(path.read_bytes().replace(b"digits:import", b"digits:impoft"))  # as many bytes
    assert store.trace(trace.key) is None


def test_numbers_that_json_lacks_are_kept_as_text(tmp_path):
    store = LocalStore(tmp_path)
    trace = trace_of({"a": 1}, summary={"worst": [float("nan"), -float("inf"), 1.0]})
    store.record(trace)

    assert store.trace(trace.key).summary == {"worst": ["nan", "-inf", 1.0]}


def test_a_strangers_trace_with_anything_in_any_place_is_refused_or_believed():
    for damage in damages(trace()):
        with damage.assert_raises_only(Untrusted):
            data = parse(damage.text.encode())
            found = believed(data, trace()["key"], fetched=False)
            assert read_trace(written_trace(found), found.key) == found


def test_the_state_with_anything_in_any_place_counts_as_absent_or_is_read(tmp_path):
    root = tmp_path / "p"
    path = root / ".trtpipe" / "state.json"
    path.parent.mkdir(parents=True)
    source = root / "source"
    source.write_bytes(b"x")
    signature = "1 2 3"
    tables = {
        "": {
            "digests": {str(source): [signature, D]},
            "notes": {f"sha256:{source}": [signature, "ab"], f"files:{source}": [signature, ["x"]]},
        },
        "a": {
            "steps": {"a:import": {"key": "k", "outputs": {"model.onnx": D}}},
            "cells": {
                "a": {"content": "c", "folder": "b", "files": {"x": signature}, "lock": "    key: k\n"}
            },
        },
    }
    good = {name: json.dumps(line) for name, line in tables.items()}
    for name, line in tables.items():
        for damage in damages(line):
            lines = {**good, name: damage.text}
            body = "".join(f"{one}\t{text}\n" for one, text in lines.items())
            path.write_bytes(sealed_files.sealed(b'{"schema":2}\n' + body.encode()))
            with damage.assert_raises_only():
                _use(ProjectState.load(path), source)


@pytest.mark.parametrize(
    "content",
    [b"", b"\n", b'{"schema":1}\n', b'{"schema":2}', b'{"schema":2}\n\n\n', b'{"schema":2}\na\n\xff\t{}\n'],
)
def test_a_state_of_other_lines_counts_as_absent(tmp_path, content):
    source = tmp_path / "source"
    source.write_bytes(b"x")
    path = tmp_path / "p" / ".trtpipe" / "state.json"
    path.parent.mkdir(parents=True)
    path.write_bytes(sealed_files.sealed(content))

    assert ProjectState.load(path).steps == {}
    _use(ProjectState.load(path), source)
    assert ProjectState.load(path).last_key("b:import") == "k"


def _use(state, source):
    for step in state.steps:
        state.last_key(step)
        state.last_outputs(step, "k")
    for cell in state.cells:
        state.delivered(cell, "c")
        state.lock_text(cell)
    assert state.digest(source).size == 1
    assert isinstance(state.noted_text(source, "sha256", lambda: "found"), str)
    assert isinstance(state.noted_texts(source, "files", lambda: ["found"]), list)
    state.remember_step("b:import", "k", {})
    state.save()


def test_a_mark_of_the_store_with_anything_in_any_place_is_refused_or_read(tmp_path):
    for number, damage in enumerate(damages({"schema": 1})):
        root = tmp_path / str(number)
        root.mkdir()
        (root / "store.json").write_text(damage.text)
        with damage.assert_raises_only(StoreError):
            LocalStore(root).put(_file(tmp_path))


def _file(folder):
    path = folder / "file"
    path.write_bytes(b"x")
    return path


def test_what_was_fetched_so_far_with_anything_in_its_mark_is_fetched_again_or_gone_on_with(tmp_path):
    for number, damage in enumerate(damages({"mark": {"etag": "x"}, "total": 1})):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "file").write_bytes(b"x")
        (folder / "mark.json").write_text(damage.text)
        with damage.assert_raises_only(), Partial(folder) as partial:
            assert partial.size in (0, 1)
