"""The records in `report.json` of measurements: the parts that the files beside an engine add to its report.

Keys are written in the order of the fields. Adding, removing or renaming one changes the format.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from trtpipe.reports.json_types import AtLeast
from trtpipe.reports.record import Record

Outcome = Literal["passed", "failed", "not run"]
LinkOutcome = Literal["proved", "not proved", "failed"]
WarningKind = Literal["harmless", "dangerous", "unknown"]
Count = Annotated[int, AtLeast(0)]
Reading = float | str | None
"""A measured value: a finite number, or `inf`, `-inf` or `nan` as text."""
Shape = tuple[int, ...]
"""Sizes; -1 is a dynamic one."""
Free = Mapping[str, object]
"""What steps and commands said of themselves, as they said it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram(Record):
    """Counts between ascending edges; there is one more edge than counts."""

    edges: tuple[float, ...]
    counts: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict(Record):
    """A threshold at a place."""

    place: str
    output: str
    metric: str
    outcome: Outcome
    value: Reading
    min: float | None
    max: float | None
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Output(Record):
    """An output against its reference."""

    output: str
    elements: Count | None
    differing: Count | None
    metrics: Mapping[str, Reading]
    errors: Histogram | None
    scatter: Annotated[tuple[tuple[float, float], ...] | None, "[reference, output]"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place(Record):
    """Where outputs were compared."""

    place: str
    kind: str
    samples: Count | None
    shapes: Mapping[str, Shape]
    outputs: tuple[Output, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured(Record):
    """validation.json."""

    reference: str
    onnxruntime: str
    places: tuple[Place, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof(Record):
    """proof.json."""

    outcome: Outcome
    engine: str
    gpu: str | None
    tensorrt: str | None
    verdicts: tuple[Verdict, ...]
    places: tuple[Place, ...]
    not_run: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Link(Record):
    """A link of the chain of proofs, named by its result: canonical, typed, network, engine."""

    part: str
    outcome: LinkOutcome
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkWarning(Record):
    """A warning of TensorRT's parser."""

    message: str
    name: Annotated[str, "Under which a spec may accept it; empty for one that is not known."]
    kind: WarningKind
    count: Count | None
    accepted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkOutput(Record):
    """An output of TensorRT's network beside the typed model's, at the place where the error is largest."""

    output: str
    place: str
    error: Reading
    bound: Annotated[float | None, "What rounding in the variant's types allows."]
    by_thresholds: Annotated[bool, "Whether the spec's thresholds judge it instead."]
    departs: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Network(Record):
    """The network that TensorRT's parser made."""

    outcome: LinkOutcome
    why: str
    layers: Count | None
    layers_read: Count | None
    unread_by_type: Mapping[str, int]
    warnings: tuple[NetworkWarning, ...]
    outputs: tuple[NetworkOutput, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency(Record):
    """Latencies of one part, in microseconds."""

    part: str
    count: Count | None
    mean_us: float | None
    min_us: float | None
    max_us: float | None
    p50_us: float | None
    p90_us: float | None
    p95_us: float | None
    p99_us: float | None
    histogram: Histogram | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Throughput(Record):
    """Runs a second."""

    streams: Count | None
    per_second: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench(Record):
    """bench.json."""

    subject: str
    engine: str
    gpu: str | None
    cpu: str
    tensorrt: str | None
    shapes: Mapping[str, Shape]
    how: Free
    stable: bool | None
    clocks: object
    latency: tuple[Latency, ...]
    throughput: tuple[Throughput, ...]
    compared: Annotated[tuple[str, ...], "How it differs from other results, in words."]
    not_run: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Point(Record):
    """A typed model that was measured."""

    precision: str
    kept: Mapping[str, int]
    cost: float | None
    noise: float | None
    value: float | None
    inside: bool
    weight_bytes: Count | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sensitivity(Record):
    """A unit, by the effect of its precision."""

    unit: str
    op: str
    precision: str
    noise: float | None
    value: float | None
    saving: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Search(Record):
    """search.json."""

    from_: str
    budget: str
    reached: str
    precision: str
    base: str | None
    keep: Mapping[str, tuple[str, ...]]
    cost: float | None
    evaluations: Count | None
    points: tuple[Point, ...]
    front: tuple[Point, ...]
    sensitivities: tuple[Sensitivity, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale(Record):
    """A quantized tensor."""

    tensor: str
    amax: float | None
    largest: float | None
    typical: float | None
    clipped: float | None
    zeros: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scales(Record):
    """scales.json, those with the largest clipped shares."""

    method: str
    backend: str
    samples: Count | None
    recommended: str
    decibels: Mapping[str, float | None]
    count: int
    tensors: tuple[Scale, ...]
