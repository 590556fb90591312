"""Commands that describe something: inspect, diff, schema, doctor."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from trtpipe.cli.app import Json, With, app, run


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
        typer.Option("--shape", metavar="INPUT=SHAPE", help="Estimate costs at this shape: x=1x3x224x224."),
    ] = None,
    gpus: Annotated[
        list[str] | None,
        typer.Option("--for", metavar="GPU[,GPU]", help="Only these GPUs: sm89,sm120 or rtx4090."),
    ] = None,
    layers: Annotated[bool, typer.Option("--layers", help="Show a line for every node or layer.")] = False,
    weights: Annotated[
        bool, typer.Option("--weights", help="Read all weights and show their statistics.")
    ] = False,
    companion: With = None,
    caffemodel: Annotated[Path | None, typer.Option("--caffemodel", hidden=True)] = None,
    network: Annotated[
        bool,
        typer.Option(
            "--network", help="For a cell: show the network that TensorRT's parser makes of its model."
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Describe a model, weights, an engine or a project's file, without building anything and without a GPU."""

    second = companion or caffemodel  # `--caffemodel` is the former name of `--with`

    def body() -> int:
        if network:
            from trtpipe.cli.inspect_networks import inspect_network_command

            others = bool(shapes or gpus or layers or weights or second)
            return inspect_network_command(target, with_others=others, as_json=as_json)
        from trtpipe.cli.inspect import Wanted, inspect_command

        wanted = Wanted(shapes or (), gpus or (), layers, weights)
        return inspect_command(target, wanted, companion=second, as_json=as_json)

    run(body)


_SIDE = "A model, weights, an engine, a lockfile, scales, a built cell, or REVISION:FILE of git."


@app.command()
def diff(
    a: Annotated[str, typer.Argument(metavar="OLD", help=_SIDE)],
    b: Annotated[str, typer.Argument(metavar="NEW", help="Another one of the same kind.")],
    companions: Annotated[
        list[Path] | None,
        typer.Option(
            "--with",
            metavar="FILE",
            help="A second file of OLD, such as the weights of a prototxt; given twice, the second is for NEW.",
        ),
    ] = None,
    as_json: Json = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Write Markdown, for a pull request.")] = False,
    exit_code: Annotated[bool, typer.Option("--exit-code", help="Exit with 1 when they differ.")] = False,
) -> None:
    """Show the changes between two models, engines, lockfiles or files of weights, without a GPU."""

    def body() -> int:
        from trtpipe.cli.diff import diff_command

        return diff_command(
            a, b, companions=companions or (), as_json=as_json, markdown=markdown, exit_code=exit_code
        )

    run(body)


@app.command()
def schema(
    kind: Annotated[
        str, typer.Argument(metavar="[pipeline|dataset|project|fleet|report]", help="Which file.")
    ] = "pipeline",
) -> None:
    """Print the JSON Schema of a spec, for editors, or of report.json."""

    def body() -> int:
        from trtpipe.cli.schema import schema_command

        return schema_command(kind)

    run(body)


@app.command()
def doctor(as_json: Json = False) -> None:
    """Report what this machine can build and run, and why it cannot do the rest."""

    def body() -> int:
        from trtpipe.cli.inspect import doctor_command

        return doctor_command(as_json=as_json)

    run(body)
