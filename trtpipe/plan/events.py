"""Events: what happens during a build, as a closed union. An observer receives them one at a time.

Every class documents who sends it and when. Events hold values, not words: `text/events.py` alone formats them, as the
JSON lines of `--json` and as plain lines. An event belongs to the step whose address it has.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from trtpipe.plan.build_end import BuildEnded

if TYPE_CHECKING:
    from pathlib import Path

    from trtpipe.errors import Problem
    from trtpipe.json_values import JsonObject
    from trtpipe.plan.address import Address, Place
    from trtpipe.plan.child_reports import Download, SampleCount
    from trtpipe.plan.decisions import Decision, Run
    from trtpipe.plan.graph import Plan
    from trtpipe.plan.worker_messages import WorkerMessage


# -- a step of the plan


@dataclass(frozen=True, slots=True)
class StepStarted:
    """The scheduler is about to hand a step to the executor, and why it must run.

    A step whose output was lost is started once more, with an empty key in its decision.
    """

    address: Address
    decision: Run


@dataclass(frozen=True, slots=True)
class StepWaiting:
    """The executor found that another build is doing the same work, and waits for it; sent once per step."""

    address: Address


@dataclass(frozen=True, slots=True)
class StepPlaced:
    """A fleet's executor is about to send a step to a machine; `lane` is the agent's name, and its GPU if it has one.

    Sent again when the step is tried on another machine.
    """

    address: Address
    lane: str


@dataclass(frozen=True, slots=True)
class StepFinished:
    """The scheduler has a step's outputs.

    `ran` is False if they were known already or another build made them; then `seconds` and the summary are absent.
    """

    address: Address
    key: str
    ran: bool
    seconds: float = 0.0
    summary: JsonObject = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StepFailure:
    """A step failed, or the scheduler could not start it."""

    address: Address
    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class StepBlocked:
    """The scheduler will not start a step: `by` is the step before it that failed, None when the build was stopped."""

    address: Address
    by: Address | None


StepEvent: TypeAlias = StepStarted | StepWaiting | StepPlaced | StepFinished | StepFailure | StepBlocked


# -- progress of a step


@dataclass(frozen=True, slots=True)
class ToolchainProgress:
    """A line of progress while a toolchain is installed or repaired for an engine."""

    address: Address
    text: str


@dataclass(frozen=True, slots=True)
class FetchProgress:
    """Progress of a fetch step's child while it downloads a file."""

    address: Address
    download: Download


@dataclass(frozen=True, slots=True)
class CalibrationProgress:
    """Progress of a calibrate step's child over the samples."""

    address: Address
    samples: SampleCount


@dataclass(frozen=True, slots=True)
class SearchProgress:
    """A search, or `sensitivity` or `debug` of a variant, requested one more evaluation.

    `about` is the search's step, or the variant that is examined. `asked` counts the evaluations of this phase,
    `ran` those that were not in the store, of all phases. `begins` marks the first event of a phase.
    """

    about: Address | Place
    phase: str
    asked: int
    ran: int
    begins: bool


@dataclass(frozen=True, slots=True)
class ReductionProgress:
    """`debug reduce` tried one more smaller model; `begins` marks the first event of a phase."""

    cell: str
    phase: str
    tried: int
    begins: bool


@dataclass(frozen=True, slots=True)
class ComparisonProgress:
    """`debug compare` has compared one more batch of tensors."""

    cell: str
    done: int


@dataclass(frozen=True, slots=True)
class WorkerProgress:
    """A message of the engine worker while it builds an engine."""

    address: Address
    message: WorkerMessage


ProgressEvent: TypeAlias = (
    ToolchainProgress
    | FetchProgress
    | CalibrationProgress
    | SearchProgress
    | ReductionProgress
    | ComparisonProgress
    | WorkerProgress
)


# -- the build as a whole


@dataclass(frozen=True, slots=True)
class PlanMade:
    """`build --json` has a plan and is about to run it; the first event."""

    plan: Plan
    decisions: Mapping[Address, Decision]


@dataclass(frozen=True, slots=True)
class CellDelivered:
    """A cell's files are in place under the build directory.

    `built` is False when all of them came from the store. `about` sums up the rest for a person.
    """

    cell: str
    built: bool
    about: str
    directory: Path
    validation: JsonObject
    audit: JsonObject
    typed: JsonObject
    reach: tuple[JsonObject, ...]
    """How far the cell is proved, link by link."""
    not_run: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class EngineProved:
    """A machine of the fleet has run a delivered cell's engine; `outcome` is that of its thresholds."""

    cell: str
    gpu: str
    agent: str
    outcome: str


@dataclass(frozen=True, slots=True)
class EngineNotProved:
    """A delivered cell's engine was not run on a GPU, although the build uses a fleet."""

    cell: str
    why: str


ProofEvent: TypeAlias = EngineProved | EngineNotProved


@dataclass(frozen=True, slots=True)
class Warned:
    """A warning for the user that stops nothing; the address is given only if the text does not name it."""

    text: str
    address: Address | None = None


@dataclass(frozen=True, slots=True)
class SameDespite:
    """A build that must match its lockfile has equal results although `name` (a package or the processor) differs."""

    name: str
    locked: str
    here: str


@dataclass(frozen=True, slots=True)
class MeasuredOtherwise:
    """Such a build measured another value for the same model, with other packages or on another kind of processor."""

    cell: str
    measure: str
    locked: str
    here: str


@dataclass(frozen=True, slots=True)
class CheckStarted:
    """`build --check` reruns a step that is up to date, to compare its outputs with the lockfile."""

    address: Address


@dataclass(frozen=True, slots=True)
class RebuildGraded:
    """`build --check` has compared a cell's or a step's rebuild with the lockfile.

    `grade` is one of `app/prove/grades.py`; None when it is unknown, and `not_run` says why.
    """

    name: str
    grade: str | None
    passed: bool
    details: tuple[str, ...]
    not_run: tuple[str, ...]
    seconds: float


BuildEvent: TypeAlias = (
    PlanMade
    | CellDelivered
    | Warned
    | SameDespite
    | MeasuredOtherwise
    | CheckStarted
    | RebuildGraded
    | BuildEnded
)

Event: TypeAlias = StepEvent | ProgressEvent | ProofEvent | BuildEvent
