"""Validation reports as typed values: the measurements in `validation.json`, `proof.json` and validation traces.

A report is checked once, when it is read: a missing field or one of another type raises Malformed, and later code need
not check again. Independent of thresholds and files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from trtpipe.json_values import (
    Json,
    JsonObject,
    as_object,
    integer_in,
    object_in,
    objects_in,
    text_in,
)
from trtpipe.metrics.metrics import Metrics, metrics_from_json


@dataclass(frozen=True, slots=True)
class MeasuredPlace:
    """The measurements at one place."""

    place: str
    kind: str
    """`data`, `golden` or `corner`."""
    outputs: Mapping[str, Metrics]


@dataclass(frozen=True, slots=True)
class Onset:
    """A tensor in which infinities or NaN begin."""

    tensor: str
    op: str
    node: str
    what: str
    place: str
    reference_max: float | None
    """The largest magnitude in the reference, where that is known."""


@dataclass(frozen=True, slots=True)
class Reason:
    """An output or a place, and why nothing was measured there."""

    name: str
    why: str


@dataclass(frozen=True, slots=True)
class Gpu:
    """The GPU that an engine ran on."""

    name: str
    compute_capability: str
    record: JsonObject
    """All that is known of it."""


@dataclass(frozen=True, slots=True)
class Report:
    """The measurements of a validation."""

    places: tuple[MeasuredPlace, ...]
    nonfinite: tuple[Onset, ...]
    not_run: tuple[Reason, ...]
    broken: tuple[Reason, ...]
    """Places at which an engine gave nothing to compare."""
    twins: Mapping[str, str]
    recorded: int
    """How many samples were recorded."""
    gpu: Gpu | None
    tensorrt: str | None


def read_report(record: JsonObject) -> Report:
    """The report in a JSON object. Raises Malformed."""
    twins = object_in(record, "twins") if "twins" in record else {}
    return Report(
        tuple(_place(one) for one in objects_in(record, "places")),
        tuple(_onset(one) for one in _some(record, "nonfinite")),
        tuple(Reason(text_in(one, "name"), text_in(one, "why")) for one in _some(record, "not_run")),
        tuple(Reason(text_in(one, "place"), text_in(one, "why")) for one in _some(record, "broken")),
        {name: text_in(twins, name) for name in twins},
        integer_in(record, "recorded") if "recorded" in record else 0,
        _gpu(record.get("gpu")),
        None if record.get("tensorrt") is None else text_in(record, "tensorrt"),
    )


def _some(record: JsonObject, name: str) -> list[JsonObject]:
    """A list of objects that may be left out."""
    return objects_in(record, name) if name in record else []


def _place(record: JsonObject) -> MeasuredPlace:
    outputs = object_in(record, "outputs")
    measured = {name: metrics_from_json(object_in(outputs, name)) for name in outputs}
    return MeasuredPlace(text_in(record, "place"), text_in(record, "kind"), measured)


def _onset(record: JsonObject) -> Onset:
    size = record.get("reference_max")
    known = size if isinstance(size, float) else None
    return Onset(
        tensor=text_in(record, "tensor"),
        op=text_in(record, "op"),
        node=text_in(record, "node"),
        what=text_in(record, "what"),
        place=text_in(record, "place"),
        reference_max=known,
    )


def _gpu(value: Json) -> Gpu | None:
    if value is None:
        return None
    record = as_object(value, "gpu")
    return Gpu(text_in(record, "name"), text_in(record, "compute_capability"), record)
