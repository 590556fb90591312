"""`trtpipe check`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from trtpipe.checks.check import check_specs
from trtpipe.checks.report import CheckReport
from trtpipe.cli.annotations import annotate, write_code_quality
from trtpipe.cli.output import EXIT_DONE, EXIT_USAGE, note, say, say_json
from trtpipe.cli.progress import LazyProgress
from trtpipe.errors import Problem, SpecError
from trtpipe.json_values import Json
from trtpipe.problem_codes import Code
from trtpipe.text.problems import problem_json


def check_command(
    specs: Sequence[str],
    only: Sequence[str],
    *,
    as_json: bool,
    offline: bool = False,
    parse: bool = True,
    quality: Path | None = None,
) -> int:
    """Prove every spec; all problems of all specs are reported in one pass. `quality` is a file for GitLab."""
    with LazyProgress() as progress:
        report = check_specs(specs, only, offline=offline, observer=progress, parse=parse)
    annotate(report.problems)
    if quality is not None:
        write_code_quality(quality, report.problems)
    errors = [problem for problem in report.problems if problem.severity == "error"]
    if as_json:
        say_json(_json_of(report))
        return EXIT_USAGE if errors else EXIT_DONE
    for problem in report.problems:
        note(str(problem))
    if errors:
        raise SpecError(_counted(errors))
    for line in report.lines:
        say(line)
    say(_closing(report))
    return EXIT_DONE


def _counted(errors: Sequence[Problem]) -> Problem:
    return Problem(Code.CHECK_FAILED, "1 error" if len(errors) == 1 else f"{len(errors)} errors")


def _closing(report: CheckReport) -> str:
    cells, parsed = len(report.cells), sum(bool(cell["parsed"]) for cell in report.cells)
    warnings = sum(problem.severity == "warning" for problem in report.problems)
    text = f"no problems in {cells} cell{'' if cells == 1 else 's'}, {_parsed_words(cells, parsed)}"
    return text + (f", {warnings} warning{'' if warnings == 1 else 's'}" if warnings else "")


def _parsed_words(cells: int, parsed: int) -> str:
    if cells == parsed:
        return "and TensorRT's parser accepts " + ("its model" if cells == 1 else "the model of each")
    return (
        f"and TensorRT's parser accepted the model of {parsed} of them" if parsed else "TensorRT parsed none"
    )


def _json_of(report: CheckReport) -> dict[str, Json]:
    return {
        "schema": 1,
        "ok": not any(problem.severity == "error" for problem in report.problems),
        "problems": [problem_json(problem) for problem in report.problems],
        "cells": [dict(cell) for cell in report.cells],
        **({"bundles": [dict(one) for one in report.bundles]} if report.bundles else {}),
        "notes": list(report.lines),
    }
