"""Readers of the files beside an engine for the report: validation, search, scales, benchmark, proof on a GPU.

Each reader takes a parsed file and returns a record, or None if the file has other contents.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from trtpipe.reports.cells import outcome_of, verdicts_of
from trtpipe.reports.part_models import (
    Bench,
    Latency,
    Measured,
    Output,
    Place,
    Point,
    Proof,
    Scale,
    Scales,
    Search,
    Sensitivity,
    Throughput,
)
from trtpipe.reports.values import (
    count_of,
    histogram_of,
    items_of,
    mapping_of,
    number_of,
    objects_of,
    plain_object_of,
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

Entry = Mapping[str, object]
"""An object of a file, of which anything may be missing or odd."""


def validation_of(data: object) -> Measured | None:
    """From validation.json: the places, and for each output its metrics, errors and pairs of values."""
    found = mapping_of(data)
    if not isinstance(found.get("places"), list):
        return None
    return Measured(
        reference=text_of(found.get("reference")),
        onnxruntime=text_of(found.get("onnxruntime")),
        places=places_of(found["places"]),
    )


def places_of(value: object) -> tuple[Place, ...]:
    """The places of a validation, each with its outputs."""
    return tuple(
        Place(
            place=text_of(one.get("place")),
            kind=text_of(one.get("kind")),
            samples=count_of(one.get("samples")),
            shapes=shapes_of(one.get("shapes")),
            outputs=tuple(
                _output(text_of(name), mapping_of(record))
                for name, record in list(mapping_of(one.get("outputs")).items())[:_MOST_OUTPUTS]
            ),
        )
        for one in objects_of(value, _MOST_PLACES)
    )


def _output(name: str, record: Entry) -> Output:
    metrics = mapping_of(record.get("metrics"))
    return Output(
        output=name,
        elements=count_of(record.get("elements")),
        differing=count_of(record.get("differing")),
        metrics={text_of(metric): reading_of(value) for metric, value in metrics.items()},
        errors=histogram_of(record.get("errors")),
        scatter=_pairs(record.get("scatter")),
    )


def _pairs(value: object) -> tuple[tuple[float, float], ...] | None:
    if not isinstance(value, list):
        return None
    return tuple(pair for one in value[:_MOST_PAIRS] for pair in _pair(one))


def _pair(value: object) -> Iterator[tuple[float, float]]:
    numbers = [number_of(one) for one in items_of(value, 2)]
    if len(numbers) == 2 and numbers[0] is not None and numbers[1] is not None:
        yield numbers[0], numbers[1]


def search_of(data: object) -> Search | None:
    """From search.json: the points, the Pareto front, and the layers by cost."""
    found = mapping_of(data)
    if not isinstance(found.get("points"), list) and not isinstance(found.get("front"), list):
        return None
    choice = mapping_of(found.get("choice"))
    return Search(
        from_=text_of(found.get("from")),
        budget=text_of(found.get("budget")),
        reached=text_of(found.get("reached")),
        precision=text_of(choice.get("precision")),
        base=text_of(choice.get("base")) or None,
        keep={text_of(k): texts_of(v, MOST_TENSORS) for k, v in mapping_of(choice.get("keep")).items()},
        cost=number_of(found.get("cost")),
        evaluations=count_of(found.get("evaluations")),
        points=_points(found.get("points")),
        front=_points(found.get("front")),
        sensitivities=tuple(map(_sensitivity, objects_of(found.get("sensitivities"), MOST_TENSORS))),
    )


def _points(value: object) -> tuple[Point, ...]:
    return tuple(map(_point, objects_of(value, MOST_TENSORS)))


def _point(one: Entry) -> Point:
    return Point(
        precision=text_of(one.get("precision")),
        kept={text_of(name): count_of(n) or 0 for name, n in mapping_of(one.get("kept")).items()},
        cost=number_of(one.get("cost")),
        noise=number_of(one.get("noise")),
        value=number_of(one.get("value")),
        inside=one.get("inside") is True,
        weight_bytes=count_of(one.get("weight_bytes")),
    )


def _sensitivity(one: Entry) -> Sensitivity:
    return Sensitivity(
        unit=text_of(one.get("unit")),
        op=text_of(one.get("op")),
        precision=text_of(one.get("precision")),
        noise=number_of(one.get("noise")),
        value=number_of(one.get("value")),
        saving=number_of(one.get("saving")),
    )


def scales_of(data: object, calibration: Entry) -> Scales | None:
    """From scales.json: tensors sorted by clipped share, as many as a report holds.

    The comparison of methods is in the manifest, under `calibration`.
    """
    found = mapping_of(data)
    listed = found.get("tensors")
    if not isinstance(listed, Mapping):
        return None
    tensors = [_scale(text_of(name), mapping_of(one)) for name, one in listed.items()]
    tensors.sort(key=lambda one: (-(one.clipped or 0.0), one.tensor))
    return Scales(
        method=text_of(found.get("method")),
        backend=text_of(found.get("backend")),
        samples=count_of(found.get("samples")),
        recommended=text_of(calibration.get("recommended")),
        decibels={text_of(k): number_of(v) for k, v in mapping_of(calibration.get("decibels")).items()},
        count=len(tensors),
        tensors=tuple(tensors[:MOST_TENSORS]),
    )


def _scale(name: str, one: Entry) -> Scale:
    return Scale(
        tensor=name,
        amax=number_of(one.get("amax")),
        largest=number_of(one.get("largest")),
        typical=number_of(one.get("typical")),
        clipped=number_of(one.get("clipped")),
        zeros=number_of(one.get("zeros")),
    )


PARTS = ("compute", "copies_in", "copies_out", "total", "host")


def bench_of(data: object) -> Bench | None:
    """From bench.json: latencies part by part, throughput, and what was measured on which GPU."""
    found = mapping_of(data)
    latency = found.get("latency")
    if not isinstance(latency, Mapping):
        return None
    machine = mapping_of(found.get("machine"))
    parts = [*(one for one in PARTS if one in latency), *sorted(latency.keys() - set(PARTS))][:20]
    stable = found.get("stable")
    return Bench(
        subject=text_of(found.get("subject")),
        engine=text_of(found.get("engine")),
        gpu=gpu_name(machine.get("gpu")),
        cpu=text_of(machine.get("cpu")),
        tensorrt=text_of(found.get("tensorrt")) or None,
        shapes=shapes_of(found.get("shapes")),
        how=plain_object_of(found.get("how")),
        stable=stable if isinstance(stable, bool) else None,
        clocks=plain_of(found.get("clocks")),
        latency=tuple(_latency(part, mapping_of(latency[part])) for part in parts),
        throughput=tuple(
            Throughput(streams=count_of(one.get("streams")), per_second=number_of(one.get("per_second")))
            for one in objects_of(found.get("throughput"), 100)
        ),
        compared=tuple(words for one in objects_of(found.get("compared"), 20) for words in _compared(one)),
        not_run=not_run_of(found.get("not_run")),
    )


def _compared(one: Entry) -> Iterator[str]:
    """How two benchmarks differ, in words: the other one, the shapes, part by part; or why they are not compared."""
    against = f"against {text_of(one.get('with'))}"
    if one.get("why_not"):
        yield f"{against}: not compared, {text_of(one.get('why_not'))}"
    for measurement in objects_of(one.get("measurements"), 50):
        for part, told in mapping_of(measurement.get("parts")).items():
            yield f"{against}, {text_of(part)}: {text_of(mapping_of(told).get('words'))}"


def _latency(part: str, one: Entry) -> Latency:
    return Latency(
        part=text_of(part),
        count=count_of(one.get("count")),
        mean_us=number_of(one.get("mean_us")),
        min_us=number_of(one.get("min_us")),
        max_us=number_of(one.get("max_us")),
        p50_us=number_of(one.get("p50_us")),
        p90_us=number_of(one.get("p90_us")),
        p95_us=number_of(one.get("p95_us")),
        p99_us=number_of(one.get("p99_us")),
        histogram=histogram_of(one.get("histogram"), "edges_us"),
    )


def proof_of(data: object) -> Proof | None:
    """From proof.json: the results of the engine itself on a GPU."""
    found = mapping_of(data)
    if "outcome" not in found or not isinstance(found.get("engine"), str):
        return None
    return Proof(
        outcome=outcome_of(found.get("outcome")),
        engine=text_of(found.get("engine")),
        gpu=gpu_name(found.get("gpu")),
        tensorrt=text_of(found.get("tensorrt")) or None,
        verdicts=verdicts_of(found.get("verdicts")),
        places=places_of(found.get("places")),
        not_run=not_run_of(found.get("not_run")),
    )


def gpu_name(value: object) -> str | None:
    """A GPU's name with its compute capability, of an object or a text."""
    if isinstance(value, str):
        return text_of(value) or None
    found = mapping_of(value)
    name, capability = text_of(found.get("name")), text_of(found.get("compute_capability"))
    return " ".join(filter(None, (name, f"({capability})" if capability else ""))) or None


def not_run_of(value: object) -> tuple[str, ...]:
    """The checks that were not run, each as `name: why`."""
    return tuple(words for one in items_of(value, 1000) for words in _not_run(one))


def _not_run(one: object) -> Iterator[str]:
    if isinstance(one, str):
        yield text_of(one)
    elif isinstance(one, Mapping):
        yield f"{text_of(one.get('name'))}: {text_of(one.get('why'))}"
