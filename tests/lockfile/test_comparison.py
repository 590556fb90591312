"""In what a lockfile differs from the current state: which fields count, what is said of each, and in which words."""

from __future__ import annotations

import pytest

from trtpipe.lockfile.comparison import Difference, between, cell_words, mismatch
from trtpipe.problem_codes import Code

DIGEST = "ab" * 32


def told(old, new, **options):
    """Field, old value and new of each difference."""
    return [(one.field, one.old, one.new) for one in between("net/a@t", old, new, **options)]


def test_a_difference_is_told_in_json_and_on_a_line():
    one = Difference("net/a@t", "engine", f"{DIGEST} (3 bytes)", "none")

    assert one.to_json() == {
        "cell": "net/a@t",
        "field": "engine",
        "old": f"{DIGEST} (3 bytes)",
        "new": "none",
    }
    assert one.line() == "engine: abababababab (3 bytes) -> none"


def test_known_fields_come_in_the_lockfiles_order_and_others_after_them_by_name():
    old = {"keep_fp32": ["x"], "engine": "e", "key": "k", "keep_bf16": ["y", "z"]}

    assert told(old, {"newer": "n"}) == [
        ("key", "k", "(none)"),
        ("engine", "e", "(none)"),
        ("keep_bf16", "y z", "(none)"),
        ("keep_fp32", "x", "(none)"),
        ("newer", "(none)", "n"),
    ]


def test_only_the_fields_that_were_asked_for_are_compared():
    old, new = {"key": "k", "engine": "e", "data": "d"}, {"key": "l", "engine": "f", "data": "e"}

    assert told(old, new, fields=("engine", "key")) == [("key", "k", "l"), ("engine", "e", "f")]
    assert told(old, new, fields=()) == []


@pytest.mark.parametrize("field", ["run_on_gpu", "address_randomisation"])
def test_circumstances_are_no_difference_even_when_asked_for(field):
    assert told({field: "passed"}, {}, fields=(field,)) == []


def test_another_interpreter_counts_only_where_the_key_is_another():
    old, new = {"key": "k", "python": "3.10"}, {"key": "k", "python": "3.11"}

    assert told(old, new) == []
    assert told(old, {**new, "key": "l"}) == [("key", "k", "l"), ("python", "3.10", "3.11")]
    assert told({"python": "3.10"}, new) == [("key", "(none)", "k"), ("python", "3.10", "3.11")]


def test_a_fact_by_name_is_compared_name_by_name():
    old, new = {"source": {"a": "1", "b": "2", "c": "3"}}, {"source": {"b": "9", "c": "3", "d": "4"}}

    assert told(old, new) == [
        ("source a", "1", "(none)"),
        ("source b", "2", "9"),
        ("source d", "(none)", "4"),
    ]


def test_a_fact_that_had_one_text_is_compared_with_one_that_has_names():
    assert told({"source": "s"}, {"source": {"net.onnx": "s"}}) == [
        ("source", "s", "(none)"),
        ("source net.onnx", "(none)", "s"),
    ]
    assert told({"source": {"net.onnx": "s"}}, {}) == [("source net.onnx", "s", "(none)")]


def test_of_measured_values_those_alone_are_told_that_moved_came_or_went():
    old = {"measured": {"a cosine": "0.9999", "b cosine": "0.5", "c cosine": "1", "d cosine": "2"}}
    new = {"measured": {"a cosine": "0.9998", "b cosine": "0.7", "c cosine": "1", "e cosine": "3"}}

    assert told(old, new) == [
        ("measured b cosine", "0.5", "0.7"),
        ("measured d cosine", "2", "(none)"),
        ("measured e cosine", "(none)", "3"),
    ]


@pytest.mark.parametrize("nothing", [{}, {"data": ""}, {"data": {}}, {"data": []}])
def test_an_empty_fact_is_the_same_as_none(nothing):
    assert told(nothing, {}) == told({}, nothing) == []


def test_a_name_with_an_empty_text_is_the_same_as_no_such_name():
    assert told({"source": {"a": "", "b": "1"}}, {"source": {"b": "1", "c": ""}}) == []


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (1, "c0"),
        (6, "c0, c1, c2, c3, c4, c5"),
        (7, "c0, c1, c2, c3, c4, c5 and 1 more"),
        (9, "c0, c1, c2, c3, c4, c5 and 3 more"),
    ],
)
def test_of_many_cells_the_first_are_named(count, words):
    assert cell_words([f"c{index}" for index in range(count)]) == words


def test_the_remedy_stands_behind_the_last_of_the_problems():
    found = [Difference(cell, "key", "k", cell) for cell in ("a", "b", "c")]

    problems = mismatch(found, "do this").problems

    assert [one.code for one in problems] == [Code.LOCK_DIFFERS] * 3
    assert [one.fact for one in problems] == [f"{cell}: differs from the lockfile" for cell in "abc"]
    assert [one.remedy for one in problems] == ["key: k -> a", "key: k -> b", "key: k -> c\ndo this"]
