"""One report of the jobs of a CI run, each of which built or proved some of a project's cells.

A job leaves a copy of its `build/`: `report.json` if it built something, and below it the cells' own directories, whose
`report.json` holds the proof where the job had the GPU. Nothing is planned and no store is needed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from trtpipe.app.report.engine_directories import delivered_in, last_report
from trtpipe.app.report.environment import environment_facts
from trtpipe.app.report.reports import PAGE, REPORT, Written, write_build_files
from trtpipe.errors import SpecError
from trtpipe.files import read_regular
from trtpipe.problem_codes import Code
from trtpipe.reports.builds import Course, build_record
from trtpipe.reports.cells import undelivered_cell
from trtpipe.reports.making_shares import shares_of
from trtpipe.reports.models import (
    BuildReport,
    CellRecord,
    CellReport,
    Failure,
    ProblemRecord,
    StepRecord,
)
from trtpipe.reports.part_models import Place
from trtpipe.workspace.workspace import Workspace, cell_names

_MOST_BYTES = 64 << 20
_RANK = {"failed": 2, "passed": 1, "not run": 0}
"""Which of several proofs of a cell counts: each GPU that it is for has one, and one that failed must be seen."""


def report_jobs(workspace: Workspace, folder: Path) -> Written:
    """Write the reports of a run, of which each job's `build/` is a directory in `folder`.

    A cell that no job tells of counts as not built. Raises SpecError when there is no job at all.
    """
    written, jobs = Written(), _Jobs()
    places = sorted(one for one in folder.iterdir() if one.is_dir()) if folder.is_dir() else []
    for one in places:
        jobs.read(one, written)
    if not (jobs.reports or jobs.cells):
        raise SpecError(
            Code.NO_SUCH_FILE,
            f"no report of a job in '{folder}'",
            "give the directory that holds a copy of each job's build/",
        )
    names = cell_names(workspace)
    cells = [jobs.cells.get(name) or _nobodys(name) for name in names]
    for cell in cells:
        if (place := jobs.folders.get(cell.cell)) is not None:
            _copy_page(place, workspace.build / cell.directory, written)
    environment = jobs.reports[0].environment if jobs.reports else environment_facts()
    written.report = build_record(cells, jobs.course(names), environment)
    measured = (_places_in(jobs.folders.get(cell.cell)) for cell in cells)
    write_build_files(written, workspace.build, written.report, shares_of(written.report, measured))
    return written


def _places_in(folder: Path | None) -> Sequence[Place]:
    """What was measured in a cell's directory; read when it is asked for."""
    found = delivered_in(folder) if folder is not None else ""
    return found.measured.places if not isinstance(found, str) and found.measured else ()


def _nobodys(name: str) -> CellRecord:
    return undelivered_cell(name, "not built", {}, ["no job of this run has built it"])


def _copy_page(folder: Path, to: Path, written: Written) -> None:
    """Put a cell's own page where the build's page links to."""
    try:
        written.write(to / PAGE, read_regular(folder / PAGE, _MOST_BYTES).decode("utf-8", "replace"))
    except OSError:
        return  # a job that failed left none


@dataclass(slots=True)
class _Jobs:
    """What the jobs tell."""

    reports: list[BuildReport] = field(default_factory=list)
    cells: dict[str, CellRecord] = field(default_factory=dict)
    folders: dict[str, Path] = field(default_factory=dict)
    """Cell -> where the files beside its engine are."""

    def read(self, place: Path, written: Written) -> None:
        """Take in the `build/` of a job; what cannot be read is a warning."""
        report, wrong = last_report(BuildReport, place / REPORT)
        if wrong:
            written.warnings.append(f"{place / REPORT} is no report of a build: {wrong}")
        if report is not None:
            self.reports.append(report)
            for cell in report.cells:
                self._take(cell)
        for path in sorted(place.glob(f"*/*@*/{REPORT}")):
            own, wrong = last_report(CellReport, path)
            if wrong:
                written.warnings.append(f"{path} is no report of a cell: {wrong}")
            if own is not None:
                self.folders.setdefault(own.cell.cell, path.parent)
                self._take(own.cell)

    def _take(self, cell: CellRecord) -> None:
        """Keep what is known of a cell: its engine if any job has it, and the proof that says most of it."""
        known = self.cells.get(cell.cell)
        if known is None or (known.engine is None and cell.engine is not None):
            self.cells[cell.cell] = cell
        elif cell.engine is not None and known.engine == cell.engine:
            self.cells[cell.cell] = _proved(known, cell)

    def course(self, names: Sequence[str]) -> Course:
        """The jobs' steps and failures together, and the engines that failed on their GPU."""
        steps: dict[str, StepRecord] = {}
        for step in (one for report in self.reports for one in report.steps):
            if step.address not in steps or step.state in ("ran", "failed"):
                steps[step.address] = step
        failures = [one for report in self.reports for one in report.failures]
        removed = [name for report in self.reports for name in report.removed]
        return Course(
            steps=list(steps.values()),
            failures=[*dict.fromkeys(failures), *self._failed_proofs()],
            interrupted=any(report.status == "interrupted" for report in self.reports),
            removed=[name for name in dict.fromkeys(removed) if name not in names],
        )

    def _failed_proofs(self) -> Iterator[Failure]:
        for cell in self.cells.values():
            if cell.on_gpu.outcome == "failed":
                fact = f"the engine failed its proof on {cell.on_gpu.gpu or 'its GPU'}"
                problem = ProblemRecord(severity="error", fact=fact, remedy="", where=None)
                yield Failure(name=cell.cell, problems=(problem,))


def _proved(known: CellRecord, cell: CellRecord) -> CellRecord:
    """What is known of a cell, with the other record's proof and benchmark where they say more."""
    if _RANK[cell.on_gpu.outcome] > _RANK[known.on_gpu.outcome]:
        known = replace(known, on_gpu=cell.on_gpu, not_run=cell.not_run)
    if known.latency_us is None and cell.latency_us is not None:
        known = replace(known, latency_us=cell.latency_us, latency_of=cell.latency_of)
    return known
