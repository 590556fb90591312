"""The records that `report.json` is made of. Its JSON Schema is generated from them, see `schema`.

Keys stand in the file in the order in which the fields stand here. Adding, removing or renaming one changes the format.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

from trtpipe.reporting.json_types import AtLeast
from trtpipe.reporting.record import Record

Status = Literal["complete", "failed", "interrupted"]
State = Literal["built", "restored", "up to date", "failed", "not built", "delivered"]
Outcome = Literal["passed", "failed", "not run"]

Count = Annotated[int, AtLeast(0)]
Reading = float | str | None
"""A measured value: a finite number, or `inf`, `-inf` or `nan` as text."""
Shape = tuple[int, ...]
"""Sizes; -1 is a dynamic one."""
Fact = str | tuple[str, ...] | None
"""A fact of the lockfile."""
Free = Mapping[str, object]
"""What steps and commands said of themselves, as they said it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram(Record):
    """Counts between ascending edges; there is an edge more than counts."""

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
class Engine(Record):
    """The engine."""

    bytes: Count | None
    blake3: str
    normalised: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Validation(Record):
    """The typed model against its reference, on the CPU."""

    outcome: Outcome
    accuracy: float | None
    reference_accuracy: float | None
    twins: Mapping[str, str]
    nonfinite: tuple[str, ...]
    verdicts: tuple[Verdict, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class OnGpu(Record):
    """The engine itself, on a GPU."""

    outcome: Outcome
    gpu: str | None
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Change(Record):
    """A fact of the lockfile that changed."""

    field: str
    old: Fact
    new: Fact


@dataclass(frozen=True, slots=True, kw_only=True)
class CellRecord(Record):
    """A cell of a build."""

    cell: str
    pipeline: str
    variant: str
    target: str
    state: State
    directory: Annotated[str, "Where its files are, below the build directory."]
    engine: Engine | None
    gpu: tuple[str, ...]
    compute_capabilities: tuple[str, ...]
    toolchain: str
    precision: str | None
    layers: Annotated[Mapping[str, int], "Type -> how many layers compute in it."]
    validation: Validation
    on_gpu: OnGpu
    seconds: Annotated[Mapping[str, float], "Stage -> seconds."]
    latency_us: Annotated[float | None, "The median of what was benchmarked, in microseconds."]
    latency_of: Annotated[str | None, "What was benchmarked: the engine, or the typed model on the CPU."]
    not_run: Annotated[tuple[str, ...], "What was not run, by name, with its reason."]
    problems: tuple[str, ...]
    changes: tuple[Change, ...] = ()
    new: Annotated[bool, "Whether the lockfile did not have the cell."] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SpecPlace(Record):
    """A place in a spec."""

    file: str
    line: int
    column: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ProblemRecord(Record):
    """One fact that is wrong, and what to do about it."""

    severity: str
    fact: str
    remedy: str
    where: SpecPlace | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure(Record):
    """What failed: a step or a cell."""

    name: str
    problems: tuple[ProblemRecord, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRecord(Record):
    """A step of the plan and what became of it."""

    address: str
    stage: str
    needs: tuple[str, ...]
    state: Annotated[str, "ran, up to date, failed or not run; what the plan says before anything ran."]
    why: str
    seconds: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomeCounts(Record):
    """Cells by outcome."""

    passed: int
    failed: int
    not_run: int = field(metadata={"key": "not run"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts(Record):
    """Cells, counted."""

    cells: int
    states: Mapping[str, int]
    validated: OutcomeCounts
    on_gpu: OutcomeCounts
    changed: Annotated[int, "Cells whose facts differ from the lockfile's."]


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildReport(Record):
    """A whole build."""

    schema: Literal[1] = 1
    kind: Literal["build"] = "build"
    status: Status
    environment: Mapping[str, str]
    counts: Counts
    missing: Annotated[tuple[str, ...], "Cells that have no engine after this build."]
    other_cells: Annotated[int, "Cells of the lockfile that the build was not about."]
    removed: Annotated[tuple[str, ...], "Cells that the lockfile lost."]
    failures: tuple[Failure, ...]
    steps: tuple[StepRecord, ...]
    cells: tuple[CellRecord, ...]


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
    """A unit by what its precision does."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor(Record):
    """An input or output."""

    name: str
    mode: str
    dtype: str
    shape: Shape


@dataclass(frozen=True, slots=True, kw_only=True)
class Corners(Record):
    """The shapes of an input in a profile."""

    min: Shape
    opt: Shape
    max: Shape


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeBy(Record):
    """A step."""

    address: str
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance(Record):
    """What the engine was made from."""

    source: Mapping[str, str]
    origin: Free
    model: Mapping[str, str]
    python: str
    steps: Mapping[str, MadeBy]


@dataclass(frozen=True, slots=True, kw_only=True)
class CellReport(Record):
    """A cell with everything that the files beside its engine hold."""

    schema: Literal[1] = 1
    kind: Literal["cell"] = "cell"
    cell: CellRecord
    trtpipe: str
    provenance: Provenance
    reproducibility: Free
    profiles: tuple[Mapping[str, Corners], ...]
    io: tuple[Tensor, ...]
    typed: Free
    calibration: Free | None
    engine_phases: Mapping[str, float | None]
    measured: Measured | None = None
    proof: Proof | None = None
    bench: Bench | None = None
    search: Search | None = None
    scales: Scales | None = None
    absent: Annotated[Mapping[str, str], "File -> why the report has nothing of it."]
    files: Annotated[tuple[str, ...], "What stands beside the report."]
