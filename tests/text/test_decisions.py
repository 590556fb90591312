"""Decisions, their reasons and the causes of changes: the words and the JSON of each kind."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from trtpipe.digests import digest_bytes
from trtpipe.plan.address import Address
from trtpipe.plan.decisions import Decision, Pending, Restore, Run, UpToDate, promise_of
from trtpipe.plan.fingerprint import Change
from trtpipe.plan.origins import FromMaker, InDataSet, InFile, InSpec, Nowhere, Origin
from trtpipe.plan.reasons import Changed, CorruptOutput, First, Forced, MissingOutput, NoTrace, Reason
from trtpipe.text.causes import Cause
from trtpipe.text.decisions import decision_json, reason_json, show_changed_fields, show_reason, show_value
from trtpipe.text.plans import why

OUT = digest_bytes(b"out")
IMPORT = Address.parse("p:import")
CHANGES = tuple(Change(f"options.{name}", old, old + 1) for old, name in enumerate("abcd"))

REASONS = [
    (First(), "never built here", "first", ""),
    (
        Changed(CHANGES),
        "options.a: 0 -> 1; options.b: 1 -> 2; options.c: 2 -> 3; also options.d",
        "changed",
        "",
    ),
    (Forced(), "asked for", "forced", ""),
    (MissingOutput(("a", "b")), "the store lost a, b", "missing_output", "a, b"),
    (CorruptOutput("x"), "the store's copy of x was damaged", "corrupt_output", "x"),
    (NoTrace(), "the store has no trace of it", "no_trace", ""),
]


@pytest.mark.parametrize(("reason", "words", "cause", "detail"), REASONS, ids=lambda one: type(one).__name__)
def test_a_reason_in_words_and_as_json(reason, words, cause, detail):
    assert show_reason(reason) == words
    changes = [change.to_json() for change in CHANGES] if cause == "changed" else []
    assert reason_json(reason) == {"cause": cause, "changes": changes, "detail": detail}


def test_no_reason_is_forgotten_above():
    assert {type(reason) for reason, *_ in REASONS} == set(get_args(Reason))


def test_where_there_is_little_room_only_the_names_of_changed_fields_are_told():
    assert show_changed_fields(Changed(CHANGES)) == "changed options.a, options.b, options.c …"
    assert show_changed_fields(Changed(CHANGES[:3])) == "changed options.a, options.b, options.c"
    assert show_changed_fields(First()) == ""


DECISIONS = [
    (
        UpToDate("k", {"out": OUT}),
        "",
        "will not run",
        {"decision": "up_to_date", "key": "k", "outputs": {"out": str(OUT)}},
    ),
    (
        Restore("k", {"out": OUT}, ("p/a@x/", "p/b@x/")),
        "to be delivered: p/a@x/, p/b@x/",
        "will not run",
        {"decision": "restore", "key": "k", "outputs": {"out": str(OUT)}, "missing": ["p/a@x/", "p/b@x/"]},
    ),
    (
        Run("k", Changed(CHANGES[:3])),
        "options.a: 0 -> 1; options.b: 1 -> 2; also options.c",
        "will run",
        {"decision": "run", "key": "k", "reason": reason_json(Changed(CHANGES[:3]))},
    ),
    (
        Pending((IMPORT,)),
        "waits for p:import",
        "may run",
        {"decision": "pending", "waits_for": ["p:import"], "forced": False, "changes": []},
    ),
    (
        Pending((IMPORT,), CHANGES[:1]),
        "options.a: 0 -> 1; waits for p:import",
        "may run",
        {
            "decision": "pending",
            "waits_for": ["p:import"],
            "forced": False,
            "changes": [CHANGES[0].to_json()],
        },
    ),
    (
        Pending((IMPORT,), CHANGES[:1], forced=True),
        "asked for; waits for p:import",
        "will run",
        {
            "decision": "pending",
            "waits_for": ["p:import"],
            "forced": True,
            "changes": [CHANGES[0].to_json()],
        },
    ),
]


@pytest.mark.parametrize(("decision", "words", "promise", "record"), DECISIONS)
def test_a_decision_in_words_and_as_json(decision, words, promise, record):
    assert why(decision) == words
    assert promise_of(decision) == promise
    assert decision_json(decision) == record


def test_no_decision_is_forgotten_above():
    assert {type(decision) for decision, *_ in DECISIONS} == set(get_args(Decision))


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "(none)"),
        ("fp16", "fp16"),
        (f"{'a' * 64}/12", "aaaaaaaaaaaa (12 bytes)"),
        (f"{'a' * 64}/x", f"{'a' * 64}/x"),
        ("a/12", "a/12"),
        ("", ""),
        (True, "true"),
        (False, "false"),
        (1, "1"),
        (0.5, "0.5"),
        ([1, None, ["x", True]], "[1, (none), [x, true]]"),
        ([], "[]"),
    ],
)
def test_a_value_for_a_reader(value, shown):
    assert show_value(value) == shown


CAUSES = [
    (
        Cause(InSpec(("variants", "a")), "p.yaml", 14),
        "p.yaml:14",
        {"kind": "spec", "file": "p.yaml", "line": 14},
    ),
    (Cause(InSpec(("variants", "a"))), "", {"kind": "spec", "file": None, "line": None}),
    (
        Cause(InDataSet("c", ("images",)), "c.yaml", 2),
        "c.yaml:2",
        {"kind": "data_set", "file": "c.yaml", "line": 2},
    ),
    (Cause(InFile(Path("m.onnx")), "m.onnx"), "m.onnx", {"kind": "file", "file": "m.onnx"}),
    (Cause(FromMaker(IMPORT)), "", {"kind": "step", "address": "p:import"}),
    (Cause(Nowhere("it is the default")), "", {"kind": "nowhere", "why": "it is the default"}),
]


@pytest.mark.parametrize(("cause", "place", "record"), CAUSES, ids=lambda one: str(one)[:40])
def test_a_place_on_a_line_and_as_json(cause, place, record):
    assert cause.place == place
    assert cause.place_json() == record


def test_no_origin_is_forgotten_above():
    assert {type(cause.origin) for cause, *_ in CAUSES} == set(get_args(Origin))
