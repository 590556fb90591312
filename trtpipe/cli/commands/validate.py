"""Commands that prove what was built: validate, golden."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from trtpipe.cli.app import (
    Certificates,
    Executor,
    Insecure,
    Json,
    Offline,
    Scheduler,
    WaitForAgents,
    app,
    run,
)

Trust = Annotated[
    list[str] | None,
    typer.Option(
        metavar="BLAKE3", help="The BLAKE3 of an engine that is in no manifest or lockfile and may be run."
    ),
]
Device = Annotated[int, typer.Option(min=0, help="Which GPU.")]
Plugin = Annotated[list[Path] | None, typer.Option(metavar="LIBRARY", help="A plugin library to load first.")]


@app.command()
def validate(
    engines: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[CELL|BUNDLE|DIRECTORY]...",
            help="Cells or bundles of the project, or engine directories that a build wrote; default: all.",
        ),
    ] = None,
    cpu: Annotated[
        bool, typer.Option("--cpu", help="Validate the typed models on the CPU; the engines are not run.")
    ] = False,
    trust: Trust = None,
    device: Device = 0,
    plugin: Plugin = None,
    propose: Annotated[
        bool, typer.Option("--propose", help="Propose thresholds for a cell instead, without a GPU.")
    ] = False,
    seeds: Annotated[
        int, typer.Option(min=1, max=100, help="With --propose: the number of random noise samples.")
    ] = 3,
    seed: Annotated[int, typer.Option(min=0, max=10_000, help="With --propose: the first seed.")] = 0,
    margin: Annotated[
        float,
        typer.Option(
            min=1,
            max=1000,
            help="With --propose: the factor by which errors may exceed the largest measured one.",
        ),
    ] = 3.0,
    offline: Offline = False,
    executor: Executor = None,
    scheduler: Scheduler = None,
    certificates: Certificates = None,
    insecure: Insecure = False,
    wait_for_agents: WaitForAgents = 0.0,
    as_json: Json = False,
) -> None:
    """Run engines on a GPU, of this machine or of a fleet, and compare their outputs with the reference's."""

    def body() -> int:
        from trtpipe.app.prove.validate import HowToValidate
        from trtpipe.cli.fleets.use import FleetOptions
        from trtpipe.cli.validate import propose_command, validate_command

        fleet = FleetOptions(executor, scheduler, certificates, insecure, wait_for_agents)
        how = HowToValidate(cpu, device, tuple(trust or ()), tuple(plugin or ()), offline)
        if propose:
            from trtpipe.app.prove.proposed_thresholds import Noise

            noise = Noise(seeds, seed, margin)
            return propose_command(engines or [], noise, fleet, offline=offline, as_json=as_json)
        return validate_command(engines or [], how, fleet, as_json=as_json)

    run(body)


@app.command()
def golden(
    cell: Annotated[
        str,
        typer.Argument(metavar="CELL|BUNDLE", help="PIPELINE/VARIANT@TARGET, PIPELINE/VARIANT, or a bundle."),
    ],
    engine: Annotated[
        bool,
        typer.Option("--engine", help="Record the engine's outputs on this GPU instead of the reference's."),
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Where to write; default: golden/PIPELINE.npz."),
    ] = None,
    samples: Annotated[int, typer.Option(min=1, help="At most this many samples, in whole batches.")] = 16,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
    trust: Trust = None,
    device: Device = 0,
    plugin: Plugin = None,
    offline: Offline = False,
    executor: Executor = None,
    scheduler: Scheduler = None,
    certificates: Certificates = None,
    insecure: Insecure = False,
    wait_for_agents: WaitForAgents = 0.0,
    as_json: Json = False,
) -> None:
    """Record samples with their outputs, as a reference for later builds."""

    def body() -> int:
        from trtpipe.app.prove.golden import Recording
        from trtpipe.app.prove.validate import HowToValidate
        from trtpipe.cli.fleets.use import FleetOptions
        from trtpipe.cli.validate import golden_command

        fleet = FleetOptions(executor, scheduler, certificates, insecure, wait_for_agents)
        how = HowToValidate(False, device, tuple(trust or ()), tuple(plugin or ()), offline)
        recording = Recording(cell, output, engine, samples, force)
        return golden_command(recording, how, fleet, as_json=as_json)

    run(body)
