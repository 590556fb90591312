"""Commands about the store: listing, verifying, removing and sharing its contents."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from trtpipe.cli.app import Json, Only, Specs, cache_app, run


@cache_app.command("ls")
def cache_ls(as_json: Json = False) -> None:
    """List what the store holds, what was used last first."""

    def body() -> int:
        from trtpipe.cli.cache import list_command

        return list_command(as_json=as_json)

    run(body)


@cache_app.command("stats")
def cache_stats(as_json: Json = False) -> None:
    """Tell how much the store holds, and what of it the lockfiles need."""

    def body() -> int:
        from trtpipe.cli.cache import stats_command

        return stats_command(as_json=as_json)

    run(body)


@cache_app.command("gc")
def cache_gc(
    roots: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[DIR]...", help="More projects whose lockfiles say what must stay."),
    ] = None,
    older_than: Annotated[
        str | None,
        typer.Option(
            "--older-than", metavar="AGE", help="Take what nobody used for 12h, 30d, 8w; 30d if left out."
        ),
    ] = None,
    max_size: Annotated[
        str | None,
        typer.Option("--max-size", metavar="SIZE", help="Then what was used longest ago, down to 20GiB."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Tell what would go, and take nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Remove what no lockfile needs and nobody used for long. Builds may run meanwhile."""

    def body() -> int:
        from trtpipe.cli.cache import gc_command

        return gc_command(roots or [], older_than, max_size, dry_run=dry_run, as_json=as_json)

    run(body)


@cache_app.command("verify")
def cache_verify(as_json: Json = False) -> None:
    """Read everything in the store again; put aside what is damaged."""

    def body() -> int:
        from trtpipe.cli.cache import verify_command

        return verify_command(as_json=as_json)

    run(body)


@cache_app.command("path")
def cache_path(
    what: Annotated[
        str,
        typer.Argument(
            metavar="DIGEST|CELL", help="A digest, or its first digits; or a cell that was built."
        ),
    ],
    name: Annotated[str, typer.Argument(help="Which of the cell's artifacts.")] = "model.engine",
) -> None:
    """Print where an artifact is, once its bytes were verified."""

    def body() -> int:
        from trtpipe.cli.cache import path_command

        return path_command(what, name)

    run(body)


@cache_app.command("adopt")
def cache_adopt(as_json: Json = False) -> None:
    """Take over the store that this project had in .trtpipe/store, if you built it: only this project believes it."""

    def body() -> int:
        from trtpipe.cli.cache import adopt_command

        return adopt_command(as_json=as_json)

    run(body)


@cache_app.command("push")
def cache_push(
    everything: Annotated[
        bool, typer.Option("--all", help="All that was built into the store, by whatever project.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Send to the remote store what it lacks of what was built here."""

    def body() -> int:
        from trtpipe.cli.cache_sharing import push_command

        return push_command(everything=everything, as_json=as_json)

    run(body)


@cache_app.command("pull")
def cache_pull(specs: Specs = None, only: Only = None, as_json: Json = False) -> None:
    """Bring here what the remote store has for these cells, so that they can be built without it."""

    def body() -> int:
        from trtpipe.cli.cache_sharing import pull_command

        return pull_command(specs or [], only or [], as_json=as_json)

    run(body)


@cache_app.command("keygen")
def cache_keygen(
    file: Annotated[Path, typer.Argument(help="Where the secret key goes; outside of the repository.")],
) -> None:
    """Make a key to sign traces with; prints the public key for `trust`."""

    def body() -> int:
        from trtpipe.cli.cache_sharing import keygen_command

        return keygen_command(file)

    run(body)
