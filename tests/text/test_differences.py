"""What `diff` found, in plain text and in Markdown: one headline, and a section for each way to differ."""

from __future__ import annotations

import pytest

from trtpipe.text.differences import Section, difference_markdown, difference_text, headline, sections

D1, D2 = "a" * 64, "b" * 64
SIDES = {"a": "old", "b": "new"}
NO_GRAPH = {
    "added": [],
    "removed": [],
    "changed": [],
    "weights": [],
    "added_weights": [],
    "removed_weights": [],
    "renamed_nodes": 0,
    "renamed_weights": 0,
    "reordered": False,
}
NO_TYPES = {"unknown": False, "old": [], "new": [], "changed": []}


def model(differs=True, types=NO_TYPES, size=None, **graph):
    return {
        **SIDES,
        "kind": "model",
        "differs": differs,
        "graph": {**NO_GRAPH, **graph},
        "interface": [],
        "opsets": [],
        "functions": [],
        "types": types,
        "size": size or {},
    }


@pytest.mark.parametrize(
    ("record", "line"),
    [
        ({"kind": "weights", "identical": True}, "old and new: identical bytes"),
        ({"kind": "weights", "differs": True}, "old and new differ"),
        ({"kind": "weights", "differs": False}, "old and new are equal"),
        ({"kind": "model", "differs": False}, "old and new compute the same"),
        (
            {"kind": "model", "differs": False, "graph": {"renamed_nodes": 1, "renamed_weights": 2}},
            "old and new compute the same: 1 node renamed, 2 weights renamed",
        ),
        (
            {"kind": "model", "differs": False, "graph": {"reordered": True}},
            "old and new compute the same: nodes in another order",
        ),
        ({"kind": "engine", "verdict": "different", "differs": True}, "old and new: different"),
        ({"kind": "engine", "verdict": "same network", "differs": False}, "old and new: same network"),
        (
            {"kind": "engine", "verdict": "same network", "differs": True},
            "old and new: same network, and what is known of them differs",
        ),
    ],
)
def test_one_sentence_says_whether_they_differ(record, line):
    assert headline({**SIDES, **record}) == line


def test_of_identical_files_nothing_else_is_told():
    assert list(sections({**SIDES, "kind": "model", "identical": True})) == []


CHANGE = {"a": "relu", "b": "act", "op": "Relu", "what": "operator", "old": "Relu", "new": "Elu"}
WEIGHT = {
    "a": "w",
    "b": "w",
    "dtypes": ["float32", "float16"],
    "dims": [[2, 3], []],
    "changed": 5,
    "elements": 6,
    "largest": 0.12345,
    "relative": 2,
    "mean_relative": None,
}


@pytest.mark.parametrize(
    ("record", "found"),
    [
        (model(), []),
        (
            model(added=[["n", "Relu"]], removed=[["m", "Elu"], ["o", "Elu"]]),
            [
                Section("1 node added", ("node", "operator"), [("n", "Relu")]),
                Section("2 nodes removed", ("node", "operator"), [("m", "Elu"), ("o", "Elu")]),
            ],
        ),
        (
            model(changed=[CHANGE]),
            [
                Section(
                    "1 change of nodes",
                    ("node", "operator", "what", "old", "new"),
                    [("relu -> act", "Relu", "operator", "Relu", "Elu")],
                )
            ],
        ),
        (
            model(weights=[WEIGHT, {**WEIGHT, "dims": [None, [1]], "changed": None}]),
            [
                Section(
                    "2 weights changed",
                    ("weight", "dtype", "shape", "changed", "max change", "relative", "mean relative"),
                    [
                        ("w", "float32 -> float16", "2x3 -> scalar", "5 of 6", "0.123", "2", "-"),
                        ("w", "float32 -> float16", "flat -> 1", "-", "0.123", "2", "-"),
                    ],
                )
            ],
        ),
        (
            model(added_weights=["v\n"], removed_weights=[f"w{index}" for index in range(9)]),
            [
                Section("1 weight added: v\\n"),
                Section("9 weights removed: w0, w1, w2, w3, w4, w5, w6, w7 and 1 more"),
            ],
        ),
        (
            model(
                types={
                    "unknown": True,
                    "old": [["float32", 3]],
                    "new": [["float16", 3]],
                    "changed": [["float32", "float16", ["a"]]],
                }
            ),
            [
                Section("the types in which nodes compute are unknown: shape inference fails on one side"),
                Section(
                    "nodes per type",
                    ("type", "old", "new"),
                    [("float16", "0", "3"), ("float32", "3", "0")],
                ),
                Section("float32 -> float16 in 1 node: a"),
            ],
        ),
        (
            model(size={"weight_bytes": [1024, None], "nodes": [3, 4]}),
            [
                Section(
                    "size and cost",
                    ("what", "old", "new"),
                    [("weight_bytes", "1.0 KiB", "not known"), ("nodes", "3", "4")],
                )
            ],
        ),
        (
            model(renamed_nodes=2, renamed_weights=1, reordered=True),
            [
                Section("renamed, which changes nothing of what is computed: 2 nodes"),
                Section("renamed, which changes nothing of what is computed: 1 weight"),
                Section("nodes are in another order, which does not change what is computed"),
            ],
        ),
        (model(differs=False, renamed_nodes=2), []),
        (
            {
                **model(),
                "interface": [{"mode": "input", "old": None, "new": "x: float32 1"}],
                "opsets": [["", 17, None]],
                "functions": ["f", "g"],
            },
            [
                Section("inputs and outputs", ("mode", "old", "new"), [("input", "-", "x: float32 1")]),
                Section("opsets", ("domain", "old", "new"), [("", "17", "-")]),
                Section("functions that differ: f, g"),
            ],
        ),
    ],
)
def test_how_two_models_differ(record, found):
    assert list(sections(record)) == found


def test_two_files_of_weights_differ_in_their_weights():
    record = {**SIDES, "kind": "weights", "differs": True, "graph": {**NO_GRAPH, "added_weights": ["w"]}}

    assert list(sections(record)) == [Section("1 weight added: w")]


def test_files_of_another_kind_differ_field_by_field():
    changes = [
        {"path": "tensors.x", "old": None, "new": 0.123456789},
        {"path": "digest", "old": D1, "new": f"{D2}/12"},
        {"path": "count", "old": 1, "new": "text"},
    ]
    record = {**SIDES, "kind": "scales", "differs": True, "changes": changes}

    assert list(sections(record)) == [
        Section(
            "scales",
            ("field", "old", "new"),
            [
                ("tensors.x", "-", "0.123457"),
                ("digest", "a" * 12, f"{'b' * 12} of 12"),
                ("count", "1", "text"),
            ],
        )
    ]
    assert list(sections({**record, "changes": []})) == []


ENGINE = {
    **SIDES,
    "kind": "engine",
    "differs": True,
    "verdict": "different",
    "bytes": [10, 12],
    "digests": [D1, D2],
    "normalised": [D1, D1],
    "header": [],
    "sections": {},
    "layers": None,
    "layer_types": [],
    "measured": [],
    "unknown": [],
}
BYTES = Section("engine", ("what", "old", "new"), [("bytes", "10", "12"), ("BLAKE3", "a" * 12, "b" * 12)])
LAYER = {
    "name": "conv",
    "type": "Convolution",
    "outputs": [{"name": "y", "dtype": "float16", "shape": [-1, 8]}],
}
FIELD = {"path": "flag", "old": 0, "new": 1}


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({}, [BYTES]),
        ({"verdict": "identical bytes"}, []),
        ({"header": [FIELD]}, [BYTES, Section("header", ("field", "old", "new"), [("flag", "0", "1")])]),
        (
            {"sections": {"options": [FIELD]}, "measured": [{**FIELD, "path": "cosine"}]},
            [
                BYTES,
                Section("options", ("field", "old", "new"), [("flag", "0", "1")]),
                Section("measured", ("field", "old", "new"), [("cosine", "0", "1")]),
            ],
        ),
        (
            {"layers": {"index": 4, "old": LAYER, "new": None}},
            [
                BYTES,
                Section(
                    "first layer that differs: number 4",
                    ("side", "name", "type", "outputs"),
                    [("old", "conv", "Convolution", "y float16 ?x8"), ("new", "-", "-", "-")],
                ),
            ],
        ),
        (
            {"layer_types": [["float32", "float16", ["a", "b"]]], "unknown": ["no record of the layers"]},
            [
                BYTES,
                Section("float32 -> float16 in 2 layers: a, b"),
                Section("not compared: no record of the layers"),
            ],
        ),
        ({"typed model": {"identical": True}}, [BYTES]),
        ({"typed model": model(added_weights=["w"])}, [BYTES, Section("typed model: 1 weight added: w")]),
    ],
)
def test_how_two_engines_differ(given, found):
    assert list(sections({**ENGINE, **given})) == found


CAUSE = {"field": "source_model", "old": D1, "new": ""}


def lock(**given):
    plain = {"added": [], "removed": [], "groups": [], "changed": [], "unchanged": 0}
    return {**SIDES, "kind": "lockfile", "differs": True, **plain, "bundles": plain, **given}


def group(**given):
    plain = {"cells": ["p/a@x"], "causes": [], "why": "the spec", "follows": {}, "bytes": [1, 1]}
    return {**plain, **given}


@pytest.mark.parametrize(
    ("record", "titles"),
    [
        (
            lock(added=["p/a@x"], removed=["p/b@x", "p/c@x"]),
            ["1 cell added: p/a@x", "2 cells removed: p/b@x, p/c@x"],
        ),
        (lock(groups=[group()]), ["1 cell: the spec (p/a@x)"]),
        (
            lock(groups=[group(causes=[CAUSE], follows={"key": 1, "scale_count": 1, "engine": 1})]),
            ["1 cell: source model aaaaaaaaaaaa -> none; changed: scale count in 1, engine in 1 (p/a@x)"],
        ),
        (
            lock(groups=[group(cells=["p/a@x", "p/b@x"], bytes=[1024, 2048])]),
            ["2 cells: the spec; engines 1.0 KiB -> 2.0 KiB (p/a@x, p/b@x)"],
        ),
        (lock(unchanged=2), ["2 cells as before"]),
        (
            lock(unchanged=2, bundles={**lock(), "removed": ["ocr"], "unchanged": 1}),
            ["1 bundle removed: ocr", "2 cells as before", "1 bundle as before"],
        ),
        ({**lock(unchanged=2), "differs": False}, []),
    ],
)
def test_how_two_lockfiles_differ(record, titles):
    assert [one.title for one in sections(record)] == titles


def test_what_no_group_of_cells_told_is_told_cell_by_cell():
    own = {"field": "engine", "old": f"{D1} 12", "new": f"{D2}x"}
    changed = [{"cell": "p/a@x", "facts": [CAUSE, own, {"field": "key", "old": "1", "new": "2"}]}]

    *_, last = sections(lock(groups=[group(causes=[CAUSE])], changed=changed))

    assert last == Section(
        "cell by cell", ("cell", "field", "old", "new"), [("p/a@x", "engine", f"{'a' * 12} 12", f"{D2}x")]
    )


# -- as text and as Markdown


def rows(count):
    return model(added=[[f"n{index}", "Relu"] for index in range(count)])


@pytest.mark.parametrize(("count", "last"), [(40, "  n39   Relu"), (42, "  … and 2 more (--json lists all)")])
def test_a_terminal_shows_forty_rows_of_a_table(count, last):
    lines = difference_text(rows(count)).splitlines()

    assert lines[:3] == ["old and new differ", f"{count} nodes added", "  node  operator"]
    assert lines[-1] == last
    assert len([line for line in lines if line.endswith("Relu")]) == 40


def test_markdown_folds_a_long_table_and_shows_all_of_it():
    short, long = (difference_markdown(rows(count)).splitlines() for count in (40, 41))

    assert short[2] == "**40 nodes added**"
    assert long[2] == "<details><summary>41 nodes added</summary>"
    assert long[-3:] == ["| n40 | Relu |", "", "</details>"]
    assert "</details>" not in short


def test_a_value_of_any_length_and_with_any_sign_stays_in_its_cell():
    record = model(added=[["x|`<b>\n", "y" * 161], ["z", "y" * 160]])

    assert "x&#124;&#96;&#60;b&#62;&#92;n" in difference_markdown(record)
    assert difference_text(record).splitlines()[3:] == [
        f"  x|`<b>\\n  {'y' * 159}…",
        f"  z         {'y' * 160}",
    ]


def test_sentences_of_markdown_are_a_list_before_and_after_tables():
    record = model(added=[["n", "Relu"]], added_weights=["w"], reordered=True)

    assert difference_markdown({**record, "functions": ["f"]}).splitlines() == [
        "### old and new differ",
        "",
        "- functions that differ: f",
        "",
        "**1 node added**",
        "",
        "| node | operator |",
        "| --- | --- |",
        "| n | Relu |",
        "",
        "- 1 weight added: w",
        "- nodes are in another order, which does not change what is computed",
    ]
