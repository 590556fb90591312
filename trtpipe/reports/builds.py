"""The record of a build: its cells and steps, what failed, what is missing and where it ran."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from trtpipe.reports.models import (
    BuildReport,
    BundleRecord,
    CellRecord,
    Counts,
    Failure,
    FleetRecord,
    OutcomeCounts,
    ProfileRecord,
    Status,
    StepRecord,
)
from trtpipe.reports.part_models import Outcome
from trtpipe.reports.shares import Share


@dataclass(frozen=True, slots=True)
class Course:
    """The course of a build, apart from its cells."""

    steps: Sequence[StepRecord]
    failures: Sequence[Failure] = ()
    interrupted: bool = False
    other_cells: int = 0
    """Cells that the lockfile has and the build was not about."""
    removed: Sequence[str] = ()
    """Cells that the lockfile lost, for no spec declares them any more."""
    fleet: FleetRecord | None = None
    """Where steps ran, if a fleet ran them."""
    bundles: Sequence[BundleRecord] = ()
    profile: ProfileRecord | None = None
    """What took how long, if it was recorded."""


def build_record(
    cells: Sequence[CellRecord], course: Course, environment: Mapping[str, str], kept: Sequence[Share] = ()
) -> BuildReport:
    """The report of a build; it counts also what is `kept`, but has no records of that."""
    states: Counter[str] = Counter(cell.state for cell in cells)
    missing = [cell.cell for cell in cells if cell.engine is None]
    for share in kept:
        states.update(share.states)
    return BuildReport(
        status=_status(course, missing),
        environment=dict(environment),
        counts=Counts(
            cells=states.total(),
            states=dict(sorted(states.items())),
            validated=_count((cell.validation.outcome for cell in cells), (one.validated for one in kept)),
            on_gpu=_count((cell.on_gpu.outcome for cell in cells), (one.on_gpu for one in kept)),
            changed=sum(bool(cell.changes) for cell in cells),
        ),
        missing=tuple(missing),
        other_cells=course.other_cells,
        removed=tuple(course.removed),
        failures=tuple(course.failures),
        steps=tuple(course.steps),
        cells=tuple(cells),
        fleet=course.fleet,
        bundles=tuple(course.bundles),
        profile=course.profile,
    )


def _status(course: Course, missing: Sequence[str]) -> Status:
    if course.interrupted:
        return "interrupted"
    return "failed" if course.failures or missing else "complete"


def _count(outcomes: Iterable[Outcome], kept: Iterable[Counter[str]]) -> OutcomeCounts:
    found: Counter[str] = Counter(outcomes)
    for one in kept:
        found.update(one)
    return OutcomeCounts(passed=found["passed"], failed=found["failed"], not_run=found["not run"])
