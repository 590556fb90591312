"""Commands that find what costs accuracy, or what fails: sensitivity, and debug with what it can do."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from trtpipe.cli.app import (
    Certificates,
    Executor,
    Insecure,
    Json,
    Scheduler,
    VariantCell,
    WaitForAgents,
    Where,
    app,
    run,
)

_PRECISION = "precision"
_OF_A_CELL = "/@*-"
"""What distinguishes a cell, or an option before it, from a command."""


class _Debug(TyperGroup):
    """`debug CELL` is short for `debug precision CELL`: a cell's name has a slash, a command's has none."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401 - click's, or typer's copy
        if args and args[0] != "--help" and any(mark in args[0] for mark in _OF_A_CELL):
            args = [_PRECISION, *args]
        return super().parse_args(ctx, args)


debug_app = typer.Typer(
    cls=_Debug,
    help="Find what is wrong with a cell. `trtpipe debug CELL` is short for `trtpipe debug precision CELL`.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(debug_app, name="debug")


@app.command()
def sensitivity(
    cell: VariantCell,
    specs: Where = None,
    metric: Annotated[str, typer.Option(help="The metric by which outputs are compared.")] = "cosine",
    samples: Annotated[
        int | None, typer.Option(min=1, help="At most this many samples of the validation data.")
    ] = None,
    kept: Annotated[
        bool, typer.Option("--kept", help="Also measure each unit kept while all others are lowered.")
    ] = False,
    executor: Executor = None,
    scheduler: Scheduler = None,
    certificates: Certificates = None,
    insecure: Insecure = False,
    wait_for_agents: WaitForAgents = 0.0,
    as_json: Json = False,
) -> None:
    """Rank the layers of a variant by the effect of their precision on its outputs."""

    def body() -> int:
        from trtpipe.cli.debugging.precision import HowToRank, sensitivity_command
        from trtpipe.cli.fleets.use import FleetOptions

        fleet = FleetOptions(executor, scheduler, certificates, insecure, wait_for_agents)
        return sensitivity_command(
            cell, specs or [], fleet, how=HowToRank(metric, samples, kept), as_json=as_json
        )

    run(body)


@debug_app.command(name=_PRECISION)
def precision(
    cell: VariantCell,
    specs: Where = None,
    compare_all: Annotated[
        bool, typer.Option("--compare-all", help="The same as `trtpipe debug compare`.")
    ] = False,
    executor: Executor = None,
    scheduler: Scheduler = None,
    certificates: Certificates = None,
    insecure: Insecure = False,
    wait_for_agents: WaitForAgents = 0.0,
    as_json: Json = False,
) -> None:
    """Find the fewest nodes whose precision makes a variant miss its thresholds."""

    def body() -> int:
        from trtpipe.cli.fleets.use import FleetOptions

        fleet = FleetOptions(executor, scheduler, certificates, insecure, wait_for_agents)
        if compare_all:
            from trtpipe.cli.debugging.compare import compare_command

            return compare_command(cell, specs or [], fleet, samples=None, as_json=as_json)
        from trtpipe.cli.debugging.precision import debug_command

        return debug_command(cell, specs or [], fleet, as_json=as_json)

    run(body)


@debug_app.command()
def compare(
    cell: VariantCell,
    specs: Where = None,
    network: Annotated[
        bool,
        typer.Option("--network", help="Compare with the network that TensorRT's parser makes of the model."),
    ] = False,
    samples: Annotated[
        int | None, typer.Option(min=1, help="At most this many samples of the validation data.")
    ] = None,
    executor: Executor = None,
    scheduler: Scheduler = None,
    certificates: Certificates = None,
    insecure: Insecure = False,
    wait_for_agents: WaitForAgents = 0.0,
    as_json: Json = False,
) -> None:
    """Compare every tensor with the source's, or with TensorRT's network, and name the first difference."""

    def body() -> int:
        from trtpipe.cli.fleets.use import FleetOptions

        fleet = FleetOptions(executor, scheduler, certificates, insecure, wait_for_agents)
        if network:
            from trtpipe.cli.debugging.compare_networks import compare_network_command

            return compare_network_command(cell, specs or [], fleet, samples=samples, as_json=as_json)
        from trtpipe.cli.debugging.compare import compare_command

        return compare_command(cell, specs or [], fleet, samples=samples, as_json=as_json)

    run(body)


@debug_app.command()
def reduce(
    cell: VariantCell,
    specs: Where = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", metavar="DIR", help="A new directory; default: reduced-CELL."),
    ] = None,
    max_trials: Annotated[
        int | None, typer.Option("--max-trials", min=1, help="Stop after this many trials.")
    ] = None,
    time_limit: Annotated[
        float | None,
        typer.Option("--time-limit", min=0, metavar="SECONDS", help="Stop after this many seconds."),
    ] = None,
    executor: Executor = None,
    scheduler: Scheduler = None,
    certificates: Certificates = None,
    insecure: Insecure = False,
    wait_for_agents: WaitForAgents = 0.0,
    as_json: Json = False,
) -> None:
    """Find the smallest part of a model that still fails in the same way."""

    def body() -> int:
        from trtpipe.app.debug.reduce import Limits
        from trtpipe.cli.debugging.reduce import reduce_command
        from trtpipe.cli.fleets.use import FleetOptions

        fleet = FleetOptions(executor, scheduler, certificates, insecure, wait_for_agents)
        return reduce_command(
            cell, specs or [], fleet, output=output, limits=Limits(max_trials, time_limit), as_json=as_json
        )

    run(body)


@debug_app.command()
def repro(
    cell: VariantCell,
    specs: Where = None,
    output: Annotated[
        Path | None, typer.Option("--output", metavar="DIR", help="A new directory; default: repro-CELL.")
    ] = None,
    step: Annotated[
        str, typer.Option("--step", metavar="STAGE", help="The step of this stage, even if it does not fail.")
    ] = "",
    random_weights: Annotated[
        bool,
        typer.Option(
            "--random-weights",
            help="Replace weights by random ones of the same shapes, so that the directory can be shared.",
        ),
    ] = False,
    executor: Executor = None,
    scheduler: Scheduler = None,
    certificates: Certificates = None,
    insecure: Insecure = False,
    wait_for_agents: WaitForAgents = 0.0,
    as_json: Json = False,
) -> None:
    """Write a cell's failing step as a directory that reproduces it elsewhere with one command."""

    def body() -> int:
        from trtpipe.cli.debugging.repro import WhatToWrite, repro_command
        from trtpipe.cli.fleets.use import FleetOptions

        fleet = FleetOptions(executor, scheduler, certificates, insecure, wait_for_agents)
        return repro_command(
            cell, specs or [], fleet, what=WhatToWrite(output, step, random_weights), as_json=as_json
        )

    run(body)
