"""What the files beside an engine hold, as a report draws it: validation, search, scales, benchmark, proof on a GPU.

Each reader takes a parsed file and gives plain records with every field there, or None when the file is something else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from trtpipe.reporting.cells import outcome_of, verdicts_of
from trtpipe.reporting.values import (
    count_of,
    histogram_of,
    items_of,
    mapping_of,
    number_of,
    objects_of,
    plain_of,
    reading_of,
    shapes_of,
    text_of,
    texts_of,
)

MOST_TENSORS = 300
"""Tensors of scales, units of a ranking and points of a search that a report holds; the files have all."""
_MOST_PLACES = 200
_MOST_OUTPUTS = 200
_MOST_PAIRS = 200


def validation_of(data: Any) -> dict[str, Any] | None:
    """Of validation.json: the places, and for each output its metrics, errors and pairs of values."""
    found = mapping_of(data)
    if not isinstance(found.get("places"), list):
        return None
    return {
        "reference": text_of(found.get("reference")),
        "onnxruntime": text_of(found.get("onnxruntime")),
        "places": places_of(found["places"]),
    }


def places_of(value: Any) -> list[dict[str, Any]]:
    """The places of a validation, each with its outputs."""
    return [
        {
            "place": text_of(one.get("place")),
            "kind": text_of(one.get("kind")),
            "samples": count_of(one.get("samples")),
            "shapes": shapes_of(one.get("shapes")),
            "outputs": [
                _output(text_of(name), mapping_of(record))
                for name, record in list(mapping_of(one.get("outputs")).items())[:_MOST_OUTPUTS]
            ],
        }
        for one in objects_of(value, _MOST_PLACES)
    ]


def _output(name: str, record: Mapping[str, Any]) -> dict[str, Any]:
    metrics = {
        text_of(metric): reading_of(value) for metric, value in mapping_of(record.get("metrics")).items()
    }
    return {
        "output": name,
        "elements": count_of(record.get("elements")),
        "differing": count_of(record.get("differing")),
        "metrics": metrics,
        "errors": histogram_of(record.get("errors")),
        "scatter": _pairs(record.get("scatter")),
    }


def _pairs(value: Any) -> list[list[float]] | None:
    if not isinstance(value, list):
        return None
    found = [[number_of(one) for one in items_of(pair, 2)] for pair in value[:_MOST_PAIRS]]
    return [[x for x in pair if x is not None] for pair in found if len(pair) == 2 and None not in pair]


def search_of(data: Any) -> dict[str, Any] | None:
    """Of search.json: the points, those that no other beats, and the layers by what they cost."""
    found = mapping_of(data)
    if not isinstance(found.get("points"), list) and not isinstance(found.get("front"), list):
        return None
    choice = mapping_of(found.get("choice"))
    return {
        "from": text_of(found.get("from")),
        "budget": text_of(found.get("budget")),
        "reached": text_of(found.get("reached")),
        "precision": text_of(choice.get("precision")),
        "base": text_of(choice.get("base")) or None,
        "keep": {text_of(k): texts_of(v, MOST_TENSORS) for k, v in mapping_of(choice.get("keep")).items()},
        "cost": number_of(found.get("cost")),
        "evaluations": count_of(found.get("evaluations")),
        "points": [_point(one) for one in objects_of(found.get("points"), MOST_TENSORS)],
        "front": [_point(one) for one in objects_of(found.get("front"), MOST_TENSORS)],
        "sensitivities": [_unit(one) for one in objects_of(found.get("sensitivities"), MOST_TENSORS)],
    }


def _point(one: Mapping[str, Any]) -> dict[str, Any]:
    kept = {text_of(name): count_of(n) or 0 for name, n in mapping_of(one.get("kept")).items()}
    return {
        "precision": text_of(one.get("precision")),
        "kept": kept,
        "cost": number_of(one.get("cost")),
        "noise": number_of(one.get("noise")),
        "value": number_of(one.get("value")),
        "inside": one.get("inside") is True,
        "weight_bytes": count_of(one.get("weight_bytes")),
    }


def _unit(one: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "unit": text_of(one.get("unit")),
        "op": text_of(one.get("op")),
        "precision": text_of(one.get("precision")),
        "noise": number_of(one.get("noise")),
        "value": number_of(one.get("value")),
        "saving": number_of(one.get("saving")),
    }


def scales_of(data: Any) -> dict[str, Any] | None:
    """Of scales.json: the tensors with the largest clipped shares first, as many as a report holds."""
    found = mapping_of(data)
    if not isinstance(found.get("tensors"), Mapping):
        return None
    tensors = [_scale(text_of(name), mapping_of(one)) for name, one in found["tensors"].items()]
    tensors.sort(key=lambda one: (-(one["clipped"] or 0.0), one["tensor"]))
    return {
        "method": text_of(found.get("method")),
        "backend": text_of(found.get("backend")),
        "samples": count_of(found.get("samples")),
        "recommended": text_of(found.get("recommended")),
        "decibels": {text_of(k): number_of(v) for k, v in mapping_of(found.get("decibels")).items()},
        "count": len(tensors),
        "tensors": tensors[:MOST_TENSORS],
    }


def _scale(name: str, one: Mapping[str, Any]) -> dict[str, Any]:
    fields = ("amax", "largest", "typical", "clipped", "zeros")
    return {"tensor": name, **{field: number_of(one.get(field)) for field in fields}}


PARTS = ("compute", "copies_in", "copies_out", "total", "host")


def bench_of(data: Any) -> dict[str, Any] | None:
    """Of bench.json: latencies part by part, throughput, and what was measured where."""
    found = mapping_of(data)
    if not isinstance(found.get("latency"), Mapping):
        return None
    machine = mapping_of(found.get("machine"))
    latency = mapping_of(found["latency"])
    parts = [*(one for one in PARTS if one in latency), *sorted(latency.keys() - set(PARTS))][:20]
    return {
        "subject": text_of(found.get("subject")),
        "engine": text_of(found.get("engine")),
        "gpu": gpu_name(machine.get("gpu")),
        "cpu": text_of(machine.get("cpu")),
        "tensorrt": text_of(found.get("tensorrt")) or None,
        "shapes": shapes_of(found.get("shapes")),
        "how": plain_of(mapping_of(found.get("how"))),
        "stable": found.get("stable") if isinstance(found.get("stable"), bool) else None,
        "clocks": plain_of(found.get("clocks")),
        "latency": [_latency(part, mapping_of(latency[part])) for part in parts],
        "throughput": [
            {"streams": count_of(one.get("streams")), "per_second": number_of(one.get("per_second"))}
            for one in objects_of(found.get("throughput"), 100)
        ],
        "compared": [words for one in objects_of(found.get("compared"), 20) for words in _compared(one)],
        "not_run": not_run_of(found.get("not_run")),
    }


def _compared(one: Mapping[str, Any]) -> Iterator[str]:
    """How two benchmarks differ, in words: against what, at which shapes, part by part; or why that is not told."""
    against = f"against {text_of(one.get('with'))}"
    if one.get("why_not"):
        yield f"{against}: not compared, {text_of(one.get('why_not'))}"
    for measurement in objects_of(one.get("measurements"), 50):
        for part, told in mapping_of(measurement.get("parts")).items():
            yield f"{against}, {text_of(part)}: {text_of(mapping_of(told).get('words'))}"


def _latency(part: str, one: Mapping[str, Any]) -> dict[str, Any]:
    fields = ("mean_us", "min_us", "max_us", "p50_us", "p90_us", "p95_us", "p99_us")
    return {
        "part": text_of(part),
        "count": count_of(one.get("count")),
        **{field: number_of(one.get(field)) for field in fields},
        "histogram": histogram_of(one.get("histogram"), "edges_us"),
    }


def proof_of(data: Any) -> dict[str, Any] | None:
    """Of proof.json: what the engine itself came to on a GPU."""
    found = mapping_of(data)
    if "outcome" not in found or not isinstance(found.get("engine"), str):
        return None
    return {
        "outcome": outcome_of(found.get("outcome")),
        "engine": text_of(found.get("engine")),
        "gpu": gpu_name(found.get("gpu")),
        "tensorrt": text_of(found.get("tensorrt")) or None,
        "verdicts": verdicts_of(found.get("verdicts")),
        "places": places_of(found.get("places")),
        "not_run": not_run_of(found.get("not_run")),
    }


def gpu_name(value: Any) -> str | None:
    """A GPU's name with its compute capability, of an object or a text."""
    if isinstance(value, str):
        return text_of(value) or None
    found = mapping_of(value)
    name, capability = text_of(found.get("name")), text_of(found.get("compute_capability"))
    return " ".join(filter(None, (name, f"({capability})" if capability else ""))) or None


def not_run_of(value: Any) -> list[str]:
    """What was not run, each as `name: why`."""
    found = []
    for one in items_of(value, 1000):
        if isinstance(one, str):
            found.append(text_of(one))
        elif isinstance(one, Mapping):
            found.append(f"{text_of(one.get('name'))}: {text_of(one.get('why'))}")
    return found
