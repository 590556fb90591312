"""What a lockfile holds of searches and kernels, and whether a search's trace agrees with it."""

from __future__ import annotations

import pytest

from trtpipe.lockfile.choices import agrees, choices_in, tactics_in
from trtpipe.lockfile.recipes import recipe_of
from trtpipe.plan.fingerprint import Fingerprint
from trtpipe.plan.trace import Trace

CHOICE = {"precision": "int8", "base": "fp16", "keep": {"fp16": ["/a", "/b"]}}
ENTRY = {"search": "k", "precision": "int8", "base": "fp16", "keep_fp16": ["/a", "/b"], "reached": "0.99"}
RECORD = Fingerprint("search", 1, {}, {}, {}).record()
RECIPE = recipe_of(RECORD)


def test_cells_that_agree_hold_one_choice():
    assert choices_in([ENTRY, {"search": "k"}, dict(ENTRY), {"precision": "fp32"}]) == {
        "k": {**CHOICE, "reached": "0.99"}
    }


def test_what_is_not_told_is_none_or_empty():
    assert choices_in([{"search": "k", "precision": "fp16"}]) == {
        "k": {"precision": "fp16", "base": None, "keep": {}, "reached": ""}
    }


@pytest.mark.parametrize("edit", [{"base": "fp32"}, {"keep_fp16": ["/a"]}, {"reached": "0.5"}])
def test_cells_that_contradict_each_other_hold_none(edit):
    other = {**ENTRY, "search": "l"}

    assert choices_in([ENTRY, other, {**ENTRY, **edit}, ENTRY]).keys() == {"l"}


def test_tactics_are_those_of_an_engine_by_its_key():
    entries = [
        {"key": "k", "tactics": {"0x1": "0x2"}},
        {"key": "l"},
        {"tactics": {"0x1": "0x3"}},
        {"key": "m", "tactics": "x"},
    ]

    assert tactics_in(entries) == {"k": {"0x1": "0x2"}}


def trace(source: str, **edit) -> Trace:
    return Trace("key", "net/auto:search", RECORD, {}, {"from": source, "choice": {**CHOICE, **edit}})


def test_what_the_lockfile_does_not_know_holds_if_it_was_searched_here():
    assert agrees(trace("a search"), {})
    assert not agrees(trace("the lockfile"), {})


@pytest.mark.parametrize(
    ("edit", "same"),
    [
        ({}, True),
        ({"keep": {"fp16": ["/b", "/a"]}}, True),
        ({"keep": {"fp16": ["/a"]}}, False),
        ({"keep": {"fp32": ["/a", "/b"]}}, False),
        ({"precision": "fp8"}, False),
        ({"base": None}, False),
    ],
)
@pytest.mark.parametrize("source", ["a search", "the lockfile"])
def test_what_the_lockfile_knows_must_be_the_same_whatever_its_order(source, edit, same):
    assert agrees(trace(source, **edit), {RECIPE: CHOICE}) == same
