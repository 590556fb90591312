"""The command that writes reports: report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from trtpipe.cli.app import Json, Only, app, run


@app.command()
def report(
    what: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[SPEC|CELL|DIR]...",
            help="Specs, directories of specs, cells, or engine directories; every spec of pipelines/ if none.",
        ),
    ] = None,
    only: Only = None,
    since: Annotated[
        Path | None,
        typer.Option(
            metavar="LOCKFILE", help="Report the changes since this lockfile, such as the main branch's."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Write the reports of delivered cells again: pages, JSON, JUnit XML and Markdown."""

    def body() -> int:
        from trtpipe.cli.report import report_command

        return report_command(what or [], only or [], since=since, as_json=as_json)

    run(body)
