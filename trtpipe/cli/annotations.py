"""Prints problems as annotations of GitHub Actions, which are shown at the line of the spec that they are about.

They go to stderr, which the runner reads as well as stdout, so that stdout has only results. Outside GitHub Actions
nothing is printed.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from trtpipe.cli.output import command_runner, in_workflow
from trtpipe.errors import Problem, TrtpipeError


def annotate(problems: Iterable[Problem], *, title: str = "") -> None:
    """Annotate each problem that has a place in a file, or a title."""
    if not in_workflow():
        return
    from trtpipe.reports.annotations import annotation

    for problem in dict.fromkeys(problems):
        if problem.where is not None or title:
            command_runner(annotation(problem, title=title, file=_from_repository(problem)))


def annotate_failures(failures: Iterable[tuple[str, TrtpipeError]]) -> None:
    """Annotate the failures of a build; a problem that several steps or cells share is annotated once."""
    told: set[Problem] = set()
    for name, error in failures:
        annotate([one for one in error.problems if one not in told], title=f"{name} failed")
        told |= set(error.problems)


def _from_repository(problem: Problem) -> str:
    """The file's path relative to the repository's root, as annotations need it."""
    if problem.where is None:
        return ""
    root = os.environ.get("GITHUB_WORKSPACE", "")
    path = Path(problem.where.file).absolute()
    inside = root and path.is_relative_to(root)
    return path.relative_to(root).as_posix() if inside else problem.where.file
