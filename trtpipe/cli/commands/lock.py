"""Commands about the lockfile: lock."""

from __future__ import annotations

from typing import Annotated

import typer

from trtpipe.cli.app import Json, Only, Specs, app, run


@app.command()
def lock(
    specs: Specs = None,
    only: Only = None,
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; report where the lockfile differs from the spec.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Update the lockfile with known results, or check it, without building anything."""

    def body() -> int:
        from trtpipe.cli.lock import lock_command

        return lock_command(specs or [], only or [], check=check, as_json=as_json)

    run(body)
