"""The records in `report.json`: of a whole build, of a cell, and everything in them.

Keys are written in the order of the fields. Adding, removing or renaming one changes the format.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

from trtpipe.reports.part_models import (
    Bench,
    Count,
    Free,
    Link,
    Measured,
    Network,
    Outcome,
    Proof,
    Scales,
    Search,
    Shape,
    Verdict,
)
from trtpipe.reports.record import Record

Status = Literal["complete", "failed", "interrupted"]
State = Literal["built", "restored", "up to date", "failed", "not built", "delivered"]
Fact = str | tuple[str, ...] | None
"""A fact of the lockfile."""


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
    reach: Annotated[tuple[Link, ...], "How far the cell is proved, link by link."]
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
    """A step of the plan and its outcome."""

    address: str
    stage: str
    needs: tuple[str, ...]
    state: Annotated[str, "ran, up to date, failed or not run; what the plan says before anything ran."]
    why: str
    seconds: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedStep(Record):
    """A step that a machine of a fleet ran. Times are seconds since the first step was sent."""

    address: str
    lane: Annotated[str, "The agent's name, and its GPU if the step had one for itself."]
    began: Annotated[float, "Its inputs began to be sent."]
    asked: Annotated[float, "All its inputs were there."]
    answered: float
    ended: Annotated[float, "Its results were back."]
    waited: Annotated[float, "Seconds of this that it waited for the GPU or a free lane."]
    ran: Annotated[float, "Seconds that the agent worked."]


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetRecord(Record):
    """Where the steps of a build on a fleet ran, and what that saved. In seconds."""

    steps: tuple[PlacedStep, ...]
    wall: Annotated[float, "From the first step's begin to the last one's end."]
    work: Annotated[float, "The work of all steps: what a single lane would have taken."]
    critical: Annotated[float, "The longest chain of steps that need each other: no fleet is faster."]
    transfers: Annotated[float, "Inputs sent and results brought back, added up over all steps."]


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberCost(Record):
    """What the precision of a bundle's member costs, at the output where it costs most."""

    member: str
    output: str
    error: Annotated[
        float, "The root mean square error as a share of the largest value, with every member typed."
    ]
    without: Annotated[float, "The same with this member at its reference precision."]
    share: Annotated[float, "The share of the error that goes away."]


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleTarget(Record):
    """A bundle for one target."""

    target: str
    members: Annotated[Mapping[str, str], "Member -> cell."]
    outcome: Annotated[str, "The verdict on the typed models as a whole, on the CPU: passed or not run."]
    on_gpu: Annotated[str, "The GPU on which the engines passed as a whole, or `not run`."]
    not_run: tuple[str, ...]
    costs: Annotated[tuple[MemberCost, ...], "The most expensive member first."]


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleRecord(Record):
    """A bundle."""

    bundle: str
    state: Literal["complete", "failed", "not built"]
    why: Annotated[tuple[str, ...], "Why it is not complete."]
    targets: tuple[BundleTarget, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedPart(Record):
    """A part of a recorded build."""

    name: str
    kind: Annotated[str, "build, step, worker, store or report."]
    lane: Annotated[str, "The thread, or what the process did."]
    began: Annotated[float, "Seconds since the command began."]
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileRecord(Record):
    """What took how long, up to the reports."""

    parts: tuple[TimedPart, ...]
    wall: Annotated[float, "Seconds from the begin of the command to the reports."]


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

    schema: Literal[2] = 2
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
    fleet: Annotated[FleetRecord | None, "null if no other machine ran a step."] = None
    bundles: Annotated[tuple[BundleRecord, ...], "The bundles that the build was about as a whole."] = ()
    profile: Annotated[ProfileRecord | None, "null unless the build ran with --profile."] = None


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

    schema: Literal[2] = 2
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
    network: Network | None = None
    measured: Measured | None = None
    proof: Proof | None = None
    bench: Bench | None = None
    search: Search | None = None
    scales: Scales | None = None
    absent: Annotated[Mapping[str, str], "File -> why the report has nothing of it."]
    files: Annotated[tuple[str, ...], "The files beside the report."]
