"""Commands for continuous integration: ci matrix."""

from __future__ import annotations

from typing import Annotated

import typer

from trtpipe.cli.app import Only, Specs, app, run

ci_app = typer.Typer(help="For continuous integration.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(ci_app, name="ci")


@ci_app.callback()
def ci() -> None:
    """For continuous integration."""


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
) -> None:
    """Print the cells as JSON, grouped by the machines that can build or run them."""

    def body() -> int:
        from trtpipe.cli.matrix import matrix_command

        return matrix_command(specs or [], only or [], purpose, most)

    run(body)
