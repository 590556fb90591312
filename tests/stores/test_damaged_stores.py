"""Traces, the state and the store's mark with anything in any place: counted as absent, refused, or read."""

from __future__ import annotations

import json

from damage import damages
from places import fingerprint

from trtpipe.digests import digest_bytes
from trtpipe.errors import StoreError
from trtpipe.fetching.partial import Partial
from trtpipe.homes import seal_of
from trtpipe.stores.local import LocalStore
from trtpipe.stores.state import ProjectState
from trtpipe.stores.strangers import Untrusted, believed, parse
from trtpipe.stores.traces import read_trace, written_trace

D = "ab" * 32 + "/10"


def trace():
    key, address, record = fingerprint("digits")
    about = {"files": {"a": "b"}, "numbers": [1, 0.5]}
    found = {"schema": 1, "key": key, "address": address, "outputs": {"model.onnx": D}}
    return found | {"seconds": 0.5, "fingerprint": record, "summary": about}


def test_a_trace_with_anything_in_any_place_is_damaged_or_read():
    for damage in damages(trace()):
        with damage.assert_raises_only():
            assert read_trace(damage.text.encode()) is None  # without its digest
            if isinstance(damage.record, dict):
                sealed = digest_bytes(json.dumps(damage.record, sort_keys=True).encode()).hex
                read_trace(json.dumps({**damage.record, "blake3": sealed}).encode())


def test_a_strangers_trace_with_anything_in_any_place_is_refused_or_believed():
    for damage in damages(trace()):
        with damage.assert_raises_only(Untrusted):
            data = parse(damage.text.encode())
            found = believed(data, trace()["key"], fetched=False)
            assert read_trace(written_trace(found)) == found


def test_the_state_with_anything_in_any_place_counts_as_absent_or_is_read(tmp_path):
    root = tmp_path / "p"
    path = root / ".trtpipe" / "state.json"
    path.parent.mkdir(parents=True)
    source = root / "source"
    source.write_bytes(b"x")
    signature = [1, 2, 3]
    good = {
        "schema": 1,
        "steps": {"a:import": {"key": "k", "outputs": {"model.onnx": D}}},
        "cells": {"a": {"content": "c", "folder": "b", "files": {"x": signature}, "lock": {"key": "k"}}},
        "digests": {str(source): [signature, D]},
        "notes": {f"sha256:{source}": [signature, "ab"], f"files:{source}": [signature, ["x"]]},
        "stamps": {"build": {"environment": ["x"], "files": {"x": signature}, "cells": ["a"]}},
    }
    for damage in damages(good):
        body = damage.text
        if body.startswith("{") and body != "{}":
            body = "{" + body[1:]
            body = f'{{"seal":"{seal_of(body.encode())}",{body[1:]}'
        path.write_text(body)
        with damage.assert_raises_only():
            _use(ProjectState.load(path), source)


def _use(state, source):
    for address in state.steps:
        state.last_key(address)
        state.last_outputs(address, "k")
    for cell in state.cells:
        state.delivered(cell, "c")
        state.lock_entry(cell)
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
