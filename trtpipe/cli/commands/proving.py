"""Commands that prove what was built: validate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from trtpipe.cli.app import Json, Offline, app, run


@app.command()
def validate(
    engines: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[CELL|DIRECTORY]...",
            help="Cells of the project, or directories of engines as builds leave them; every cell if none.",
        ),
    ] = None,
    cpu: Annotated[
        bool, typer.Option("--cpu", help="Validate the typed models on the CPU; the engines are not run.")
    ] = False,
    trust: Annotated[
        list[str] | None,
        typer.Option(
            metavar="BLAKE3", help="An engine that may be run though no manifest or lockfile has it."
        ),
    ] = None,
    device: Annotated[int, typer.Option(min=0, help="Which GPU.")] = 0,
    plugin: Annotated[
        list[Path] | None, typer.Option(metavar="LIBRARY", help="A plugin library to load first.")
    ] = None,
    offline: Offline = False,
    as_json: Json = False,
) -> None:
    """Run engines on this machine's GPU and hold their outputs against the reference's."""

    def body() -> int:
        from trtpipe.cli.proving import validate_command
        from trtpipe.system.validating import HowToValidate

        how = HowToValidate(cpu, device, tuple(trust or ()), tuple(plugin or ()), offline)
        return validate_command(engines or [], how, as_json=as_json)

    run(body)
