"""The `trtpipe` command: all commands, in the order in which help lists them."""

from __future__ import annotations

from importlib import import_module
from typing import Annotated

import typer

from trtpipe import __version__
from trtpipe.cli.app import app
from trtpipe.cli.output import EXIT_DONE, say
from trtpipe.deferred_imports import defer_imports

for _kind in (
    "build",
    "ci",
    "lock",
    "validate",
    "run",
    "package",
    "debug",
    "report",
    "inspect",
    "allow",
    "provenance",
    "upgrade",
    "export",
    "migrate",
    "cache",
    "fleet",
    "toolchains",
):
    import_module(f"trtpipe.cli.commands.{_kind}")


def _version(wanted: bool) -> None:
    if wanted:
        say(f"trtpipe {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """A declarative YAML build system for NVIDIA TensorRT engines."""


def main() -> int:
    """Read the arguments, run the command, return its exit code."""
    defer_imports()
    try:
        app(prog_name="trtpipe")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else EXIT_DONE
    return EXIT_DONE
