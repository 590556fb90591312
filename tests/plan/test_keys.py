"""Keys stay what they were: whoever has built engines keeps them.

`keys.json` holds the key of every step of two rich plans. It changes only with a stage's version or on purpose:
`python -m tests.plan.test_keys` writes it anew.
"""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest

from tests.plan.rich_specs import Rich, rich_plans
from trtpipe.digests import key_of
from trtpipe.plan.graph import Action
from trtpipe.plan.options import (
    UNPLACED,
    BundleOptions,
    EngineOptions,
    EvaluateOptions,
    FetchOptions,
    ImportOptions,
    Options,
    ParseOptions,
    QuantizeOptions,
    ReadbackOptions,
    SearchOptions,
    TransformOptions,
    UnitsOptions,
    ValidateOptions,
    calibrating,
)
from trtpipe.search.choices import Choice
from trtpipe.search.steps import evaluation, quantize_options

KEYS = Path(__file__).parent / "keys.json"

READERS = {
    "fetch": FetchOptions.from_record,
    "import": ImportOptions.from_record,
    "transform": TransformOptions.from_record,
    "calibrate": calibrating,
    "search": SearchOptions.from_record,
    "quantize": QuantizeOptions.from_record,
    "parse": ParseOptions.from_record,
    "build_engine": EngineOptions.from_record,
    "validate": ValidateOptions.from_record,
    "readback": ReadbackOptions.from_record,
}


@pytest.fixture(scope="module")
def plans(tmp_path_factory):
    return rich_plans(tmp_path_factory.mktemp("project"))


@pytest.fixture(scope="module")
def actions(plans):
    return actions_of(plans)


def actions_of(plans: dict[str, Rich]) -> dict[str, Action]:
    return {str(one.address): one for plan in plans.values() for one in plan.actions()}


def test_every_key_is_what_it_was(actions):
    assert {name: action.key for name, action in actions.items()} == json.loads(KEYS.read_text())


def test_the_plans_have_steps_of_every_kind(plans):
    made = {type(step.options) for one in plans.values() for step in one.plan.steps.values()}

    # searches ask for evaluations, and a build for the validation of a bundle, once its members are delivered
    assert made == {*get_args(Options)} - {EvaluateOptions, UnitsOptions, BundleOptions}


def test_options_are_read_back_from_a_record_as_they_were(plans):
    for one in plans.values():
        for step in one.plan.steps.values():
            record = json.loads(json.dumps(step.options.record()))
            read = READERS[step.stage](record)

            assert type(read) is type(step.options)
            assert key_of(read.record()) == key_of(step.options.record())
            assert read.origins is UNPLACED


@pytest.mark.parametrize(
    ("choice", "key", "units"),
    [
        (Choice("int8", "fp16", {"fp32": ("/a", "/b")}), "27d28c94767fdf3f", "add12048531ed940"),
        (Choice("fp16"), "6e3eb851749cde1e", "cf3da8ae1f4a1bdb"),
    ],
)
def test_evaluations_that_are_known_are_found_again(actions, choice, key, units):
    search = actions["remote/found:search"].fingerprint
    subject = EvaluateOptions.from_record(search.options)
    quantize = quantize_options(subject.quantize, choice)
    asked = replace(subject, quantize=quantize, validate=replace(subject.validate, corners=True))
    about = UnitsOptions(units=quantize, profiles=subject.validate.profiles, origins=UNPLACED)

    assert evaluation(search, asked).key.startswith(key)
    assert evaluation(search, about).key.startswith(units)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        keys = {name: action.key for name, action in actions_of(rich_plans(Path(folder))).items()}
    KEYS.write_text(json.dumps(keys, indent=1) + "\n")
    sys.stdout.write(f"{len(keys)} keys\n")
