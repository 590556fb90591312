"""Which element types which version was seen to take: refusals by version, and stand-ins for versions not tried."""

from __future__ import annotations

import json

import pytest

from trtpipe.targets import operator_types
from trtpipe.targets.operator_types import (
    is_newer,
    nearest_tried,
    newest_refuses,
    refuses_type,
    tried_versions,
    type_refusal,
)

TABLE = {
    "tried": ["1.10.0.1", "1.4.0.76", "1.7.1.116"],
    "operators": {
        "Abs": {
            "T": {
                "refused": {"uint8": {"by": "parser", "versions": ["1.10.0.1", "1.4.0.76", "1.7.1.116"]}},
                "taken": ["float32"],
            }
        },
        "Pow": {
            "T": {"refused": {"int32": {"by": "builder", "versions": ["1.4.0.76"]}}, "taken": ["float32"]},
            "T1": {
                "refused": {"bfloat16": {"by": "builder", "versions": ["1.10.0.1"]}},
                "taken": ["float32"],
            },
            "all": {"refused": {}, "taken": ["float32", "bfloat16"]},
        },
    },
}


@pytest.fixture
def _table(tmp_path, monkeypatch):
    file = tmp_path / "types.json"
    file.write_text(json.dumps(TABLE))
    monkeypatch.setattr(operator_types, "_FILE", file)
    operator_types._table.cache_clear()
    yield
    operator_types._table.cache_clear()


pytestmark = pytest.mark.usefixtures("_table")


def test_versions_are_in_the_order_of_their_numbers_not_of_their_letters():
    assert tried_versions() == ("1.4.0.76", "1.7.1.116", "1.10.0.1")
    refusal = type_refusal("Abs", "T", "uint8")
    assert refusal is not None
    assert refusal == ("parser", tried_versions(), ("float32",))


@pytest.mark.parametrize("asked", [("Abs", "T", "float32"), ("Abs", "T", "int8"), ("Nope", "T", "float32")])
def test_what_is_taken_or_was_never_tried_gets_no_verdict(asked):
    assert type_refusal(*asked) is None
    assert refuses_type("1.4", *asked) is None
    assert newest_refuses(*asked) is None


@pytest.mark.parametrize(
    ("version", "refused"), [("1.4.0.76", True), ("1.6.9", True), ("1.7.1.116", False), ("1.3", True)]
)
def test_a_type_is_refused_by_the_versions_that_were_seen_to(version, refused):
    assert (refuses_type(version, "Pow", "T", "int32") is not None) is refused


@pytest.mark.parametrize(
    ("version", "stands_in"),
    [
        ("1.4.0.76", "1.4.0.76"),
        ("1.4.9", "1.4.0.76"),
        ("1.6.1", "1.4.0.76"),
        ("1.7.0.1", "1.7.1.116"),
        ("1.11", "1.10.0.1"),
        ("0.9", "1.4.0.76"),
    ],
)
def test_an_untried_version_is_taken_for_the_nearest_older_one(version, stands_in):
    assert nearest_tried(version) == stands_in


@pytest.mark.parametrize(
    ("version", "newer"), [("1.10.9", False), ("1.11", True), ("2.0", True), ("1.9", False)]
)
def test_a_version_is_newer_by_its_release_alone(version, newer):
    assert is_newer(version) is newer


def test_only_what_the_newest_version_refuses_is_kept_from_being_built():
    assert newest_refuses("Abs", "T", "uint8") is not None
    assert newest_refuses("Pow", "T", "int32") is None, "only an old version refuses it"


def test_all_variables_of_one_type_were_tried_together_so_that_result_counts():
    assert type_refusal("Pow", "T1", "bfloat16") is not None
    assert newest_refuses("Pow", "T1", "bfloat16") is None
