"""Commands that tell: inspect, schema, doctor."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from trtpipe.cli.app import Json, app, run


@app.command()
def inspect(
    target: Annotated[
        str,
        typer.Argument(
            metavar="FILE|DIRECTORY|CELL",
            help="A model, weights, an engine, a spec, a lockfile, scales, a calibration cache; or a built cell.",
        ),
    ],
    shapes: Annotated[
        list[str] | None,
        typer.Option("--shape", metavar="INPUT=SHAPE", help="Reckon costs at this shape: x=1x3x224x224."),
    ] = None,
    gpus: Annotated[
        list[str] | None,
        typer.Option("--for", metavar="GPU[,GPU]", help="Only these GPUs: sm89,sm120 or rtx4090."),
    ] = None,
    layers: Annotated[bool, typer.Option("--layers", help="A line for every node or layer.")] = False,
    weights: Annotated[
        bool, typer.Option("--weights", help="Read all weights, and tell their statistics.")
    ] = False,
    caffemodel: Annotated[
        Path | None, typer.Option("--caffemodel", metavar="FILE", help="The weights of a prototxt.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show what a model, weights, an engine or a project's file is; nothing is built, and no GPU is needed."""

    def body() -> int:
        from trtpipe.cli.inspecting import inspect_command

        return inspect_command(
            target,
            shapes=shapes or (),
            gpus=gpus or (),
            layers=layers,
            weights=weights,
            caffemodel=caffemodel,
            as_json=as_json,
        )

    run(body)


@app.command()
def schema(
    kind: Annotated[
        str, typer.Argument(metavar="[pipeline|dataset|project]", help="Which file.")
    ] = "pipeline",
) -> None:
    """Print the JSON Schema of a spec, for editors."""

    def body() -> int:
        from trtpipe.cli.starting import schema_command

        return schema_command(kind)

    run(body)


@app.command()
def doctor(as_json: Json = False) -> None:
    """Say what this machine can build and run, and why not the rest."""

    def body() -> int:
        from trtpipe.cli.inspecting import doctor_command

        return doctor_command(as_json=as_json)

    run(body)
