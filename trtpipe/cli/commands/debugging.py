"""Commands that find what costs accuracy: sensitivity, debug."""

from __future__ import annotations

from typing import Annotated

import typer

from trtpipe.cli.app import Json, VariantCell, Where, app, run


@app.command()
def sensitivity(
    cell: VariantCell,
    specs: Where = None,
    metric: Annotated[str, typer.Option(help="What the outputs are compared by.")] = "cosine",
    samples: Annotated[
        int | None, typer.Option(min=1, help="At most this many samples of the validation data.")
    ] = None,
    kept: Annotated[
        bool, typer.Option("--kept", help="Also measure each unit kept while all others are lowered.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Rank the layers of a variant by what their precision does to its outputs."""

    def body() -> int:
        from trtpipe.cli.diagnosing import sensitivity_command

        return sensitivity_command(
            cell, specs or [], metric=metric, samples=samples, kept=kept, as_json=as_json
        )

    run(body)


@app.command()
def debug(cell: VariantCell, specs: Where = None, as_json: Json = False) -> None:
    """Find the fewest nodes whose precision makes a variant miss its thresholds."""

    def body() -> int:
        from trtpipe.cli.diagnosing import debug_command

        return debug_command(cell, specs or [], as_json=as_json)

    run(body)
