"""Commands that write a pipeline's model or scales in another form."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from trtpipe.cli.app import export_app, run


@export_app.command("network")
def export_network(
    spec: Annotated[
        str,
        typer.Argument(
            metavar="SPEC|CELL", help="The pipeline whose model is exported; a cell with --parsed."
        ),
    ],
    parsed: Annotated[
        bool,
        typer.Option(
            "--parsed", help="Export the network that the cell's TensorRT makes of its typed model."
        ),
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="DIR", help="Where to write; default: the directory of the spec."
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace existing files.")] = False,
) -> None:
    """Write the model as declared layers and a .safetensors file, to be edited by hand."""

    def body() -> int:
        from trtpipe.cli.export import network_command, parsed_command

        return (parsed_command if parsed else network_command)(spec, output, force=force)

    run(body)


@export_app.command("calibration-cache")
def export_calibration_cache(
    scales: Annotated[Path, typer.Argument(help="A scales.json, as a build delivers it.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Where to write; default: stdout."),
    ] = None,
    trt_version: Annotated[
        str | None,
        typer.Option(
            metavar="X.Y.Z",
            help="The TensorRT version that will read it; default: the one that the scales come from.",
        ),
    ] = None,
    algorithm: Annotated[
        str | None,
        typer.Option(help="The calibrator that will read it: EntropyCalibration2, MinMaxCalibration."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
) -> None:
    """Write scales as a calibration cache of TensorRT, for versions up to 10."""

    def body() -> int:
        from trtpipe.cli.caches import export_command

        return export_command(scales, output, trt_version, algorithm, force=force)

    run(body)
