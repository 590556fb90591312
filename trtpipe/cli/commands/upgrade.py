"""Commands that move a project to another TensorRT version: upgrade."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from trtpipe.cli.app import Json, Offline, Only, Specs, app, run


@app.command()
def upgrade(
    toolchain: Annotated[
        str, typer.Argument(help="A toolchain of the specs, or a version: tensorrt_rtx-1.7.1.116.")
    ],
    specs: Specs = None,
    only: Only = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="DIR", help="Where to build; default: upgrade/TOOLCHAIN."),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option("--jobs", "-j", min=1, help="Steps to run at a time; default: the number of cores."),
    ] = None,
    offline: Offline = False,
    as_json: Json = False,
) -> None:
    """Build everything on another TensorRT version beside the old one, and compare the two."""

    def body() -> int:
        from trtpipe.cli.upgrade import UpgradeOptions, upgrade_command

        asked = UpgradeOptions(specs or [], only or [], output, jobs, offline, as_json)
        return upgrade_command(toolchain, asked)

    run(body)
