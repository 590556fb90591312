"""A lockfile with anything in any place is read, or refused in one sentence that names it."""

from __future__ import annotations

from tests.damage import damages
from trtpipe.errors import TrtpipeError
from trtpipe.lockfile import SCHEMA, choices_in, load_lock, tactics_in
from trtpipe.lockfile.comparison import between, grouped

ENTRY = {
    "key": "ab" * 32,
    "source": {"net.onnx": f"{'ab' * 32} (10 bytes)"},
    "precision": "int8",
    "base": "fp16",
    "keep fp16": ["/c3/Conv"],
    "reached": "0.5",
    "search": "cd" * 32,
    "engine": f"{'ab' * 32} (10 bytes)",
    "tactics": {"0x1": "0x2"},
}


def test_a_lockfile_with_anything_in_any_place_is_read_or_refused(tmp_path):
    path = tmp_path / "trtpipe.lock"
    good = {
        "schema": SCHEMA,
        "steps": {"net:import": {"recipe": "ab", "model.onnx": "x"}},
        "cells": {"net/a@t": ENTRY},
    }
    refused = 0
    for damage in damages(good):
        path.write_text(damage.text)
        with damage.assert_raises_only():
            try:
                lock = load_lock(path)
            except TrtpipeError as error:
                refused += 1
                assert all("trtpipe.lock" in str(one) and "\n" not in one.fact for one in error.problems)
                continue
            choices_in(lock.every_entry())
            tactics_in(lock.cells.values())
            for entry in lock.cells.values():
                grouped(between("net/a@t", ENTRY, entry))
                grouped(between("net/a@t", entry, ENTRY))
    assert refused
