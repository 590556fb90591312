"""Makes the shares of a build's pipelines from the records of their cells and steps, cell by cell."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from trtpipe.plan.address import Place as StepPlace
from trtpipe.reports.build_parts.cell_rows import details_of, row_of
from trtpipe.reports.drawings.plan_graph import is_idle, pipeline_part
from trtpipe.reports.junit import Suite
from trtpipe.reports.markdown import summary_row
from trtpipe.reports.models import BuildReport, CellRecord, StepRecord
from trtpipe.reports.part_models import Place
from trtpipe.reports.reach import with_network
from trtpipe.reports.record import line_of, lines_of
from trtpipe.reports.shares import MOST_ROWS, Share, Shown

_MOST_DETAILS = 3_000_000  # characters of the cells' details, so that the page stays under 5 MB


@dataclass(slots=True)
class Room:
    """How much of the page is filled. Details are made cell by cell, so that one validation is in memory at a time."""

    cells: int = 0
    length: int = 0

    @property
    def for_details(self) -> bool:
        """Whether the next cell's details are shown on the page."""
        return self.length <= _MOST_DETAILS

    @property
    def for_rows(self) -> bool:
        """Whether the next cell is shown at all."""
        return self.for_details or self.cells < MOST_ROWS

    def take(self, details: Sequence[str | None]) -> None:
        """Note that these cells are shown, with details or without."""
        self.cells += len(details)
        self.length += sum(len(one) for one in details if one is not None)


@dataclass(slots=True)
class PipelineShare:
    """A share that is being made."""

    share: Share
    records: list[str] = field(default_factory=list)
    suite: Suite = field(default_factory=Suite)

    @classmethod
    def of(cls, pipeline: str) -> PipelineShare:
        """A share without cells."""
        return cls(Share(pipeline))

    def add(self, cell: CellRecord, shown: Shown | None) -> None:
        """Add a cell."""
        share = self.share
        share.cells += 1
        share.states[cell.state] += 1
        share.validated[cell.validation.outcome] += 1
        share.on_gpu[cell.on_gpu.outcome] += 1
        share.networks += with_network([cell.reach])
        if cell.engine is None:
            share.missing.append(cell.cell)
        elif cell.on_gpu.outcome == "not run":
            share.unproven[cell.on_gpu.why] += 1
        for one in cell.not_run or (["not built"] if cell.engine is None else ()):
            share.not_run.setdefault(one, []).append(cell.cell)
        share.changed += [cell] if cell.changes else []
        share.shown += [shown] if shown is not None else []
        self.records.append(line_of(cell))
        self.suite.add(cell)

    def made(self, steps: Sequence[StepRecord]) -> Share:
        """The share, with the pipeline's steps."""
        share = self.share
        return replace(
            share,
            is_idle=is_idle(steps),
            plan=pipeline_part(share.pipeline, steps) if steps else "",
            records=",\n  ".join(self.records),
            steps=lines_of(steps),
            suite=self.suite.text(share.pipeline),
            tests=self.suite.tests,
        )


def shown_of(cell: CellRecord, places: Sequence[Place] | None) -> Shown:
    """What is shown of a cell, with details if its `places` are given."""
    details = details_of(cell, places) if places is not None else None
    rows = (row_of(cell, inside=False), row_of(cell, inside=True))
    return Shown(cell.cell, cell.state, *rows, details, summary_row(cell))


def shares_of(report: BuildReport, places: Iterable[Sequence[Place]] = ()) -> list[Share]:
    """The shares of a report that has all of its cells; `places` are those of each cell's measurements."""
    room, making = Room(), dict[str, PipelineShare]()
    steps: dict[str, list[StepRecord]] = {}
    for step in report.steps:
        steps.setdefault(pipeline_of(step), []).append(step)
    measured = iter(places)
    for cell in report.cells:
        own = next(measured, ())
        shown = shown_of(cell, own if room.for_details else None) if room.for_rows else None
        room.take([shown.details] if shown is not None else [])
        making.setdefault(cell.pipeline, PipelineShare.of(cell.pipeline)).add(cell, shown)
    names = dict.fromkeys([*making, *steps])
    return [making.get(name, PipelineShare.of(name)).made(steps.get(name, ())) for name in names]


def pipeline_of(step: StepRecord) -> str:
    """The pipeline that a step belongs to."""
    return StepPlace.of_step(step.address).pipeline
