"""Commands that say where an engine came from: which."""

from __future__ import annotations

from typing import Annotated

import typer

from trtpipe.cli.app import Json, app, run


@app.command()
def which(
    engine: Annotated[
        str, typer.Argument(metavar="FILE|DIGEST", help="An engine file, or its digest in hex.")
    ],
    as_json: Json = False,
) -> None:
    """Find the cell, the spec, the commit and the report of an engine by its digest."""

    def body() -> int:
        from trtpipe.cli.which import which_command

        return which_command(engine, as_json=as_json)

    run(body)
