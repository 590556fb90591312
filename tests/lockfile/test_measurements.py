"""Measured values in the lockfile: which of many is kept, in which form, and when the old text may stay."""

from __future__ import annotations

import pytest

from trtpipe.lockfile.measurements import measured_facts, same_bound, same_fact, steady


def verdict(value, *, output="logits", metric="cosine", **bounds):
    return {"output": output, "metric": metric, "value": value, **bounds}


@pytest.mark.parametrize(
    ("bounds", "worst", "words"),
    [
        ({"min": 0.999}, "0.99", " (at least 0.999)"),
        ({"max": 0.25}, "1", " (at most 0.25)"),
        ({"min": 0.0, "max": 1.5}, "0.99", " (at least 0, at most 1.5)"),
        ({"min": None, "max": None}, "1", ""),
        ({}, "1", ""),
    ],
)
def test_the_worst_value_of_all_places_is_kept_with_its_bound(bounds, worst, words):
    values = [0.995, 0.99, 1.0]

    for order in (values, values[::-1]):
        facts = measured_facts([verdict(value, **bounds) for value in order])
        assert facts == {"logits cosine": f"{worst}{words}"}


@pytest.mark.parametrize("bounds", [{"min": 0.5}, {"max": 0.5}])
def test_of_equal_values_the_first_counts(bounds):
    first, second = verdict(0.75, **bounds), verdict(0.75, **dict.fromkeys(bounds, 0.25))

    (fact,) = measured_facts([first, second]).values()

    assert fact.endswith("0.5)")


def test_values_are_rounded_to_four_digits_and_sorted_by_name():
    found = [
        verdict(0.123456, metric="rmse"),
        verdict("inf", metric="psnr"),
        verdict(12345.6, output="boxes"),
    ]

    facts = measured_facts(found)

    assert list(facts.items()) == [
        ("boxes cosine", "1.235e+04"),
        ("logits psnr", "inf"),
        ("logits rmse", "0.1235"),
    ]


@pytest.mark.parametrize("value", [None, "what", [1.0]])
def test_what_is_no_number_was_not_measured(value):
    assert measured_facts([verdict(value)]) == {}
    assert measured_facts([verdict(0.5), verdict(value)]) == {"logits cosine": "0.5"}


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("0.5", "0.5", True),
        ("0.5 (at least 0.1)", "0.5 (at least 0.2)", False),
        ("0.5", "0.5001", True),
        ("0.5001", "0.5", True),
        ("0.5", "0.5002", False),
        ("-0.5", "-0.5001", True),
        ("-0.5", "-0.5002", False),
        ("0.9999", "1", True),
        ("9.999", "10", True),
        ("100", "100.1", True),
        ("100", "100.2", False),
        ("0", "0", True),
        ("0", "1e-300", False),
        ("inf", "inf", True),
        ("inf", "1", False),
        ("1", "inf", False),
        ("inf", "-inf", False),
        ("nan", "nan", True),
        ("what", "what", True),
        ("what", "1", False),
        ("1", "what", False),
    ],
)
def test_a_measured_value_is_the_same_within_one_unit_of_its_last_digit(old, new, same):
    assert same_fact("measured", {"y": old}, {"y": new}) == same
    assert same_fact("data", {"y": old}, {"y": new}) == (old == new)


def test_measured_values_of_other_outputs_are_never_the_same():
    assert not same_fact("measured", {"y": "1"}, {"z": "1"})
    assert not same_fact("measured", {"y": "1"}, {"y": "1", "z": "1"})
    assert not same_fact("measured", {"y": "1", "z": "1"}, {"y": "1", "z": "2"})
    assert not same_fact("measured", {"y": "1"}, None)
    assert same_fact("measured", {}, None)


def test_a_bound_is_all_behind_the_value():
    assert same_bound("0.5 (at least 0.1, at most 2)", "0.7 (at least 0.1, at most 2)")
    assert not same_bound("0.5 (at least 0.1, at most 2)", "0.5 (at least 0.2, at most 2)")
    assert not same_bound("0.5 (at least 0.1)", "0.5")


# -- the old text stays

SUBJECT = {"key": "k", "model": "m", "data": "d", "golden": "g", "validated": "passed"}


def test_the_interpreter_of_the_same_engine_keeps_its_old_text():
    old, new = {"key": "k", "python": "3.10"}, {"key": "k", "python": "3.11"}

    assert steady(old, new) == {"key": "k", "python": "3.10"}
    assert steady(old, {"key": "k"}) == {"key": "k", "python": "3.10"}
    assert steady(old, {"key": "l", "python": "3.11"}) == {"key": "l", "python": "3.11"}
    assert steady({"key": "k"}, new) == new
    assert steady({"key": "k", "python": ""}, new) == new


def test_each_measured_value_stays_that_is_about_the_same():
    old = {"measured": {"a": "0.9999", "b": "0.5", "gone": "1"}}
    new = {"measured": {"a": "0.9998", "b": "0.7", "new": "2"}, "validated": "passed"}

    assert steady(old, new) == {"measured": {"a": "0.9999", "b": "0.7", "new": "2"}, "validated": "passed"}


@pytest.mark.parametrize("one", [{}, {"measured": "0.5"}])
def test_entries_without_measured_values_are_as_they_are_now(one):
    other = {"measured": {"a": "0.5"}}

    assert steady(one, other) == other
    assert steady(other, one) == one


def test_what_was_measured_elsewhere_stays_however_far_it_moved():
    old = {**SUBJECT, "measured": {"a": "0.5 (at least 0.1)", "b": "0.5 (at least 0.1)"}}
    new = {**SUBJECT, "measured": {"a": "0.9 (at least 0.1)", "b": "0.9 (at least 0.2)", "c": "1"}}

    assert steady(old, new, elsewhere=True)["measured"] == {
        "a": "0.5 (at least 0.1)",
        "b": "0.9 (at least 0.2)",
        "c": "1",
    }
    assert steady(old, new)["measured"] == new["measured"]


@pytest.mark.parametrize("name", SUBJECT)
def test_what_was_measured_elsewhere_of_another_subject_is_written_anew(name):
    old = {**SUBJECT, "measured": {"a": "0.5"}}
    new = {**SUBJECT, name: "another", "measured": {"a": "0.9"}}

    assert steady(old, new, elsewhere=True) == new
