"""Annotations: problems that a CI system shows at the line of the spec that they are about.

For GitHub Actions they are printed to stderr, which the runner reads as well as stdout, so that stdout has only
results; elsewhere nothing is printed. For GitLab they are written to the file that `check --code-quality` names.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path

from trtpipe.cli.output import command_runner, in_workflow
from trtpipe.errors import Problem, SpecError, TrtpipeError
from trtpipe.files import write_whole
from trtpipe.problem_codes import Code


def annotate(problems: Iterable[Problem], *, title: str = "") -> None:
    """Annotate each problem that has a place in a file, or a title."""
    if not in_workflow():
        return
    from trtpipe.reports.annotations import annotation

    for problem in dict.fromkeys(problems):
        if problem.where is not None or title:
            file = _from_repository(problem.where.file) if problem.where else ""
            command_runner(annotation(problem, title=title, file=file))


def annotate_failures(failures: Iterable[tuple[str, TrtpipeError]]) -> None:
    """Annotate the failures of a build; a problem that several steps or cells share is annotated once."""
    told: set[Problem] = set()
    for name, error in failures:
        annotate([one for one in error.problems if one not in told], title=f"{name} failed")
        told |= set(error.problems)


def write_code_quality(path: Path, problems: Iterable[Problem]) -> None:
    """Write the problems as a Code Quality report. Raises SpecError when that cannot be written."""
    from trtpipe.reports.code_quality import code_quality

    told = list(problems)
    files = {one.where.file: _from_repository(one.where.file) for one in told if one.where is not None}
    text = json.dumps(code_quality(told, files), indent=1) + "\n"
    try:
        write_whole(path, text.encode())
    except OSError as error:
        raise SpecError(
            Code.CANNOT_WRITE, f"cannot write {path}: {(error.strerror or str(error)).lower()}"
        ) from error


def _from_repository(file: str) -> str:
    """The file's path relative to the repository's root, as annotations need it."""
    root = os.environ.get("GITHUB_WORKSPACE") or os.environ.get("CI_PROJECT_DIR") or ""
    path = Path(file).absolute()
    inside = root and path.is_relative_to(root)
    return path.relative_to(root).as_posix() if inside else file
