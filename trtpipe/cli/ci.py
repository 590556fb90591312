"""`trtpipe ci matrix`, `trtpipe ci init` and `trtpipe ci report`."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast, get_args

from trtpipe.cli.output import EXIT_DONE, EXIT_USAGE, note, say, say_json
from trtpipe.errors import SpecError
from trtpipe.problem_codes import Code

if TYPE_CHECKING:
    from trtpipe.app.author.ci_matrix import Matrix
    from trtpipe.app.author.ci_needs import CiNeeds


@dataclass(frozen=True, slots=True)
class MatrixOptions:
    """How the cells are grouped, and what of them is printed."""

    purpose: str = "build"
    most: int | None = None
    runners: Sequence[str] = ()
    cells: str | None = None
    """The GPU whose cells alone are printed, as words."""


def matrix_command(specs: Sequence[str], only: Sequence[str], asked: MatrixOptions) -> int:
    """Print the matrix on one line, the form that a workflow step's output needs; or the cells of one GPU."""
    from trtpipe.app.author.ci_matrix import Purpose, gpu_key, matrix_of, runners_of
    from trtpipe.workspace.workspace import open_workspace

    if asked.purpose not in get_args(Purpose):
        raise SpecError(
            Code.UNKNOWN_VALUE,
            f"unknown value {asked.purpose!r} for --for",
            "write --for build or --for run",
        )
    workspace = open_workspace(specs, only)
    runners = runners_of(asked.runners) or None
    matrix = matrix_of(workspace, cast(Purpose, asked.purpose), asked.most, runners)
    _tell_left_out(matrix)
    if asked.cells is not None:
        say(" ".join(matrix.cells_for(gpu_key(asked.cells))))
    else:
        say_json({"include": matrix.jobs}, indent=None)
    return EXIT_DONE


def _tell_left_out(matrix: Matrix) -> None:
    for gpu, cells in matrix.left_out.items():
        shown = ", ".join(cells[:4]) + (f" and {len(cells) - 4} more" if len(cells) > 4 else "")
        note(f"left out, for no runner is named for {gpu}: {shown}")


def init_command(
    system: str, python: str | None, branch: str, runners: Sequence[str], *, force: bool, to_stdout: bool
) -> int:
    """Write the files of a workflow for a CI system, or print them."""
    from trtpipe.app.author.ci_files import SYSTEMS, files_for, write_files
    from trtpipe.app.author.ci_needs import Choices, needs_of
    from trtpipe.workspace.workspace import open_workspace

    if system not in SYSTEMS:
        raise SpecError(
            Code.UNKNOWN_VALUE, f"unknown CI system {system!r}", f"the systems are {' and '.join(SYSTEMS)}"
        )
    here = ".".join(platform.python_version_tuple()[:2])
    choices = Choices(system, python or here, branch, tuple(runners))
    needs = needs_of(open_workspace([], only_to_look=True), choices)
    files = files_for(needs)
    if to_stdout:
        say("\n".join(f"# {name}\n{text}" for name, text in files.items()).rstrip())
        return EXIT_DONE
    written = write_files(needs.root, files, force=force)
    for name in files:
        say(f"{'wrote' if name in written else 'unchanged'} {name}")
    _advise(needs)
    return EXIT_DONE


def _advise(needs: CiNeeds) -> None:
    """What the user must do, or may have expected."""
    from trtpipe.app.author.ci_gitlab import INCLUDE, has_include

    if needs.choices.system == "gitlab" and not has_include(needs):
        note("add this to .gitlab-ci.yml:\n" + INCLUDE.rstrip())
    if needs.unproved:
        note(
            f"no runner is named for {', '.join(needs.unproved)}, so engines are not proved there: "
            "--gpu-runner GPU=LABEL names one"
        )
    if not needs.has_lockfile:
        note("there is no trtpipe.lock: build, commit it, and run this again, so that CI holds builds to it")
    for name in _secrets(needs):
        note(f"set the {name}")


def _secrets(needs: CiNeeds) -> list[str]:
    """The secrets and variables that the workflow reads, as their CI system calls them."""
    remote = needs.remote
    if remote is None:
        return []
    if needs.choices.system == "gitlab":
        return [f"variable {one}" for one in (*remote.settings, *remote.secrets, remote.signing) if one]
    secrets = [f"secrets TRTPIPE_WRITE_{one} and TRTPIPE_READ_{one}" for one in remote.secrets]
    signing = [f"secret {remote.signing}"] if remote.signing else []
    return [*(f"variable {one}" for one in remote.settings), *secrets, *signing]


def report_command(folder: Path) -> int:
    """Write one report of a run's jobs. 2 when one cannot be read or written."""
    from trtpipe.app.report.jobs import report_jobs
    from trtpipe.cli.report import append_step_summary, tell_files
    from trtpipe.workspace.workspace import open_workspace

    written = report_jobs(open_workspace([]), folder)
    tell_files(written)
    append_step_summary(written)
    return EXIT_USAGE if written.warnings else EXIT_DONE
