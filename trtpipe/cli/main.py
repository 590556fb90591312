"""The `trtpipe` command: all commands, in the order in which help lists them."""

from __future__ import annotations

import copy
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Annotated

import typer
from typer.models import CommandInfo

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
        _part_asked_for(sys.argv[1:])(prog_name="trtpipe")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else EXIT_DONE
    return EXIT_DONE


def _part_asked_for(arguments: Sequence[str]) -> typer.Typer:
    """The application with only the command or group that comes first; the whole one if none does.

    typer looks at every command's parameters, which takes 20 times as long as looking at those of one.
    """
    first = arguments[0] if arguments else ""
    part = copy.copy(app)
    part.registered_commands = [one for one in app.registered_commands if _called(one) == first]
    part.registered_groups = [one for one in app.registered_groups if one.name == first]
    return part if part.registered_commands or part.registered_groups else app


def _called(command: CommandInfo) -> str:
    assert command.callback is not None
    return command.name or command.callback.__name__.replace("_", "-")
