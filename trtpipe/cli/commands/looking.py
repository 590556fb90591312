"""Commands that tell: inspect, schema, doctor."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from trtpipe.cli.app import Json, app, run


@app.command()
def inspect(
    file: Annotated[Path, typer.Argument(help="An ONNX model, an engine, or a pipeline's spec.")],
    as_json: Json = False,
) -> None:
    """Show what a model, an engine or a pipeline's model is; an engine needs no GPU for it."""

    def body() -> int:
        from trtpipe.cli.inspecting import inspect_command

        return inspect_command(file, as_json=as_json)

    run(body)


@app.command()
def schema(
    kind: Annotated[
        str, typer.Argument(metavar="[pipeline|dataset|project|report]", help="Which file.")
    ] = "pipeline",
) -> None:
    """Print the JSON Schema of a spec, for editors, or of report.json."""

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
