"""Cells on two TensorRT versions: what counts as worse, and how a reviewer is told."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest

from tests.damage import damages
from trtpipe.json_values import Malformed
from trtpipe.metrics.upgrades import Row, facts_of, in_order
from trtpipe.text.upgrades import summary_line, upgrade_html, upgrade_markdown

OLD = {
    "toolchain": "tensorrt_rtx 1.6.1.120",
    "engine": "a" * 64,
    "bytes": 1000,
    "build_seconds": 2.0,
    "outcome": "passed",
    "accuracy": 0.98,
    "layers": {"float16": 10},
    "low_layer_share": 1.0,
}


def on_new(**changes):
    return {**OLD, "toolchain": "tensorrt_rtx 1.7.1.116", **changes}


@pytest.mark.parametrize(
    ("new", "status"),
    [
        ({}, "same"),
        ({"bytes": 5000, "build_seconds": 90.0}, "same"),
        ({"accuracy": 0.97}, "worse"),
        ({"accuracy": 0.99}, "better"),
        ({"accuracy": None}, "same"),
        ({"outcome": "failed"}, "worse"),
        ({"low_layer_share": 0.5}, "worse"),
        ({"low_layer_share": 0.9995}, "same"),
        ({"accuracy": 0.99, "low_layer_share": 0.5}, "worse"),
    ],
)
def test_a_cell_is_worse_by_its_accuracy_its_outcome_and_its_types(new, status):
    assert Row("a/b@c", OLD, on_new(**new)).status == status


def test_a_cell_without_a_new_engine_failed_and_one_without_an_old_one_is_not_compared():
    assert Row("a/b@c", OLD, None, ("refused",)).status == "failed"
    assert Row("a/b@c", None, None, ("refused",)).status == "failed"
    assert Row("a/b@c", None, on_new()).status == "not compared"


def test_a_reviewer_sees_failures_first():
    rows = [
        Row("p/a@x", OLD, on_new()),
        Row("p/b@x", OLD, on_new(accuracy=0.99)),
        Row("p/c@x", OLD, on_new(accuracy=0.5)),
        Row("p/d@x", OLD, None),
    ]

    assert [one.cell for one in in_order(rows)] == ["p/d@x", "p/c@x", "p/a@x", "p/b@x"]


def test_facts_are_those_of_the_manifest():
    manifest = {
        "toolchain": {"flavour": "tensorrt_rtx", "version": "1.6.1.120"},
        "engine": {"blake3": "a" * 64, "bytes": 1000},
        "timings": {"seconds": {"build_engine": 2.0}},
        "validation": {"outcome": "passed", "accuracy": 0.98},
        "audit": {"layers": {"float16": 10}, "low_layer_share": 1.0},
    }

    assert facts_of(manifest) == OLD
    assert facts_of({**manifest, "validation": {"outcome": "not_run"}})["outcome"] == "not run"


def record(*rows, **changes):
    cells = [one.to_json() for one in in_order(rows)]
    return {
        "toolchain": "TensorRT-RTX 1.7.1.116",
        "changes": ["a.yaml:3: x"],
        "cells": cells,
        "notes": [],
        **changes,
    }


def test_the_summary_counts_what_became_of_the_cells():
    one, two = Row("p/a@x", OLD, on_new()), Row("p/b@x", OLD, None, ("no",))

    assert summary_line(record(one, two)) == "2 cells: 1 failed, 1 same"
    assert summary_line(record(one)) == "1 cell: 1 same"
    assert summary_line(record()) == "0 cells: nothing"


def test_markdown_shows_old_and_new_side_by_side():
    text = upgrade_markdown(record(Row("p/a@x", OLD, on_new(bytes=1100, accuracy=0.97))))

    assert (
        "| p/a@x | worse | 0 | passed | 0.98 → 0.97 | 1000 B → 1.1 KiB (+10.0 %) | 10 float16 | 2.0 s |"
        in text
    )
    assert "- `a.yaml:3: x`" in text


HOSTILE = "</td><script>alert(1)</script>|`x`\n# injected\x1b[31m"


def test_what_a_model_is_called_stays_text_in_both_forms():
    hostile = record(Row(f"p/{HOSTILE}@x", OLD, None, (HOSTILE,)), changes=[HOSTILE], notes=[HOSTILE])

    markdown, page = upgrade_markdown(hostile), upgrade_html(hostile)

    assert "\n# injected" not in markdown
    assert "\x1b" not in markdown
    assert "<script" not in page
    rows = [line for line in markdown.splitlines() if line.startswith("| p/")]
    assert [line.replace("\\|", "").count("|") for line in rows] == [9]


class Tags(HTMLParser):
    """Whether every tag is closed in its order."""

    def __init__(self):
        super().__init__()
        self.open, self.seen = [], []

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag not in ("meta",):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_is_whole_needs_nothing_and_names_its_headers():
    page = upgrade_html(record(Row("p/a@x", OLD, on_new()), Row("p/b@x", OLD, None, ("no", "nor this"))))

    tags = Tags()
    tags.feed(page)
    assert tags.open == []
    assert not any({"src", "href"} & attributes.keys() for _, attributes in tags.seen)
    assert "prefers-color-scheme: dark" in page
    assert sum(attributes.get("scope") == "row" for _, attributes in tags.seen) == 2
    assert len(page) < 10_000


def test_a_manifest_with_anything_in_any_place_is_refused_or_compared():
    manifest = {
        "audit": {"layers": {"float16": 10}, "low_layer_share": 1.0},
        "validation": {"outcome": "not_run", "accuracy": 0.98},
        "toolchain": {"flavour": "tensorrt_rtx", "version": "1.6.1.120"},
        "engine": {"blake3": "a" * 64, "bytes": 1000},
        "timings": {"seconds": {"build_engine": 2.0}},
    }
    old = facts_of(manifest)
    assert old == {**OLD, "outcome": "not run"}
    for damage in damages(manifest):
        if isinstance(damage.record, dict):
            with damage.assert_raises_only(Malformed):
                rows = [Row("a", old, facts_of(damage.record)), Row("b", facts_of(damage.record), old)]
                table = {
                    "toolchain": "x",
                    "changes": [],
                    "notes": [],
                    "cells": [one.to_json() for one in in_order(rows)],
                }
                upgrade_markdown(table), upgrade_html(table)
