"""Writes reports: gathers what was delivered, cell by cell, and puts the pages and files of a build into place.

Reads only what stands in the build directory and what is known of the plan. Nothing here may cost a build its results:
what cannot be written or read is a warning, and the rest is written.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trtpipe.errors import Problem, SpecError
from trtpipe.files import write_whole
from trtpipe.lockfile import read_lock
from trtpipe.plan.graph import Cell
from trtpipe.rendering.decisions import DECISION_WORDS
from trtpipe.rendering.plans import why
from trtpipe.reporting.build_page import CellDetails, build_page
from trtpipe.reporting.builds import Course, build_record
from trtpipe.reporting.cell_page import cell_page
from trtpipe.reporting.cell_report import cell_report
from trtpipe.reporting.cells import delivered_cell, undelivered_cell
from trtpipe.reporting.changes import changes_between
from trtpipe.reporting.junit import junit_xml
from trtpipe.reporting.markdown import build_markdown
from trtpipe.reporting.values import mapping_of, objects_of
from trtpipe.system.engine_directories import Delivered, delivered_in, read_json
from trtpipe.system.environment import environment_facts
from trtpipe.system.workspace import cell_names

if TYPE_CHECKING:
    from trtpipe.system.building import Planned
    from trtpipe.system.outcome import Outcome

REPORT, PAGE, JUNIT, SUMMARY = "report.json", "report.html", "junit.xml", "summary.md"
Record = dict[str, Any]


@dataclass(slots=True)
class Written:
    """What was written, and what could not be."""

    report: Record = field(default_factory=dict)
    """The report of the build as a JSON object."""
    files: list[Path] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def write(self, path: Path, text: str) -> None:
        """Write a file whole, or warn."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, text.encode("utf-8", "backslashreplace"), durable=False)
        except OSError as error:
            self.warnings.append(f"cannot write {path}: {(error.strerror or str(error)).lower()}")
            return
        self.files.append(path)


def report_build(planned: Planned, outcome: Outcome, *, interrupted: bool) -> Written:
    """Write the reports of a build that has just ended, however it ended."""
    course = Course(
        steps=list(_steps(planned, outcome)),
        failures=[
            {"name": name, "problems": [_problem(one) for one in error.problems]}
            for name, error in outcome.failures
        ],
        interrupted=interrupted,
        **_beside(planned, outcome.locked),
    )
    states = dict.fromkeys(outcome.built, "built")
    states |= dict.fromkeys(outcome.restored, "restored") | dict.fromkeys(outcome.fresh, "up to date")
    reporter = _Reporter(planned, outcome.locked, {}, anew={*outcome.built, *outcome.restored})
    why_not = _why_not(planned, outcome, interrupted=interrupted)
    return reporter.write(course, states, why_not)


def report_delivered(planned: Planned, since: Path | None) -> Written:
    """Write the reports anew from what is delivered; changes are those since a lockfile, or as last reported.

    Raises SpecError when there is no lockfile at `since`.
    """
    if since is not None and not since.is_file():
        raise SpecError(
            f"no such lockfile: '{since}'", "git show origin/main:trtpipe.lock writes one to compare with"
        )
    told, _ = read_json(planned.workspace.build / REPORT)
    last = {str(one.get("cell")): one for one in objects_of(mapping_of(told).get("cells"))}
    locked = read_lock(since or planned.workspace.lockfile)
    cells = planned.plan.cells
    states = {cell.name: "up to date" for cell in cells if cell.name not in planned.undelivered}
    reporter = _Reporter(planned, locked, {} if since else last, anew={cell.name for cell in cells})
    why_not = {
        cell.name: _last_failure(last.get(cell.name))
        or ("not built", ["what is delivered is not what the spec says: trtpipe build"])
        for cell in cells
        if cell.name not in states
    }
    failures = [
        {"name": name, "problems": [_problem(Problem(fact)) for fact in facts]}
        for name, (state, facts) in why_not.items()
        if state == "failed"
    ]
    course = Course(steps=list(_steps(planned, None)), failures=failures, **_beside(planned, locked))
    return reporter.write(course, states, why_not)


def report_directory(folder: Path) -> Written:
    """Write the report of one engine directory, which needs neither spec nor store. Raises SpecError without one."""
    found = delivered_in(folder)
    if isinstance(found, str):
        raise SpecError(
            f"'{folder}' is no engine directory: {found}", "give the folder that holds a manifest.json"
        )
    told, _ = read_json(folder / REPORT)
    last = mapping_of(mapping_of(told).get("cell"))
    cell = _record(found, "delivered")
    _keep_changes(cell, last)
    written = Written()
    _write_cell(written, folder, cell, found)
    written.report = dict(cell)
    return written


def _last_failure(cell: Mapping[str, Any] | None) -> tuple[str, list[str]] | None:
    """What the last report said of a cell that failed and has not been delivered since."""
    if cell is None or cell.get("state") != "failed":
        return None
    return "failed", [str(one) for one in cell.get("problems") or ()][:50]


@dataclass(slots=True)
class _Reporter:
    """Writes the reports of one plan."""

    planned: Planned
    locked: Mapping[str, Mapping[str, Any]]
    """The lockfile's cells that changes are told against."""
    last: Mapping[str, Mapping[str, Any]]
    """Cells of the report that is replaced, whose changes are kept; empty when they are told against `locked`."""
    anew: set[str]
    """Cells whose own report is written even when there is one."""
    written: Written = field(default_factory=Written)
    details: CellDetails = field(default_factory=CellDetails)
    seconds: dict[str, float] = field(default_factory=dict)
    """Step -> what it took when it ran, as manifests tell."""

    def write(
        self, course: Course, states: Mapping[str, str], why_not: Mapping[str, tuple[str, list[str]]]
    ) -> Written:
        """All of it: cell by cell, then the build's own files."""
        cells = [self._cell(cell, states.get(cell.name), why_not) for cell in self.planned.plan.cells]
        for step in course.steps:
            if step["seconds"] is None and isinstance(step, dict):
                step["seconds"] = self.seconds.get(step["address"])
        report = build_record(cells, course, environment_facts())
        build = self.planned.workspace.build
        self.written.report = report
        self.written.write(build / PAGE, build_page(report, self.details))
        self.written.write(build / JUNIT, junit_xml(report))
        self.written.write(build / SUMMARY, build_markdown(report))
        self.written.write(build / REPORT, _text(report))
        return self.written

    def _cell(self, cell: Cell, state: str | None, why_not: Mapping[str, tuple[str, list[str]]]) -> Record:
        folder = self.planned.workspace.build / cell.directory
        found = delivered_in(folder) if state is not None else ""
        if state is None or isinstance(found, str):
            lost = ("not built", [f"what was delivered cannot be shown: {found}"])
            state, problems = why_not[cell.name] if state is None else lost
            record = undelivered_cell(cell.name, state, cell.facts, problems)
            self.details.add(record, ())
            return record
        record = _record(found, state)
        self._note_changes(record)
        for stage, address in cell.steps.items():
            if stage in record["seconds"]:
                self.seconds[str(address)] = record["seconds"][stage]
        if cell.name in self.anew or not (folder / PAGE).is_file():
            _write_cell(self.written, folder, record, found)
        measured = found.part("validation.json")
        self.details.add(record, measured["places"] if measured else ())
        found.forget()
        return record

    def _note_changes(self, record: Record) -> None:
        name = record["cell"]
        if name in self.last:
            _keep_changes(record, self.last[name])
            return
        entries = self.planned.workspace.state.cells
        if name in entries:
            record["changes"] = changes_between(self.locked.get(name), entries[name]["lock"])
            record["new"] = name not in self.locked


def _keep_changes(record: Record, last: Mapping[str, Any]) -> None:
    """What the last report said of the same engine still holds."""
    same = mapping_of(last.get("engine")).get("blake3") == record["engine"]["blake3"]
    told = objects_of(last.get("changes"), 200) if same else []
    fits = [one for one in told if one.keys() == {"field", "old", "new"} and isinstance(one["field"], str)]
    record["changes"] = [dict(one) for one in fits if all(_is_fact(one[end]) for end in ("old", "new"))]
    record["new"] = same and last.get("new") is True


def _is_fact(value: object) -> bool:
    return (
        value is None
        or isinstance(value, str)
        or (isinstance(value, list) and all(isinstance(one, str) for one in value))
    )


def _record(found: Delivered, state: str) -> Record:
    return delivered_cell(found.manifest, state, found.part("bench.json"), found.part("proof.json"))


def _write_cell(written: Written, folder: Path, cell: Record, found: Delivered) -> None:
    report = cell_report(cell, found.manifest, found.parts(), found.absent, found.files())
    written.write(folder / REPORT, _text(report))
    written.write(folder / PAGE, cell_page(report))


def _problem(problem: Problem) -> Record:
    where = problem.where
    place = {"file": where.file, "line": where.line, "column": where.column} if where else None
    return {"severity": problem.severity, "fact": problem.fact, "remedy": problem.remedy, "where": place}


def _text(report: Mapping[str, Any]) -> str:
    return json.dumps(report, indent=1, ensure_ascii=True, allow_nan=False) + "\n"


def _steps(planned: Planned, outcome: Outcome | None) -> Iterator[Record]:
    for address, step in planned.plan.steps.items():
        decision = planned.decisions[address]
        state, seconds = DECISION_WORDS[type(decision)], None
        if outcome is not None:
            state, seconds = outcome.steps.get(str(address), ("not run", None))
        yield {
            "address": str(address),
            "stage": step.stage,
            "needs": sorted(set(map(str, step.upstream()))),
            "state": state,
            "why": why(decision),
            "seconds": seconds,
        }


def _beside(planned: Planned, locked: Mapping[str, Any]) -> dict[str, Any]:
    """The lockfile's cells that the plan does not have: those that are gone, and those it is not about."""
    known = set(cell_names(planned.workspace))
    planned_now = {cell.name for cell in planned.plan.cells}
    others = [name for name in locked if name not in planned_now]
    removed = [name for name in others if name not in known and name.split("/", 1)[0] in planned.specs]
    return {"other_cells": len(others) - len(removed), "removed": removed}


def _why_not(planned: Planned, outcome: Outcome, *, interrupted: bool) -> dict[str, tuple[str, list[str]]]:
    """Each cell that was not brought into place: whether it failed, and why in sentences."""
    failures = {name: [str(one.fact) for one in error.problems] for name, error in outcome.failures}
    found = {}
    for cell in planned.plan.cells:
        own = [name for name in (cell.name, *map(str, cell.steps.values())) if name in failures]
        if own:
            sentences = [f"{name}: {fact}" for name in own for fact in failures[name]]
            found[cell.name] = ("failed", sentences)
        else:
            stopped = "the build was interrupted" if interrupted else "the build stopped after a failure"
            found[cell.name] = ("not built", [stopped])
    return found
