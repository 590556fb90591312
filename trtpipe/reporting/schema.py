"""The JSON Schema (draft 2020-12) of `report.json`, for the programs that read it."""

from __future__ import annotations

from typing import Any

from trtpipe.reporting.builds import SCHEMA, STATUSES
from trtpipe.reporting.cells import OUTCOMES, STATES

Schema = dict[str, Any]
TEXT: Schema = {"type": "string"}
NUMBER: Schema = {"type": ["number", "null"]}
COUNT: Schema = {"type": ["integer", "null"], "minimum": 0}
MAYBE_TEXT: Schema = {"type": ["string", "null"]}
FREE: Schema = {"type": "object"}


def _object(description: str, **fields: Schema) -> Schema:
    return {
        "type": "object",
        "description": description,
        "properties": fields,
        "required": list(fields),
        "additionalProperties": False,
    }


def _list(items: Schema, description: str = "") -> Schema:
    return {"type": "array", "items": items, **({"description": description} if description else {})}


def _map(values: Schema, description: str = "") -> Schema:
    return {
        "type": "object",
        "additionalProperties": values,
        **({"description": description} if description else {}),
    }


def _maybe(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def _said(schema: Schema, description: str) -> Schema:
    return {**schema, "description": description}


def report_schema() -> Schema:
    """The schema of both kinds of report: a whole build's, and a cell's."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Report of trtpipe: a whole build (build/report.json) or a cell (beside its engine)",
        "oneOf": [{"$ref": "#/$defs/Build"}, {"$ref": "#/$defs/CellReport"}],
        "$defs": {
            "Build": _build(),
            "CellReport": _cell_report(),
            "Cell": _cell(),
            "Verdict": _verdict(),
            "Place": _place(),
            "Histogram": _object(
                "Counts between ascending edges; there is an edge more than counts.",
                edges=_list({"type": "number"}),
                counts=_list({"type": "number"}),
            ),
            "Problem": _problem(),
            "Outcome": {"enum": list(OUTCOMES)},
        },
    }


def _build() -> Schema:
    outcomes = _object("Cells by outcome.", **{name: {"type": "integer"} for name in OUTCOMES})
    counts = _object(
        "Cells, counted.",
        cells={"type": "integer"},
        states=_map({"type": "integer"}),
        validated=outcomes,
        on_gpu=outcomes,
        changed=_said({"type": "integer"}, "Cells whose facts differ from the lockfile's."),
    )
    step = _object(
        "A step of the plan and what became of it.",
        address=TEXT,
        stage=TEXT,
        needs=_list(TEXT),
        state=_said(TEXT, "ran, up to date, failed or not run; what the plan says before anything ran."),
        why=TEXT,
        seconds=NUMBER,
    )
    return _object(
        "A whole build.",
        schema={"const": SCHEMA},
        kind={"const": "build"},
        status={"enum": list(STATUSES)},
        environment=_map(TEXT),
        counts=counts,
        missing=_list(TEXT, "Cells that have no engine after this build."),
        other_cells=_said({"type": "integer"}, "Cells of the lockfile that the build was not about."),
        removed=_list(TEXT, "Cells that the lockfile lost."),
        failures=_list(_object("What failed.", name=TEXT, problems=_list({"$ref": "#/$defs/Problem"}))),
        steps=_list(step),
        cells=_list({"$ref": "#/$defs/Cell"}),
    )


def _problem() -> Schema:
    place = _object("A place in a spec.", file=TEXT, line={"type": "integer"}, column={"type": "integer"})
    return _object(
        "One fact that is wrong, and what to do about it.",
        severity=TEXT,
        fact=TEXT,
        remedy=TEXT,
        where=_maybe(place),
    )


def _cell() -> Schema:
    change = _object(
        "A fact of the lockfile that changed.",
        field=TEXT,
        old={"type": ["string", "array", "null"]},
        new={"type": ["string", "array", "null"]},
    )
    validation = _object(
        "The typed model against its reference, on the CPU.",
        outcome={"$ref": "#/$defs/Outcome"},
        accuracy=NUMBER,
        reference_accuracy=NUMBER,
        twins=_map(TEXT),
        nonfinite=_list(TEXT),
        verdicts=_list({"$ref": "#/$defs/Verdict"}),
    )
    on_gpu = _object(
        "The engine itself, on a GPU.", outcome={"$ref": "#/$defs/Outcome"}, gpu=MAYBE_TEXT, why=TEXT
    )
    engine = _object("The engine.", bytes=COUNT, blake3=TEXT, normalised=TEXT)
    return _object(
        "A cell of a build.",
        cell=TEXT,
        pipeline=TEXT,
        variant=TEXT,
        target=TEXT,
        state={"enum": list(STATES)},
        directory=_said(TEXT, "Where its files are, below the build directory."),
        engine=_maybe(engine),
        gpu=_list(TEXT),
        compute_capabilities=_list(TEXT),
        toolchain=TEXT,
        precision=MAYBE_TEXT,
        layers=_map({"type": "integer"}, "Type -> how many layers compute in it."),
        validation=validation,
        on_gpu=on_gpu,
        seconds=_map({"type": "number"}, "Stage -> seconds."),
        latency_us=_said(NUMBER, "The median of what was benchmarked, in microseconds."),
        latency_of=_said(MAYBE_TEXT, "What was benchmarked: the engine, or the typed model on the CPU."),
        not_run=_list(TEXT, "What was not run, by name, with its reason."),
        problems=_list(TEXT),
        changes=_list(change),
        new=_said({"type": "boolean"}, "Whether the lockfile did not have the cell."),
    )


def _verdict() -> Schema:
    return _object(
        "A threshold at a place.",
        place=TEXT,
        output=TEXT,
        metric=TEXT,
        outcome={"$ref": "#/$defs/Outcome"},
        value={"type": ["number", "string", "null"]},
        min=NUMBER,
        max=NUMBER,
        why=TEXT,
    )


def _place() -> Schema:
    output = _object(
        "An output against its reference.",
        output=TEXT,
        elements=COUNT,
        differing=COUNT,
        metrics=_map({"type": ["number", "string", "null"]}),
        errors=_maybe({"$ref": "#/$defs/Histogram"}),
        scatter={
            "type": ["array", "null"],
            "items": _list({"type": "number"}),
            "description": "[reference, output]",
        },
    )
    return _object(
        "Where outputs were compared.",
        place=TEXT,
        kind=TEXT,
        samples=COUNT,
        shapes=_map(_list({"type": "integer"})),
        outputs=_list(output),
    )


def _cell_report() -> Schema:
    places = _list({"$ref": "#/$defs/Place"})
    measured = _object("validation.json.", reference=TEXT, onnxruntime=TEXT, places=places)
    tensor = _object(
        "An input or output.", name=TEXT, mode=TEXT, dtype=TEXT, shape=_list({"type": "integer"})
    )
    provenance = _object(
        "What the engine was made from.",
        source=_map(TEXT),
        origin=FREE,
        model=_map(TEXT),
        python=TEXT,
        steps=_map(_object("A step.", address=TEXT, key=TEXT)),
    )
    return _object(
        "A cell with everything that the files beside its engine hold.",
        schema={"const": SCHEMA},
        kind={"const": "cell"},
        cell={"$ref": "#/$defs/Cell"},
        trtpipe=TEXT,
        provenance=provenance,
        reproducibility=FREE,
        profiles=_list(_map(_map(_list({"type": "integer"})))),
        io=_list(tensor),
        typed=FREE,
        calibration=_maybe(FREE),
        engine_phases=_map(NUMBER),
        measured=_maybe(measured),
        proof=_maybe(_proof(places)),
        bench=_maybe(_bench()),
        search=_maybe(_search()),
        scales=_maybe(_scales()),
        absent=_map(TEXT, "File -> why the report has nothing of it."),
        files=_list(TEXT, "What stands beside the report."),
    )


def _proof(places: Schema) -> Schema:
    return _object(
        "proof.json.",
        outcome={"$ref": "#/$defs/Outcome"},
        engine=TEXT,
        gpu=MAYBE_TEXT,
        tensorrt=MAYBE_TEXT,
        verdicts=_list({"$ref": "#/$defs/Verdict"}),
        places=places,
        not_run=_list(TEXT),
    )


def _bench() -> Schema:
    times = ("mean_us", "min_us", "max_us", "p50_us", "p90_us", "p95_us", "p99_us")
    latency = _object(
        "Latencies of one part, in microseconds.",
        part=TEXT,
        count=COUNT,
        **dict.fromkeys(times, NUMBER),
        histogram=_maybe({"$ref": "#/$defs/Histogram"}),
    )
    return _object(
        "bench.json.",
        subject=TEXT,
        engine=TEXT,
        gpu=MAYBE_TEXT,
        cpu=TEXT,
        tensorrt=MAYBE_TEXT,
        shapes=_map(_list({"type": "integer"})),
        how=FREE,
        stable={"type": ["boolean", "null"]},
        clocks={},
        latency=_list(latency),
        throughput=_list(_object("Runs a second.", streams=COUNT, per_second=NUMBER)),
        compared=_list(TEXT, "How it differs from other results, in words."),
        not_run=_list(TEXT),
    )


def _search() -> Schema:
    point = _object(
        "A typed model that was measured.",
        precision=TEXT,
        kept=_map({"type": "integer"}),
        cost=NUMBER,
        noise=NUMBER,
        value=NUMBER,
        inside={"type": "boolean"},
        weight_bytes=COUNT,
    )
    unit = _object(
        "A unit by what its precision does.",
        unit=TEXT,
        op=TEXT,
        precision=TEXT,
        noise=NUMBER,
        value=NUMBER,
        saving=NUMBER,
    )
    return _object(
        "search.json.",
        **{"from": TEXT},
        budget=TEXT,
        reached=TEXT,
        precision=TEXT,
        base=MAYBE_TEXT,
        keep=_map(_list(TEXT)),
        cost=NUMBER,
        evaluations=COUNT,
        points=_list(point),
        front=_list(point),
        sensitivities=_list(unit),
    )


def _scales() -> Schema:
    tensor = _object(
        "A quantized tensor.",
        tensor=TEXT,
        amax=NUMBER,
        largest=NUMBER,
        typical=NUMBER,
        clipped=NUMBER,
        zeros=NUMBER,
    )
    return _object(
        "scales.json, those with the largest clipped shares.",
        method=TEXT,
        backend=TEXT,
        samples=COUNT,
        recommended=TEXT,
        decibels=_map(NUMBER),
        count={"type": "integer"},
        tensors=_list(tensor),
    )
