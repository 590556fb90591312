"""The lockfile by blocks: read as YAML reads it, or left to YAML."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trtpipe.lockfile import cell_text, entry_in, fact_in, load_lock, render_lock
from trtpipe.lockfile.blocks import entries_with, split, text_in
from trtpipe.lockfile.entries import FIELDS
from trtpipe.lockfile.reader import _parsed_as_yaml
from trtpipe.lockfile.writer import Update, updated_text

PATH = Path("trtpipe.lock")
ENTRY = {
    "key": "ab",
    "source": {"a b.onnx": "1"},
    "keep_fp16": ["/c/*", 'a"b'],
    "validated": "not run: ein Ö",
}
STEP = {"recipe": "r", "model.onnx": "12 (3 bytes)"}
GOOD = render_lock({"p/v@t": ENTRY, "p/v@u": {"key": "x"}}, {"p:import": STEP})

TEXTS = st.text(max_size=12) | st.sampled_from(
    [
        "a: b",
        "a:",
        "- a",
        "off",
        "1.0",
        "a b",
        " a",
        "a ",
        "#a",
        "a #b",
        "~",
        "null",
        "{a}",
        "é",
        "\x85",
        "a\tb",
    ]
)
NAMES = TEXTS.filter(bool)
MAPS = st.dictionaries(NAMES, TEXTS, min_size=1, max_size=3)
CELLS = st.dictionaries(
    NAMES,
    st.dictionaries(st.sampled_from(FIELDS), NAMES | MAPS, min_size=1, max_size=4)
    | st.builds(lambda globs: {"key": "k", "keep_int8": globs}, st.lists(TEXTS, min_size=1, max_size=3)),
    max_size=3,
)
STEPS = st.dictionaries(
    NAMES, st.dictionaries(NAMES, TEXTS, max_size=3).map(lambda one: {**one, "recipe": "r"}), max_size=3
)


def of_yaml(text):
    lock = _parsed_as_yaml(PATH, text)
    return dict(lock.cells), dict(lock.steps)


@given(CELLS, STEPS)
def test_what_is_written_is_read_as_yaml_reads_it(cells, steps):
    text = render_lock(cells, steps)
    found = split(text)

    if found is not None:
        assert (dict(found[0]), dict(found[1])) == of_yaml(text)


def test_what_trtpipe_writes_is_read_by_blocks():
    cells, steps, _ = split(GOOD)

    assert (dict(cells), dict(steps)) == of_yaml(GOOD)
    assert cells["p/v@t"] == ENTRY
    assert fact_in(cells, "p/v@u", "key") == "x"
    assert fact_in(cells, "p/v@t", "source") == {"a b.onnx": "1"}
    assert fact_in(cells, "p/v@t", "engine") is fact_in(cells, "none", "key") is None
    assert fact_in({"a": {"key": "b"}}, "a", "key") == "b"
    assert list(entries_with(cells, "source")) == [ENTRY]
    assert entry_in(cell_text({"a": ENTRY}, "a")) == ENTRY
    assert text_in(cells, "p/v@u") == "    key: x\n"


@given(st.data())
def test_a_changed_character_is_read_as_yaml_reads_it_or_left_to_yaml(data):
    at = data.draw(st.integers(0, len(GOOD) - 1))
    new = data.draw(st.sampled_from(["", *" \n:-#\"'{}[]&*!|>%@`~,?=x\\\t\r"]))
    text = GOOD[:at] + new + GOOD[at + 1 :]
    found = split(text)

    if found is not None:
        assert (dict(found[0]), dict(found[1])) == of_yaml(text)


@pytest.mark.parametrize(
    "text",
    [
        *("", "cells: {}\n", "schema: 3\ncells:\n", GOOD + "  x"),
        GOOD.replace("schema: 3", "schema: 2"),
        GOOD.replace("cells:", "cells: {}"),
        GOOD.replace("    recipe: r\n", ""),
        GOOD.replace("key: x", "key: 'x'"),
        GOOD.replace("    key: x\n", ""),
    ],
)
def test_other_texts_are_left_to_yaml(text):
    assert split(text) is None


def test_blocks_that_did_not_change_are_written_back_as_they_are(tmp_path):
    path = tmp_path / "trtpipe.lock"
    path.write_text(GOOD)
    lock = load_lock(path)
    new = {"key": "y"}

    text = updated_text(
        path, Update({"p/v@u": new}, {"p:import": STEP}, {"p/v@t", "p/v@u", "p:import"}, {"p"})
    )

    assert text == render_lock({"p/v@t": ENTRY, "p/v@u": new}, {"p:import": STEP})
    assert load_lock(path) is lock, "which is parsed once as long as its text stays the same"


def test_a_bundle_that_did_not_change_keeps_its_lines_also_those_of_a_later_trtpipe(tmp_path):
    path = tmp_path / "trtpipe.lock"
    bundles = {"a": {"key": "x"}, "b": {"key": "x"}}
    later = render_lock({"p/v@t": ENTRY}, {"p:import": STEP}, bundles).replace(
        "  a:\n    key: x\n", "  a:\n    key: x\n    later: y\n"
    )
    path.write_text(later)
    update = Update({}, {}, (), (), {"b": {"key": "z"}})

    text = updated_text(path, update)

    assert text == later.replace("  b:\n    key: x\n", "  b:\n    key: z\n")


def test_line_ends_of_windows_are_read(tmp_path):
    path = tmp_path / "trtpipe.lock"
    path.write_bytes(GOOD.replace("\n", "\r\n").encode())

    assert dict(load_lock(path).cells)["p/v@t"] == ENTRY
