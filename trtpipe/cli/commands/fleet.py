"""Commands about the machines that build for you."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from trtpipe.cli.app import Certificates, Insecure, Json, Scheduler, Specs, app, fleet_app, run


@fleet_app.command("keygen")
def fleet_keygen(
    to: Annotated[
        Path | None,
        typer.Option("--to", metavar="DIR", help="Where they go; `fleet` in your configuration if left out."),
    ] = None,
    hosts: Annotated[
        list[str] | None,
        typer.Option("--host", metavar="NAME", help="Name or IP address of a machine of the fleet."),
    ] = None,
    days: Annotated[int, typer.Option("--days", metavar="N", help="For how long they are valid.")] = 365,
    renew: Annotated[
        bool, typer.Option("--renew", help="Replace the certificates there by new ones from the same CA.")
    ] = False,
) -> None:
    """Make the certificates of a fleet: a CA, and one each for the scheduler, the agents and the clients."""

    def body() -> int:
        from trtpipe.cli.fleets.keygen import keygen_command

        return keygen_command(to, hosts or [], days, renew=renew)

    run(body)


WithStarter = Annotated[
    bool,
    typer.Option(
        "--with-starter", hidden=True, help="Take variables from standard input, and end when it is closed."
    ),
]


@app.command()
def agent(
    scheduler: Annotated[
        str | None,
        typer.Argument(help="The scheduler's address, tls://HOST:PORT; $TRTPIPE_SCHEDULER if left out."),
    ] = None,
    name: Annotated[str | None, typer.Option(help="The agent's name; this machine's if left out.")] = None,
    lanes: Annotated[
        int | None,
        typer.Option(min=1, help="Steps without a GPU at a time; the number of cores if left out."),
    ] = None,
    one: Annotated[bool, typer.Option("--one", help="Take one piece of work, then end.")] = False,
    offline: Annotated[bool, typer.Option("--offline", help="Install no TensorRT.")] = False,
    host: Annotated[str, typer.Option(help="Where clients reach this machine; found out if left out.")] = "",
    certificates: Certificates = None,
    insecure: Insecure = False,
    store_size: Annotated[
        str, typer.Option(metavar="SIZE", help="How large the agent's store may become, such as 200GiB.")
    ] = "50GiB",
    project_code: Annotated[
        bool,
        typer.Option(
            "--allow-project-code", help="Run plugins, data sets in Python and lowerings of any project."
        ),
    ] = False,
    with_starter: WithStarter = False,
) -> None:
    """Offer this machine's GPUs, TensorRT versions and cores to builds on other machines."""

    def body() -> int:
        from trtpipe.cli.fleets.agent import AgentArguments, agent_command

        asked = (scheduler, name, lanes, one, offline, host, certificates, insecure)
        return agent_command(AgentArguments(*asked, store_size, project_code, with_starter))

    run(body)


@fleet_app.command("scheduler")
def fleet_scheduler(
    address: Annotated[
        str, typer.Argument(help="Where to listen: tls://HOST:PORT; 0.0.0.0 for every network.")
    ] = "tls://0.0.0.0:8786",
    certificates: Certificates = None,
    insecure: Insecure = False,
    with_starter: WithStarter = False,
) -> None:
    """Run the scheduler that agents and builds connect to."""

    def body() -> int:
        from trtpipe.cli.fleets.agent import scheduler_command

        return scheduler_command(address, certificates, insecure=insecure, with_starter=with_starter)

    run(body)


@fleet_app.command("start")
def fleet_start(
    file: Annotated[
        Path, typer.Option("--file", "-f", metavar="FILE", help="The machines: your fleet.yaml.")
    ],
    once: Annotated[
        bool, typer.Option("--once", help="Start nothing again that cannot be started or ends.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be run on each machine, and connect to none.")
    ] = False,
) -> None:
    """Start a scheduler and agents over SSH, and keep them running until Ctrl-C."""

    def body() -> int:
        from trtpipe.cli.fleets.start import start_command

        return start_command(file, once=once, dry_run=dry_run)

    run(body)


@fleet_app.command("status")
def fleet_status(
    specs: Specs = None,
    scheduler: Scheduler = None,
    certificates: Certificates = None,
    insecure: Insecure = False,
    as_json: Json = False,
) -> None:
    """Show the machines of a fleet: what each can do and is doing, and which cells none of them can serve."""

    def body() -> int:
        from trtpipe.cli.fleets.agent import status_command
        from trtpipe.cli.fleets.use import FleetOptions

        options = FleetOptions("dask", scheduler, certificates, insecure)
        return status_command(options, specs or [], as_json=as_json)

    run(body)
