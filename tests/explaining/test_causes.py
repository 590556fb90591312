"""Every reason a step can have, in words and as the JSON that `plan`, `explain` and `build --json` write."""

from __future__ import annotations

from typing import get_args

import pytest

from trtpipe.plan.decisions import Run
from trtpipe.plan.fingerprint import Change
from trtpipe.plan.reasons import Changed, CorruptOutput, First, Forced, MissingOutput, NoTrace, Reason
from trtpipe.rendering.decisions import decision_json, reason_json, show_changed_fields, show_reason

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


def test_of_many_changes_the_first_are_told():
    assert show_reason(MANY, most=1) == "options.level: 3 -> 5; and 4 more"
    assert show_changed_fields(MANY) == "changed options.level, tools.a, tools.b …"
    assert show_changed_fields(Changed((LEVEL,))) == "changed options.level"
    assert show_changed_fields(First()) == ""
