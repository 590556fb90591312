"""Commands about the store: listing, verifying, removing and sharing its contents."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from trtpipe.cli.app import Json, Only, Specs, cache_app, run


@cache_app.command("ls")
def cache_ls(as_json: Json = False) -> None:
    """List the contents of the store, the most recently used first."""

    def body() -> int:
        from trtpipe.cli.stores.cache import list_command

        return list_command(as_json=as_json)

    run(body)


@cache_app.command("stats")
def cache_stats(as_json: Json = False) -> None:
    """Show the size of the store, and how much of it lockfiles need."""

    def body() -> int:
        from trtpipe.cli.stores.cache import stats_command

        return stats_command(as_json=as_json)

    run(body)


@cache_app.command("gc")
def cache_gc(
    roots: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[DIR]...", help="Other projects, whose lockfiles must stay usable."),
    ] = None,
    older_than: Annotated[
        str | None,
        typer.Option(
            "--older-than",
            metavar="AGE",
            help="Remove what was unused for this long: 12h, 30d, 8w; default: 30d.",
        ),
    ] = None,
    max_size: Annotated[
        str | None,
        typer.Option(
            "--max-size",
            metavar="SIZE",
            help="Then remove the least recently used until the store has this size, such as 20GiB.",
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be removed.")] = False,
    as_json: Json = False,
) -> None:
    """Remove what no lockfile needs and was unused for long. Builds may run at the same time."""

    def body() -> int:
        from trtpipe.cli.stores.cache import gc_command

        return gc_command(roots or [], older_than, max_size, dry_run=dry_run, as_json=as_json)

    run(body)


@cache_app.command("verify")
def cache_verify(as_json: Json = False) -> None:
    """Verify everything in the store; quarantine what is damaged."""

    def body() -> int:
        from trtpipe.cli.stores.cache import verify_command

        return verify_command(as_json=as_json)

    run(body)


@cache_app.command("path")
def cache_path(
    what: Annotated[
        str,
        typer.Argument(metavar="DIGEST|CELL", help="A digest or its first digits, or a cell that was built."),
    ],
    name: Annotated[str, typer.Argument(help="The name of the cell's artifact.")] = "model.engine",
) -> None:
    """Verify an artifact and print its path."""

    def body() -> int:
        from trtpipe.cli.stores.cache import path_command

        return path_command(what, name)

    run(body)


@cache_app.command("adopt")
def cache_adopt(as_json: Json = False) -> None:
    """Move this project's former store in .trtpipe/store into yours; only this project will trust its results."""

    def body() -> int:
        from trtpipe.cli.stores.cache import adopt_command

        return adopt_command(as_json=as_json)

    run(body)


@cache_app.command("push")
def cache_push(
    everything: Annotated[
        bool, typer.Option("--all", help="Send everything in the store, built by any project.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Send results that were built here to the remote store, if they are missing there."""

    def body() -> int:
        from trtpipe.cli.stores.cache_sharing import push_command

        return push_command(everything=everything, as_json=as_json)

    run(body)


@cache_app.command("pull")
def cache_pull(specs: Specs = None, only: Only = None, as_json: Json = False) -> None:
    """Fetch everything that these cells need from the remote store, for building offline."""

    def body() -> int:
        from trtpipe.cli.stores.cache_sharing import pull_command

        return pull_command(specs or [], only or [], as_json=as_json)

    run(body)


@cache_app.command("keygen")
def cache_keygen(
    file: Annotated[Path, typer.Argument(help="The file for the secret key, outside the repository.")],
) -> None:
    """Create a key for signing traces, and print the public key for `trust`."""

    def body() -> int:
        from trtpipe.cli.stores.cache_sharing import keygen_command

        return keygen_command(file)

    run(body)
