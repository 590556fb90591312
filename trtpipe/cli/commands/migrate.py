"""Commands that convert files of other tools."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from trtpipe.cli.app import Json, migrate_app, run


@migrate_app.command("calibration-cache")
def migrate_calibration_cache(
    cache: Annotated[Path, typer.Argument(help="A calibration cache of TensorRT, ONNX Runtime or TAO.")],
    model: Annotated[Path, typer.Argument(help="The ONNX model that it belongs to, or a pipeline's spec.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write the scales as scales.json.")
    ] = None,
    qdq: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Write the model with its Q and DQ, for any strongly typed TensorRT."
        ),
    ] = None,
    base: Annotated[
        str,
        typer.Option(
            metavar="fp32|fp16|bf16", help="With --qdq: the type in which everything else computes."
        ),
    ] = "fp32",
    cache_format: Annotated[
        str | None,
        typer.Option(
            "--format", help="tensorrt, onnxruntime, json or trtpipe; default: detected from the content."
        ),
    ] = None,
    min_coverage: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="The minimum share of tensors that the cache must cover; default: that of a spec.",
        ),
    ] = None,
    rename: Annotated[
        list[str] | None, typer.Option(metavar="OLD=NEW", help="Rename an entry of the cache; * is allowed.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace existing files.")] = False,
    as_json: Json = False,
) -> None:
    """Show how a calibration cache fits a model, and convert it."""

    def body() -> int:
        from trtpipe.cli.caches import MigrateOptions, migrate_command

        options = MigrateOptions(
            output, qdq, base, cache_format, min_coverage, tuple(rename or ()), force, as_json
        )
        return migrate_command(cache, model, options)

    run(body)
