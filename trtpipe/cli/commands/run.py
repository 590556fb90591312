"""Commands that run what was built: run, bench."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from trtpipe.cli.app import (
    Certificates,
    Executor,
    Insecure,
    Json,
    Scheduler,
    WaitForAgents,
    app,
    run,
)

Cpu = Annotated[bool, typer.Option("--cpu", help="Run the typed model on the CPU instead of the engine.")]
RequireGpu = Annotated[bool, typer.Option("--require-gpu", help="Fail if the engine cannot run here.")]
Device = Annotated[
    int, typer.Option(min=0, help="The GPU, by its index among those that CUDA_VISIBLE_DEVICES selects.")
]
Trust = Annotated[
    list[str] | None,
    typer.Option(
        "--trust", metavar="DIGEST", help="The BLAKE3 of an engine that is in no manifest and may be run."
    ),
]
Shape = Annotated[
    list[str] | None, typer.Option("--shape", metavar="NAME=1x3x224x224", help="The shape of an input.")
]
Profile = Annotated[int | None, typer.Option(min=0, help="Only this profile, by its index.")]
Threads = Annotated[int, typer.Option(min=0, max=1024, help="Threads on the CPU; 0 means one per core.")]
Seed = Annotated[int, typer.Option(min=0, help="The seed of random inputs.")]

Input = Annotated[
    list[str] | None,
    typer.Option(
        "--input",
        "-i",
        metavar="[NAME=]FILE",
        help="NAME=FILE.npy, FILE.npz with arrays by input, or an image (with --data).",
    ),
]


@app.command("run")
def run_(
    what: Annotated[
        str,
        typer.Argument(
            metavar="CELL|DIRECTORY|FILE", help="A built cell, its directory, an engine or a typed model."
        ),
    ],
    input_: Input = None,
    data: Annotated[
        str | None,
        typer.Option(
            help="A data set of calibration/: use its samples, or its preprocessing for the given images."
        ),
    ] = None,
    samples: Annotated[int | None, typer.Option(min=1, help="At most this many samples of the set.")] = None,
    random: Annotated[bool, typer.Option("--random", help="Run it on random inputs.")] = False,
    seed: Seed = 0,
    shape: Shape = None,
    profile: Profile = None,
    batch: Annotated[int | None, typer.Option(min=1, help="At most this many rows per run.")] = None,
    cast: Annotated[bool, typer.Option("--cast", help="Convert arrays to the inputs' types.")] = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE.npz", help="Save the outputs by name.")
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A file of class names, one per line; the best classes are shown."),
    ] = None,
    top_k: Annotated[
        int | None, typer.Option("--top-k", min=1, help="How many classes are shown; 5 with --labels.")
    ] = None,
    cpu: Cpu = False,
    require_gpu: RequireGpu = False,
    device: Device = 0,
    trust: Trust = None,
    threads: Threads = 0,
    executor: Executor = None,
    scheduler: Scheduler = None,
    certificates: Certificates = None,
    insecure: Insecure = False,
    wait_for_agents: WaitForAgents = 0.0,
    as_json: Json = False,
) -> None:
    """Run an engine (or its typed model, if it cannot run here) on files, images, samples or random inputs."""

    def body() -> int:
        from trtpipe.app.engines.choice import Where
        from trtpipe.app.engines.inputs import FeedRequest
        from trtpipe.app.engines.run import InferRequest
        from trtpipe.cli.fleets.use import FleetOptions
        from trtpipe.cli.run import infer_command

        fleet = FleetOptions(executor, scheduler, certificates, insecure, wait_for_agents)
        feed = FeedRequest(input_ or [], data, samples, random, seed, shape or [], profile, batch, cast)
        where = Where(cpu, require_gpu, device, trust or [], threads)
        asked = InferRequest(what, feed, where, labels, top_k, output)
        return infer_command(asked, fleet, as_json=as_json)

    run(body)


Cells = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="CELL|DIRECTORY...", help="Built cells (globs allowed), their directories, engines or models."
    ),
]
Streams = Annotated[
    str, typer.Option(metavar="1,2,4", help="Numbers of concurrent inferences for measuring throughput.")
]
Graphs = Annotated[
    str,
    typer.Option(
        metavar="off|on|rtx|both",
        help="CUDA graphs: captured by trtpipe (on) or by TensorRT-RTX itself (rtx).",
    ),
]
WarmUp = Annotated[int, typer.Option(min=0, max=100_000, help="Untimed runs at the beginning.")]
Window = Annotated[float, typer.Option(help="The minimum duration of a window in seconds.")]
Within = Annotated[
    float, typer.Option(help="The percentage within which the medians of three windows must agree.")
]
TimeLimit = Annotated[
    float,
    typer.Option("--time-limit", help="Seconds after which a measurement ends even if it is not stable."),
]
Compare = Annotated[Path | None, typer.Option(metavar="FILE", help="A bench.json to compare with.")]
Alone = Annotated[
    bool, typer.Option("--alone", help="Do not compare with the fp32 variant or the last result.")
]
Result = Annotated[
    Path | None, typer.Option("--output", "-o", metavar="FILE", help="Where to write the result instead.")
]


@app.command()
def bench(
    what: Cells = None,
    streams: Streams = "1",
    graph: Graphs = "off",
    shape: Shape = None,
    profile: Profile = None,
    seed: Seed = 0,
    warm_up: WarmUp = 10,
    window: Window = 0.5,
    within: Within = 2.0,
    time_limit: TimeLimit = 30.0,
    compare: Compare = None,
    alone: Alone = False,
    output: Result = None,
    cpu: Cpu = False,
    require_gpu: RequireGpu = False,
    device: Device = 0,
    trust: Trust = None,
    threads: Threads = 0,
    executor: Executor = None,
    scheduler: Scheduler = None,
    certificates: Certificates = None,
    insecure: Insecure = False,
    wait_for_agents: WaitForAgents = 0.0,
    as_json: Json = False,
) -> None:
    """Measure latency and throughput of engines, or of their typed models on the CPU if they cannot run here."""

    def body() -> int:
        from trtpipe.app.engines.bench_request import BenchRequest, graph_called, parsed_streams, steady_for
        from trtpipe.app.engines.choice import Where
        from trtpipe.cli.bench import bench_command
        from trtpipe.cli.fleets.use import FleetOptions

        fleet = FleetOptions(executor, scheduler, certificates, insecure, wait_for_agents)
        asked = BenchRequest(
            what or [],
            Where(cpu, require_gpu, device, trust or [], threads),
            streams=parsed_streams(streams),
            graph=graph_called(graph),
            shapes=shape or [],
            profile=profile,
            seed=seed,
            warm_up=warm_up,
            steady=steady_for(window, within, time_limit),
            compare=compare,
            alone=alone,
            output=output,
        )
        return bench_command(asked, fleet, as_json=as_json)

    run(body)
