"""Commands for continuous integration: ci init, ci matrix, ci report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from trtpipe.cli.app import Only, Specs, app, run

ci_app = typer.Typer(help="For continuous integration.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(ci_app, name="ci")

Runners = Annotated[
    list[str] | None,
    typer.Option(
        "--gpu-runner",
        metavar="GPU=LABEL[,LABEL]",
        help="The label of the runners that have a GPU, sm89=gpu-l4; none=LABEL for those without one.",
    ),
]


@ci_app.callback()
def ci() -> None:
    """For continuous integration."""


@ci_app.command("init")
def ci_init(
    system: Annotated[str, typer.Argument(metavar="github|gitlab", help="The CI system.")],
    gpu_runner: Runners = None,
    python: Annotated[
        str | None, typer.Option(metavar="VERSION", help="The version of Python; this one's if left out.")
    ] = None,
    branch: Annotated[str, typer.Option(help="The branch that may write the remote store.")] = "main",
    force: Annotated[bool, typer.Option("--force", help="Replace files that are there.")] = False,
    to_stdout: Annotated[
        bool, typer.Option("--stdout", "--dry-run", help="Print the files instead of writing them.")
    ] = False,
) -> None:
    """Write a CI workflow for this project: checks, builds, proofs on GPUs, and a report on each pull request."""

    def body() -> int:
        from trtpipe.cli.ci import init_command

        return init_command(system, python, branch, gpu_runner or [], force=force, to_stdout=to_stdout)

    run(body)


@ci_app.command("matrix")
def ci_matrix(
    specs: Specs = None,
    only: Only = None,
    purpose: Annotated[
        str, typer.Option("--for", metavar="build|run", help="Whether the machines build or run the cells.")
    ] = "build",
    most: Annotated[
        int | None, typer.Option("--cells-per-job", min=1, help="At most this many cells per job.")
    ] = None,
    gpu_runner: Runners = None,
    cells: Annotated[
        str | None,
        typer.Option("--cells", metavar="GPU|none", help="Print only the cells for this GPU, on one line."),
    ] = None,
) -> None:
    """Print the cells as JSON, grouped by the machines that can build or run them."""

    def body() -> int:
        from trtpipe.cli.ci import MatrixOptions, matrix_command

        return matrix_command(specs or [], only or [], MatrixOptions(purpose, most, gpu_runner or [], cells))

    run(body)


@ci_app.command("report")
def ci_report(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="A directory with a copy of the build/ of each job.")
    ],
) -> None:
    """Make one report of what the jobs of a CI run built and proved."""

    def body() -> int:
        from trtpipe.cli.ci import report_command

        return report_command(folder)

    run(body)
