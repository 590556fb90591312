"""Writes reports: reads what was delivered, cell by cell, and writes the pages and files of a build.

Uses only the build directory and the plan. An error here must not make a build fail: whatever cannot be written or read
is a warning, and the rest is written.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from trtpipe.app.report.engine_directories import Delivered, delivered_in, last_report
from trtpipe.app.report.environment import environment_facts
from trtpipe.app.report.fleet import fleet_record
from trtpipe.app.report.pipeline_shares import SharesOfBuild
from trtpipe.app.report.profile import profile_record
from trtpipe.errors import Problem, SpecError
from trtpipe.files import write_whole
from trtpipe.lockfile import Entry, entry_in, load_lock, text_in
from trtpipe.plan.graph import Cell
from trtpipe.problem_codes import Code
from trtpipe.reports.build_page import build_page
from trtpipe.reports.builds import Course, build_record
from trtpipe.reports.cell_page import cell_page
from trtpipe.reports.cell_report import cell_report
from trtpipe.reports.cells import delivered_cell, undelivered_cell
from trtpipe.reports.changes import changes_between
from trtpipe.reports.junit import junit_xml
from trtpipe.reports.markdown import build_markdown
from trtpipe.reports.models import (
    BuildReport,
    BundleRecord,
    CellRecord,
    CellReport,
    Failure,
    ProblemRecord,
    SpecPlace,
    State,
    StepRecord,
)
from trtpipe.reports.record import Record, record_text
from trtpipe.reports.shares import Share
from trtpipe.stores.state import signature_of
from trtpipe.text.decisions import DECISION_WORDS
from trtpipe.text.plans import why
from trtpipe.timings import current_recording
from trtpipe.workspace.workspace import cell_names

if TYPE_CHECKING:
    from trtpipe.building.outcome import Outcome
    from trtpipe.building.planned import Planned

R = TypeVar("R", bound=Record)
REPORT, PAGE, JUNIT, SUMMARY = "report.json", "report.html", "junit.xml", "summary.md"
WhyNot = Mapping[str, tuple[State, list[str]]]
"""Cell that is not in place -> whether it failed, and why in sentences."""


@dataclass(slots=True)
class Written:
    """What was written, and what could not be written."""

    report: BuildReport | CellRecord | None = None
    """The report of the build, or the record of the one cell that was reported."""
    summary: str = ""
    """The text of a build's `summary.md`."""
    files: list[Path] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)
    """What could not be taken from an earlier report, which has been replaced."""

    def write(self, path: Path, text: str) -> None:
        """Write a file atomically, or warn."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, text.encode("utf-8", "backslashreplace"), durable=False)
        except OSError as error:
            self.warnings.append(f"cannot write {path}: {(error.strerror or str(error)).lower()}")
            return
        self.files.append(path)


def report_build(
    planned: Planned, outcome: Outcome, *, interrupted: bool, standing: Collection[str] = ()
) -> Written:
    """Write the reports of a build that has just ended, however it ended.

    `standing` are cells that are in place as the specs require, including those that this build did not reach.
    """
    other_cells, removed = _beside(planned, outcome.locked)
    course = Course(
        steps=list(_steps(planned, outcome)),
        failures=[_failure(name, error.problems) for name, error in outcome.failures],
        interrupted=interrupted,
        other_cells=other_cells,
        removed=removed,
        fleet=fleet_record(outcome.placed, planned.plan.steps),
        profile=profile_record(current_recording()),
    )
    states: dict[str, State] = dict.fromkeys(outcome.built, "built")
    states.update(dict.fromkeys(outcome.restored, "restored"))
    states.update(dict.fromkeys(outcome.fresh, "up to date"))
    left = [cell for cell in planned.plan.cells if cell.name not in states]
    why_not = _why_not(planned, outcome, left, standing, interrupted=interrupted)
    states.update({name: "up to date" for name in standing if why_not.get(name, ("failed",))[0] != "failed"})
    reporter = _Reporter(planned, outcome.locked, {}, anew={*outcome.built, *outcome.restored})
    return reporter.write(course, states, why_not)


def report_delivered(planned: Planned, since: Path | None) -> Written:
    """Write the reports again from what is delivered; changes are those since a lockfile, or as last reported.

    Raises SpecError when there is no lockfile at `since`.
    """
    if since is not None and not since.is_file():
        raise SpecError(
            Code.NO_SUCH_FILE,
            f"no such lockfile: '{since}'",
            "git show origin/main:trtpipe.lock writes one to compare with",
        )
    written = Written()
    told = _last(written, BuildReport, planned.workspace.build / REPORT)
    last = {one.cell: one for one in told.cells} if told else {}
    locked = load_lock(since or planned.workspace.lockfile).cells
    cells = planned.plan.cells
    states: dict[str, State] = {
        cell.name: "up to date" for cell in cells if cell.name not in planned.undelivered
    }
    kept = {} if since else last
    reporter = _Reporter(planned, locked, kept, anew={cell.name for cell in cells}, written=written)
    why_not = {cell.name: _as_last(last.get(cell.name)) for cell in cells if cell.name not in states}
    failures = [
        _failure(name, [Problem(Code.BUILD_FAILED, fact) for fact in facts])
        for name, (state, facts) in why_not.items()
        if state == "failed"
    ]
    other_cells, removed = _beside(planned, locked)
    course = Course(list(_steps(planned, None)), failures, other_cells=other_cells, removed=removed)
    return reporter.write(course, states, why_not)


def report_directory(folder: Path) -> Written:
    """Write the report of one engine directory, which needs neither spec nor store. Raises SpecError without one."""
    found = delivered_in(folder)
    if isinstance(found, str):
        raise SpecError(
            Code.NO_ENGINE,
            f"'{folder}' is not an engine directory: {found}",
            "give a folder with a manifest.json",
        )
    written = Written()
    told = _last(written, CellReport, folder / REPORT)
    cell = _record(found, "delivered")
    written.report = _keep_changes(cell, told.cell) if told else cell
    _write_cell(written, folder, written.report, found)
    return written


def _last(written: Written, kind: type[R], path: Path) -> R | None:
    """The report that will be replaced; an unreadable one is treated as missing, with a warning."""
    found, wrong = last_report(kind, path)
    if wrong:
        written.unread.append(f"{path} is not a report, so its content is not kept: {wrong}")
    return found


def _as_last(cell: CellRecord | None) -> tuple[State, list[str]]:
    """Why a cell is not delivered: it failed according to the last report, or was not built since."""
    if cell is not None and cell.state == "failed":
        return "failed", list(cell.problems[:50])
    return "not built", ["the delivered files do not match the spec: run trtpipe build"]


@dataclass(slots=True)
class _Reporter:
    """Writes the reports of one plan."""

    planned: Planned
    locked: Mapping[str, Entry]
    """The lockfile's cells that changes are told against."""
    last: Mapping[str, CellRecord]
    """Cells of the report that is replaced, whose changes are kept; empty when they are told against `locked`."""
    anew: set[str]
    """Cells whose own report is written even when there is one."""
    written: Written = field(default_factory=Written)
    seconds: dict[str, float] = field(default_factory=dict)
    """Step -> what it took when it ran, as manifests tell."""

    def write(self, course: Course, states: Mapping[str, State], why_not: WhyNot) -> Written:
        """Writes everything: cell by cell, then the build's own files."""
        making, records = SharesOfBuild(self.planned), list[CellRecord]()
        cells: dict[str, list[Cell]] = {}
        for cell in self.planned.plan.cells:
            cells.setdefault(cell.pipeline, []).append(cell)
        for pipeline in making.pipelines():
            records += [self._cell(cell, states.get(cell.name), why_not, making) for cell in cells[pipeline]]
        self._mend_pages()
        course = replace(course, steps=self._timed(course.steps), bundles=self._bundles(course))
        shares = making.all(course.steps)
        self.written.report = build_record(records, course, environment_facts(), making.kept)
        write_build_files(self.written, self.planned.workspace.build, self.written.report, shares)
        return self.written

    def _mend_pages(self) -> None:
        """Write the pages of settled cells that are not there."""
        build = self.planned.workspace.build
        for name in self.planned.settled.cells:
            if signature_of(f"{build}/{name}/{PAGE}") is None:
                found = delivered_in(build / name)
                if not isinstance(found, str):
                    _write_cell(self.written, found.folder, _record(found, "up to date"), found)

    def _bundles(self, course: Course) -> Sequence[BundleRecord]:
        if not self.planned.workspace.bundles:
            return ()
        from trtpipe.app.report.bundles import bundle_records

        return bundle_records(self.planned, course.failures)

    def _timed(self, steps: Sequence[StepRecord]) -> list[StepRecord]:
        """The steps; those that did not run have the time that they took when they last ran."""
        return [
            replace(one, seconds=self.seconds.get(one.address)) if one.seconds is None else one
            for one in steps
        ]

    def _cell(self, cell: Cell, state: State | None, why_not: WhyNot, making: SharesOfBuild) -> CellRecord:
        folder = self.planned.workspace.build / cell.directory
        if state is None:
            return _undelivered(cell, *why_not[cell.name], making)
        making.begin(cell)
        found = delivered_in(folder)
        if isinstance(found, str):
            why = f"the delivered files cannot be shown: {found}"
            return _undelivered(cell, "not built", [why], making)
        record = self._with_changes(_record(found, state))
        for stage, address in cell.steps.items():
            if stage in record.seconds:
                self.seconds[str(address)] = record.seconds[stage]
        if cell.name in self.anew or signature_of(f"{folder}/{PAGE}") is None:
            _write_cell(self.written, folder, record, found)
        making.add(cell, record, lambda: found.measured.places if found.measured else ())
        return record

    def _with_changes(self, record: CellRecord) -> CellRecord:
        name = record.cell
        if name in self.last:
            return _keep_changes(record, self.last[name])
        text = self.planned.workspace.state.lock_text(name)
        if text is None or text == text_in(self.locked, name):
            return record
        changes = changes_between(self.locked.get(name), entry_in(text))
        return replace(record, changes=changes, new=name not in self.locked)


def write_build_files(written: Written, build: Path, report: BuildReport, shares: Sequence[Share]) -> None:
    """Write the files of `build/` that are about the whole build."""
    written.summary = build_markdown(report, shares)
    written.write(build / PAGE, build_page(report, shares))
    written.write(build / JUNIT, junit_xml(shares, report.bundles))
    written.write(build / SUMMARY, written.summary)
    steps, cells = (
        [text for text in texts if text]
        for texts in ([share.steps for share in shares], [share.records for share in shares])
    )
    lists = {"steps": ",\n  ".join(steps), "cells": ",\n  ".join(cells)}
    written.write(build / REPORT, record_text(report, lists))


def _undelivered(cell: Cell, state: State, why: list[str], making: SharesOfBuild) -> CellRecord:
    record = undelivered_cell(cell.name, state, cell.facts, why)
    making.add(cell, record, lambda: ())
    return record


def _keep_changes(record: CellRecord, last: CellRecord) -> CellRecord:
    """The record with the changes that the last report lists for the same engine, which still apply."""
    if not record.engine or not last.engine or last.engine.blake3 != record.engine.blake3:
        return record
    return replace(record, changes=last.changes[:200], new=last.new)


def _record(found: Delivered, state: State) -> CellRecord:
    return delivered_cell(found.manifest, state, found.bench, found.proof)


def _write_cell(written: Written, folder: Path, cell: CellRecord, found: Delivered) -> None:
    report = cell_report(cell, found.manifest, found.parts(), found.absent, found.files())
    written.write(folder / REPORT, record_text(report))
    written.write(folder / PAGE, cell_page(report))


def _failure(name: str, problems: Iterable[Problem]) -> Failure:
    return Failure(name=name, problems=tuple(map(_problem, problems)))


def _problem(problem: Problem) -> ProblemRecord:
    where = problem.where
    return ProblemRecord(
        severity=problem.severity,
        fact=problem.facts,
        remedy=problem.remedy,
        where=SpecPlace(file=where.file, line=where.line, column=where.column) if where else None,
    )


def _steps(planned: Planned, outcome: Outcome | None) -> Iterator[StepRecord]:
    for address, step in planned.plan.steps.items():
        decision = planned.decisions[address]
        state, seconds = DECISION_WORDS[type(decision)], None
        if outcome is not None:
            state, seconds = outcome.steps.get(str(address), ("not run", None))
        yield StepRecord(
            address=str(address),
            stage=step.stage,
            needs=tuple(sorted(set(map(str, step.upstream())))),
            state=state,
            why=why(decision),
            seconds=seconds,
        )


def _beside(planned: Planned, locked: Mapping[str, object]) -> tuple[int, list[str]]:
    """The lockfile's cells that the command is not about: how many others there are, and those that no longer exist."""
    known = set(cell_names(planned.workspace))
    planned_now = {*planned.settled.cells, *(cell.name for cell in planned.plan.cells)}
    others = [name for name in locked if name not in planned_now]
    removed = [name for name in others if name not in known and name.split("/", 1)[0] in planned.specs]
    return len(others) - len(removed), removed


def _why_not(
    planned: Planned, outcome: Outcome, left: Sequence[Cell], standing: Collection[str], *, interrupted: bool
) -> WhyNot:
    """Each of the cells left that were not delivered: whether it failed, and why in sentences."""
    failures = {name: [str(one.fact) for one in error.problems] for name, error in outcome.failures}
    stopped = "the build was interrupted" if interrupted else "the build stopped after a failure"
    found: dict[str, tuple[State, list[str]]] = {}
    for cell in left:
        own = [name for name in (cell.name, *map(str, cell.steps.values())) if name in failures]
        sentences = [f"{name}: {fact}" for name in own for fact in failures[name]] or [stopped]
        folder = planned.workspace.build / cell.directory
        if cell.name in standing:
            sentences.append(f"{cell.directory}/ contains files of an earlier build, which match the spec")
        elif (folder / "manifest.json").is_file():
            sentences.append(
                f"{cell.directory}/ contains files of an earlier build, which do not match the current spec"
            )
        found[cell.name] = ("failed" if own else "not built", sentences)
    return found
