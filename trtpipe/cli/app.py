"""The `trtpipe` command as typer application: its groups, and the arguments that several commands share.

Each command's implementation is imported when it runs, to keep start-up fast.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from trtpipe.cli.data import data_app
from trtpipe.cli.outcome import run_command

app = typer.Typer(
    name="trtpipe",
    help="A declarative YAML build system for NVIDIA TensorRT engines.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=True,
)
toolchain_app = typer.Typer(
    help="The TensorRT versions that engines are built with.", no_args_is_help=True, rich_markup_mode=None
)
app.add_typer(toolchain_app, name="toolchain")
export_app = typer.Typer(
    help="A pipeline's model in another form.", no_args_is_help=True, rich_markup_mode=None
)
app.add_typer(export_app, name="export")
cache_app = typer.Typer(
    help="The store of artifacts, here and shared with others.", no_args_is_help=True, rich_markup_mode=None
)
app.add_typer(cache_app, name="cache")
app.add_typer(data_app, name="data")
migrate_app = typer.Typer(help="Convert files of other tools.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(migrate_app, name="migrate")
fleet_app = typer.Typer(
    help="Machines that build for you, and the certificates that they know each other by.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(fleet_app, name="fleet")

Specs = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[SPEC|CELL]...",
        help="Specs, directories of specs, or cells; every spec of pipelines/ if none.",
    ),
]
Only = Annotated[list[str] | None, typer.Option("--only", metavar="GLOB", help="Only cells that match.")]
Json = Annotated[bool, typer.Option("--json", help="Write JSON to stdout.")]
VariantCell = Annotated[
    str, typer.Argument(metavar="CELL", help="A cell, PIPELINE/VARIANT@TARGET, or PIPELINE/VARIANT.")
]
Where = Annotated[list[str] | None, typer.Argument(metavar="[SPEC]...", help="Where it is declared.")]
With = Annotated[
    Path | None,
    typer.Option(
        "--with",
        metavar="FILE",
        help="A second file of the model, such as the weights of a prototxt, if it is not in the same folder.",
    ),
]
Executor = Annotated[
    str | None,
    typer.Option(
        "--executor",
        metavar="local|dask",
        help="Where the work is done: on this machine, or by a fleet; trtpipe.yaml may say which.",
    ),
]
Scheduler = Annotated[
    str | None,
    typer.Option(
        "--scheduler",
        metavar="ADDRESS",
        help="The fleet's scheduler, tls://HOST:PORT; $TRTPIPE_SCHEDULER, else your configuration, if left out.",
    ),
]
Certificates = Annotated[
    Path | None,
    typer.Option(
        "--certificates",
        metavar="DIR",
        help="The directory that `fleet keygen` wrote; in your configuration directory if left out.",
    ),
]
Insecure = Annotated[
    bool, typer.Option("--insecure", help="Allow a connection without encryption beyond this machine.")
]
WaitForAgents = Annotated[
    float,
    typer.Option(
        "--wait-for-agents",
        metavar="SECONDS",
        min=0,
        help="Wait for machines that can do the work to join the fleet.",
    ),
]
Offline = Annotated[bool, typer.Option("--offline", help="Download nothing.")]


def run(body: Callable[[], int]) -> None:
    """Run a command's body and end with its exit code."""
    raise typer.Exit(run_command(body))
