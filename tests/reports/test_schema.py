"""The schema of report.json is generated from the records, and no weaker than the first one, which was written by hand.

`report_schema_1.json` is that first schema, as `trtpipe schema report` printed it; `ADDED` is what came since.
Every report that is made must fit
both; and whatever a mutation does to a report, if the first schema refuses it, so do the generated one and the reader.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.reports.synthetic_build import fail, outcome_of, write_build
from trtpipe.app.report.reports import report_build, report_delivered, report_directory
from trtpipe.errors import Location, Problem, StepFailed
from trtpipe.json_values import Malformed
from trtpipe.problem_codes import Code
from trtpipe.reports.models import BuildReport, CellReport
from trtpipe.reports.schema import report_schema

FIRST = json.loads((Path(__file__).parent / "report_schema_1.json").read_text())
ADDED = {"Build": ("bundles", "fleet", "profile"), "Cell": ("reach",), "CellReport": ("network",)}
"""What schema 2 has more than schema 1."""


def by_hand() -> Any:
    """The first schema, with the fields that were added since: those are held against the generated one alone."""
    schema = copy.deepcopy(FIRST)
    for name, fields in ADDED.items():
        schema["$defs"][name]["properties"] |= {field: {} for field in fields}
        schema["$defs"][name]["required"] += fields
    for name in ("Build", "CellReport"):
        schema["$defs"][name]["properties"]["schema"] = {"const": 2}
    return schema


BY_HAND = jsonschema.Draft202012Validator(by_hand())
GENERATED = jsonschema.Draft202012Validator(report_schema())
KINDS = {"build": BuildReport, "cell": CellReport}
FREE = ("origin", "reproducibility", "typed", "calibration", "how", "clocks")
"""Fields whose inside is whatever a step said of itself."""
Path_ = tuple[Any, ...]


def is_read(report: Any) -> bool:
    """Whether the reader takes a report as one of its kind."""
    try:
        KINDS[report["kind"]].read(report)
    except (Malformed, KeyError, TypeError):
        return False
    return True


@pytest.fixture(scope="module")
def build(tmp_path_factory):
    """A build with everything in its reports: failures with a place and without, changes, proofs, a search."""
    planned = write_build(
        tmp_path_factory.mktemp("build"),
        [("net", "fp16", "t0"), ("net", "int8", "t0"), ("net", "int8", "t1")],
    )
    outcome = outcome_of(planned)
    fail(outcome, "net/int8@t1")
    outcome.failures.append(
        ("net/x", StepFailed(Problem(Code.STEP_CRASHED, "a fact", "a remedy", Location("a.yaml", 3, 4))))
    )
    outcome.locked = {"net/int8@t0": {"engine": "x", "keep_fp16": ["a", "b"]}, "net/gone@t0": {}}
    report_build(planned, outcome, interrupted=False)
    return planned


@pytest.fixture(scope="module")
def reports(build) -> list[Any]:
    """A whole build's report, and that of a cell which has every part."""
    folder = build.workspace.build
    cell = folder / "net" / "int8@t0" / "report.json"
    found = [json.loads(path.read_text()) for path in (folder / "report.json", cell)]
    assert all(found[1][part] for part in ("measured", "proof", "bench", "search", "scales"))
    return found


def places(value: Any, path: Path_ = ()) -> Iterator[Path_]:
    """Where every value of a report stands, but for the inside of free fields."""
    yield path
    if path and path[-1] in FREE:
        return
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inner:
        yield from places(one, (*path, key))


def trimmed(value: Any) -> Any:
    """A report with only the first entry of each list."""
    if isinstance(value, dict):
        return {key: trimmed(one) for key, one in value.items()}
    return [trimmed(one) for one in value[:1]] if isinstance(value, list) else value


def at(report: Any, path: Path_) -> Any:
    for key in path:
        report = report[key]
    return report


def changed(report: Any, path: Path_, new: Any) -> Any:
    """A copy of the report with another value at a place."""
    if not path:
        return new
    copied = copy.copy(report)
    copied[path[0]] = changed(report[path[0]], path[1:], new)
    return copied


def mutations(report: Any) -> Iterator[tuple[str, Any]]:
    """Damaged copies: a key too many, each key left out, and values of every other kind everywhere."""
    for path in places(report):
        value, name = at(report, path), "/".join(map(str, path))
        for wrong in (None, True, -7, 7.5, "x", ["x"], {"x": 7}):
            yield f"{name} is {wrong!r}", changed(report, path, wrong)
        if isinstance(value, dict):
            yield f"{name} has more", changed(report, path, {**value, "more": "x"})
            for key in value:
                yield (
                    f"{name} lacks {key}",
                    changed(report, path, {k: v for k, v in value.items() if k != key}),
                )


def shape_of(schema: Any, definitions: Any) -> dict[str, Any]:
    """A schema without names and words: kind of value -> what is asked of it. Equal shapes allow the same values."""
    if "$ref" in schema:
        return shape_of(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    if "anyOf" in schema:
        return {kind: one for part in schema["anyOf"] for kind, one in shape_of(part, definitions).items()}
    if "const" in schema or "enum" in schema:
        return {"words": sorted(map(str, schema.get("enum", [schema.get("const")])))}
    kinds = schema.get("type", [])
    return {
        kind: asked_of(kind, schema, definitions) for kind in ([kinds] if isinstance(kinds, str) else kinds)
    }


def asked_of(kind: str, schema: Any, definitions: Any) -> dict[str, Any]:
    """What is asked of values of one kind."""
    inside = {
        "object": ("additionalProperties", "properties", "required"),
        "array": ("items", "minItems", "maxItems"),
        "integer": ("minimum",),
    }
    asked = {key: schema[key] for key in inside.get(kind, ()) if key in schema}
    if "properties" in asked:
        asked["properties"] = {key: shape_of(one, definitions) for key, one in asked["properties"].items()}
        asked["required"] = sorted(asked["required"])
    for key in ("items", "additionalProperties"):
        if isinstance(asked.get(key), dict):
            asked[key] = shape_of(asked[key], definitions)
    return {key: one for key, one in asked.items() if one not in ({}, True)}


def differences(old: Any, new: Any, path: Path_ = ()) -> Iterator[str]:
    """Where two shapes differ."""
    if isinstance(old, dict) and isinstance(new, dict) and old and new:
        for key in {**old, **new}:
            yield from differences(old.get(key, {}), new.get(key, {}), (*path, key))
    elif old != new:
        yield ".".join(one for one in path if one not in ("object", "array", "properties", "items"))


@pytest.mark.parametrize("first, kind", [("Build", BuildReport), ("CellReport", CellReport)])
def test_the_generated_schema_is_the_first_one_but_for_what_it_says_more_exactly(first, kind):
    old = shape_of({"$ref": f"#/$defs/{first}"}, BY_HAND.schema["$defs"])
    new = shape_of({"$ref": f"#/$defs/{kind.__name__}"}, GENERATED.schema["$defs"])

    told = {one.removeprefix("cells.").removeprefix("cell.") for one in differences(old, new)}

    sharper = {"changes.old", "changes.new"}  # lists of texts, where the first schema took any list
    if kind is CellReport:
        pairs = [f"{part}.places.outputs.scatter" for part in ("measured", "proof")]
        sharper |= {
            f"{one}.{bound}" for one in pairs for bound in ("minItems", "maxItems")
        }  # pairs are two numbers
        sharper |= {"profiles.additionalProperties.additionalProperties"}  # corners are min, opt and max
        sharper |= {"profiles.additionalProperties", "profiles.additionalProperties.required"}
    added = {*ADDED["Cell"], *ADDED["CellReport" if kind is CellReport else "Build"]}
    assert {one for one in told if one.split(".")[0] not in added} == sharper
    assert {one.split(".")[0] for one in told} >= added


@pytest.mark.slow
def test_damage_that_the_first_schema_refuses_is_refused_by_the_generated_one_and_by_the_reader(reports):
    refused = allowed = 0
    for report in map(trimmed, reports):
        for what, mutant in mutations(report):
            fits = GENERATED.is_valid(mutant)
            assert is_read(mutant) == fits, what
            if fits:
                allowed += 1
                assert BY_HAND.is_valid(mutant), what
            else:
                refused += 1
    assert refused > 2000
    assert allowed > 100


def test_reports_are_read_back_as_they_were_written(reports):
    for report in reports:
        again = KINDS[report["kind"]].read(report).to_json()

        assert json.dumps(again) == json.dumps(report)
        BY_HAND.validate(report)
        GENERATED.validate(report)


def test_the_schema_describes_itself_in_the_draft_that_it_names():
    jsonschema.Draft202012Validator.check_schema(report_schema())
    assert json.loads(json.dumps(report_schema())) == report_schema()


DAMAGES = {
    "{": "it is damaged",
    "[]": "the document is not an object",
    '{"kind": "build"}': "is missing",
    '{"cells": "x"}': "is missing",
    "[" * 100_000: "it is damaged",
}


@pytest.mark.parametrize("content", DAMAGES, ids=range(len(DAMAGES)))
def test_an_earlier_report_that_is_damaged_is_told_of_in_a_sentence_and_replaced(build, content):
    path = build.workspace.build / "report.json"
    own = build.workspace.build / "net" / "fp16@t0" / "report.json"
    path.write_text(content)
    own.write_text(content)

    whole, cell = report_delivered(build, None), report_directory(own.parent)

    for written, told in ((whole, path), (cell, own)):
        assert written.warnings == []
        if written is whole:
            (said,) = written.unread
            assert said.startswith(f"{told} is not a report, so its content is not kept: ")
            assert DAMAGES[content] in said
    GENERATED.validate(json.loads(path.read_text()))
    GENERATED.validate(json.loads(own.read_text()))


def test_a_damaged_report_of_a_cell_says_which_field_is_wrong(build, reports):
    folder = build.workspace.build / "net" / "int8@t0"
    (folder / "report.json").write_text(json.dumps(changed(reports[1], ("cell", "engine", "bytes"), "many")))

    written = report_directory(folder)

    assert written.unread == [
        f"{folder / 'report.json'} is not a report, so its content is not kept: cell.engine.bytes is not an integer"
    ]
