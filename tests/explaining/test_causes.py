"""Every reason a step can have, in words and as the JSON that `plan`, `explain` and `build --json` write."""

from __future__ import annotations

from typing import get_args

import pytest

from trtpipe.plan.address import address
from trtpipe.plan.decisions import Pending, Restore, Run, UpToDate, promise_of
from trtpipe.plan.fingerprint import Change
from trtpipe.plan.reasons import Changed, CorruptOutput, First, Forced, MissingOutput, NoTrace, Reason
from trtpipe.text.decisions import decision_json, reason_json, show_changed_fields, show_reason
from trtpipe.text.plans import why

LEVEL = Change("options.level", 3, 5)
TYPED = Change("inputs.model.model.onnx", f"{'a' * 64}/1", None)
MANY = Changed((LEVEL, *(Change(f"tools.{name}", "1", "2") for name in "abcd")))

CASES = [
    (First(), {"cause": "first", "changes": [], "detail": ""}, "never built here"),
    (
        Changed((LEVEL, TYPED)),
        {"cause": "changed", "changes": [LEVEL.to_json(), TYPED.to_json()], "detail": ""},
        "options.level: 3 -> 5; inputs.model.model.onnx: aaaaaaaaaaaa (1 bytes) -> (none)",
    ),
    (Forced(), {"cause": "forced", "changes": [], "detail": ""}, "asked for"),
    (
        MissingOutput(("a.onnx", "b.bin")),
        {"cause": "missing_output", "changes": [], "detail": "a.onnx, b.bin"},
        "the store lost a.onnx, b.bin",
    ),
    (
        CorruptOutput("what digits:import made"),
        {"cause": "corrupt_output", "changes": [], "detail": "what digits:import made"},
        "the store's copy of what digits:import made was damaged",
    ),
    (NoTrace(), {"cause": "no_trace", "changes": [], "detail": ""}, "the store has no trace of it"),
]


@pytest.mark.parametrize(("reason", "record", "text"), CASES)
def test_a_reason_as_json_and_in_words(reason, record, text):
    assert list(reason_json(reason).items()) == list(record.items())
    assert show_reason(reason) == text
    assert decision_json(Run("k", reason)) == {"decision": "run", "key": "k", "reason": record}


def test_no_reason_is_forgotten_above():
    assert {type(reason) for reason, *_ in CASES} == set(get_args(Reason))


def test_of_many_changes_the_first_are_told_with_values_and_the_others_by_name():
    assert show_reason(MANY, most=1) == "options.level: 3 -> 5; also tools.a, tools.b, tools.c, tools.d"
    assert show_changed_fields(MANY) == "changed options.level, tools.a, tools.b …"
    assert show_changed_fields(Changed((LEVEL,))) == "changed options.level"
    assert show_changed_fields(First()) == ""


def test_a_step_that_waits_says_what_of_its_own_changed():
    before = address("import", "p")

    waiting = Pending((before,), (LEVEL,))

    assert why(waiting) == "options.level: 3 -> 5; waits for p:import"
    assert why(Pending((before,), forced=True)) == "asked for; waits for p:import"
    assert why(Pending((before,))) == "waits for p:import"
    assert decision_json(waiting) == {
        "decision": "pending",
        "waits_for": ["p:import"],
        "forced": False,
        "changes": [LEVEL.to_json()],
    }


@pytest.mark.parametrize(
    ("decision", "promise"),
    [
        (Run("k", First()), "will run"),
        (Pending((), (LEVEL,)), "may run"),
        (Pending((), forced=True), "will run"),
        (UpToDate("k", {}), "will not run"),
        (Restore("k", {}, ()), "will not run"),
    ],
)
def test_what_a_decision_promises(decision, promise):
    assert promise_of(decision) == promise
