"""Commands from a model to engines: init, check, plan, explain, build."""

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
    Only,
    Scheduler,
    Specs,
    WaitForAgents,
    With,
    app,
    run,
)


@app.command()
def init(
    model: Annotated[
        str,
        typer.Argument(help="A model inside the project, or an https://, s3://, gs:// or hf:// address."),
    ],
    companion: With = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Where to write the spec; default: pipelines/NAME.yaml."),
    ] = None,
    name: Annotated[str | None, typer.Option(help="The pipeline's name; default: the file's name.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing spec.")] = False,
    to_stdout: Annotated[
        bool, typer.Option("--stdout", help="Print the spec instead of writing it.")
    ] = False,
) -> None:
    """Write a commented, tested spec for a model."""

    def body() -> int:
        from trtpipe.cli.init import init_command

        return init_command(model, output, name, companion=companion, force=force, to_stdout=to_stdout)

    run(body)


@app.command()
def check(
    specs: Specs = None,
    only: Only = None,
    offline: Offline = False,
    parse: Annotated[
        bool, typer.Option("--parse/--no-parse", help="Have TensorRT's parser read the typed models.")
    ] = True,
    quality: Annotated[
        Path | None,
        typer.Option(
            "--code-quality", metavar="FILE", help="Write the problems for GitLab, as Code Quality."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Prove everything that can be proved without building."""

    def body() -> int:
        from trtpipe.cli.check import check_command

        return check_command(
            specs or [], only or [], as_json=as_json, offline=offline, parse=parse, quality=quality
        )

    run(body)


@app.command()
def plan(
    specs: Specs = None,
    only: Only = None,
    as_json: Json = False,
    graph: Annotated[
        str | None, typer.Option("--graph", metavar="mermaid", help="Print a graph instead of a table.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Plan as if nothing had been built.")] = False,
    why: Annotated[
        bool,
        typer.Option("--why", help="The whole chain behind each decision, with the commit that changed it."),
    ] = False,
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help="Exit with 1 if a step would run, or something would fail.")
    ] = False,
) -> None:
    """Show every step with its decision and the reason."""

    def body() -> int:
        from trtpipe.cli.plan import Form, plan_command

        form = Form(as_json, graph, why)
        return plan_command(specs or [], only or [], form, force=force, exit_code=exit_code)

    run(body)


@app.command()
def explain(
    cell: Annotated[str, typer.Argument(help="A cell: PIPELINE/VARIANT@TARGET.")],
    specs: Annotated[
        list[str] | None, typer.Argument(metavar="[SPEC]...", help="Where it is declared.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Explain a cell's keys: what they consist of, and what changed."""

    def body() -> int:
        from trtpipe.cli.plan import explain_command

        return explain_command(cell, specs or [], as_json=as_json)

    run(body)


@app.command()
def build(
    specs: Specs = None,
    only: Only = None,
    jobs: Annotated[
        int | None,
        typer.Option("--jobs", "-j", min=1, help="Steps to run at a time; default: the number of cores."),
    ] = None,
    keep_going: Annotated[
        bool,
        typer.Option(
            "--keep-going", "-k", help="After a failure, continue with everything that does not depend on it."
        ),
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Run every step, even if its result is known.")
    ] = False,
    search_again: Annotated[
        bool,
        typer.Option("--search-again", help="Search auto variants again, ignoring the lockfile's choices."),
    ] = False,
    frozen: Annotated[
        bool,
        typer.Option("--frozen", help="Fail if the result differs from the lockfile; write no lockfile."),
    ] = False,
    check: Annotated[
        bool,
        typer.Option("--check", help="Build in a scratch directory and compare with the lockfile."),
    ] = False,
    offline: Offline = False,
    require_remote: Annotated[
        bool, typer.Option("--require-remote", help="Fail when the remote store cannot be used.")
    ] = False,
    executor: Executor = None,
    scheduler: Scheduler = None,
    certificates: Certificates = None,
    insecure: Insecure = False,
    wait_for_agents: WaitForAgents = 0.0,
    profile: Annotated[
        Path | None,
        typer.Option(
            "--profile",
            metavar="FILE",
            help="Write what took how long, for chrome://tracing or ui.perfetto.dev; the report draws it.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Build and validate what is not up to date, and write the lockfile."""

    def body() -> int:
        from trtpipe.cli.build import build_command
        from trtpipe.cli.build_options import BuildOptions
        from trtpipe.cli.fleets.use import FleetOptions

        fleet = FleetOptions(executor, scheduler, certificates, insecure, wait_for_agents)
        told = (jobs, keep_going, force, offline, as_json, search_again, frozen, check, require_remote)
        return build_command(BuildOptions(specs or [], only or [], *told, fleet, profile))

    run(body)
