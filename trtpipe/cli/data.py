"""`trtpipe data preview|ls`: their arguments."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from trtpipe.cli.outcome import run_command

data_app = typer.Typer(help="The data sets of calibration/.", no_args_is_help=True, rich_markup_mode=None)

Json = Annotated[bool, typer.Option("--json", help="Write JSON to stdout.")]


@data_app.command("preview")
def preview(
    name: Annotated[str, typer.Argument(help="A data set: NAME of calibration/NAME.yaml.")],
    spec: Annotated[
        str | None,
        typer.Option("--spec", metavar="SPEC", help="A pipeline whose model's inputs are shown."),
    ] = None,
    samples: Annotated[
        int | None, typer.Option("--samples", min=1, help="Read at most this many samples; default: all.")
    ] = None,
    shown: Annotated[
        int, typer.Option("--shown", min=0, max=1024, help="The number of samples on the sheet.")
    ] = 64,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="The file for the sheet; default: build/preview/NAME.png."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show the inputs that a network would receive: a contact sheet, and statistics of every input."""

    def body() -> int:
        from trtpipe.cli.data_preview import preview_command

        return preview_command(name, spec, samples, shown, output, as_json=as_json)

    raise typer.Exit(run_command(body))


@data_app.command("ls")
def list_(as_json: Json = False) -> None:
    """List the data sets, where their samples are and how many there are."""

    def body() -> int:
        from trtpipe.cli.data_preview import list_command

        return list_command(as_json=as_json)

    raise typer.Exit(run_command(body))
