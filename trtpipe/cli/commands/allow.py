"""Commands that say what a project may do: allow."""

from __future__ import annotations

from typing import Annotated

import typer

from trtpipe.cli.app import Json, Where, app, run


@app.command()
def allow(
    specs: Where = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    listed: Annotated[bool, typer.Option("--list", help="Only show what the project would run.")] = False,
    revoke: Annotated[bool, typer.Option("--revoke", help="Revoke all permissions of the project.")] = False,
    as_json: Json = False,
) -> None:
    """Show what a project would run, or read outside itself, and allow it."""

    def body() -> int:
        from trtpipe.cli.allow import allow_command

        return allow_command(specs or [], yes=yes, listed=listed, revoke=revoke, as_json=as_json)

    run(body)
