"""The shares of a build's reports: made for the pipelines that were planned, kept for those that are settled."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from trtpipe.app.report.engine_directories import delivered_in
from trtpipe.building.unchanged.kept_shares import keep_share, kept_share, read_for_share
from trtpipe.building.unchanged.seen_files import Known
from trtpipe.errors import ArtifactMissing
from trtpipe.plan.decisions import UpToDate
from trtpipe.plan.graph import Cell
from trtpipe.problem_codes import Code
from trtpipe.reports.cells import delivered_cell
from trtpipe.reports.making_shares import PipelineShare, Room, pipeline_of, shown_of
from trtpipe.reports.models import CellRecord, StepRecord
from trtpipe.reports.part_models import Place
from trtpipe.reports.shares import Share, Shown
from trtpipe.text.decisions import DECISION_WORDS

if TYPE_CHECKING:
    from trtpipe.building.planned import Planned
    from trtpipe.building.unchanged.settled import SettledPipeline

UP_TO_DATE = DECISION_WORDS[UpToDate]


@dataclass(slots=True)
class _Made:
    """The share of a pipeline that was planned, for this build and for the next."""

    now: PipelineShare
    later: PipelineShare | None = None
    """With everything up to date and no changes, as the next build will tell it; None while it is the same."""
    read: Known = field(default_factory=dict)

    def add(self, record: CellRecord, places: Sequence[Place] | None, *, shown: bool) -> Sequence[str | None]:
        """Add a cell; returns the details that are shown of it."""
        own = shown_of(record, places) if shown else None
        settled = replace(record, state="up to date", changes=(), new=False)
        if self.later is None and settled != record:
            self.later = deepcopy(self.now)
        self.now.add(record, own)
        if self.later is not None:
            self.later.add(settled, shown_of(settled, places) if shown and settled != record else own)
        return [own.details] if own is not None else []


@dataclass(slots=True)
class SharesOfBuild:
    """All shares of a build, in its order."""

    planned: Planned
    room: Room = field(default_factory=Room)
    _made: dict[str, _Made] = field(default_factory=dict)
    _shares: dict[str, Share | None] = field(default_factory=dict)
    """Pipeline → its share if it was kept, in the build's order."""

    def pipelines(self) -> Iterator[str]:
        """The pipelines whose cells are to be added, in order; the shares of those between are taken as they were kept.

        Raises ArtifactMissing when one is gone since the build began.
        """
        for name, one in self._in_order():
            self._shares[name] = self._kept(one) if one is not None else None
            if one is None:
                self._made[name] = _Made(PipelineShare.of(name))
                yield name

    def _in_order(self) -> Iterator[tuple[str, SettledPipeline | None]]:
        planned = self.planned
        if planned.settled.pipelines:
            names = {one.path: one.spec.pipeline for one in planned.workspace.pipelines}
            yield from planned.settled.in_order(names)
        else:
            yield from ((name, None) for name in dict.fromkeys(cell.pipeline for cell in planned.plan.cells))

    def _kept(self, one: SettledPipeline) -> Share:
        share = kept_share(self.planned.workspace.root, one.name)
        if share is None:
            raise ArtifactMissing(Code.NO_ARTIFACT, f"what was kept of {one.name} for the reports is gone")
        return replace(share, shown=list(self._fitted(share, one.cells)))

    def _fitted(self, share: Share, cells: Sequence[str]) -> Iterator[Shown]:
        """What there is room for; of a pipeline that was further behind in the last build, less may be known."""
        known = {one.cell: one for one in share.shown}
        for name in cells if self.room.for_rows else ():
            one = known.get(name)
            if one is None or (one.details is None and self.room.for_details):
                one = self._shown(name)
            if not self.room.for_details:
                one = replace(one, details=None)
            self.room.take([one.details])
            yield one

    def _shown(self, name: str) -> Shown:
        found = delivered_in(self.planned.workspace.build / name)
        if isinstance(found, str):
            raise ArtifactMissing(Code.NO_ARTIFACT, f"the delivered files of {name} cannot be shown: {found}")
        places = found.measured.places if found.measured else ()
        return shown_of(delivered_cell(found.manifest, "up to date", found.bench, found.proof), places)

    def begin(self, cell: Cell) -> None:
        """To be called before a cell's files are read."""
        self._made[cell.pipeline].read |= read_for_share(self.planned.workspace.root, [cell.name])

    def add(self, cell: Cell, record: CellRecord, places: Callable[[], Sequence[Place]]) -> None:
        """Add a cell; `places` reads its measurements, if there is room for them."""
        own = places() if self.room.for_details else None
        self.room.take(self._made[cell.pipeline].add(record, own, shown=self.room.for_rows))

    def all(self, steps: Sequence[StepRecord]) -> list[Share]:
        """All shares, once all cells were added; those that are whole are kept for the next build."""
        own: dict[str, list[StepRecord]] = {}
        for step in steps:
            own.setdefault(pipeline_of(step), []).append(step)
        for name in own:
            self._shares.setdefault(name)
        return [share or self._finished(name, own.get(name, ())) for name, share in self._shares.items()]

    @property
    def kept(self) -> list[Share]:
        """The shares that were kept."""
        return [share for share in self._shares.values() if share is not None]

    def _finished(self, name: str, steps: Sequence[StepRecord]) -> Share:
        made = self._made.get(name)
        if made is None:  # steps that cells of other pipelines need
            return PipelineShare.of(name).made(steps)
        share = made.now.made(steps)
        if not share.missing and not self.planned.workspace.bundles:
            later = share
            if made.later is not None or not share.is_idle:
                idle = [replace(step, state=UP_TO_DATE, why="") for step in steps]
                later = (made.later or made.now).made(idle)
            keep_share(self.planned.workspace.root, later, made.read)
        return share
