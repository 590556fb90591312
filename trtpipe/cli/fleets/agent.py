"""`trtpipe agent`, `trtpipe fleet scheduler` and `trtpipe fleet status`."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from trtpipe.cli.fleets.use import FleetOptions, require_dask
from trtpipe.cli.output import EXIT_DONE, note, say, say_json
from trtpipe.errors import FleetError, Problem, SpecError
from trtpipe.files import temporary_folder
from trtpipe.fleet.starter import follow_starter
from trtpipe.loader.user import load_user
from trtpipe.permissions import ALLOW_ALL
from trtpipe.problem_codes import Code
from trtpipe.shapes import format_size, parse_size

if TYPE_CHECKING:
    from trtpipe.fleet.connection import Fleet, SeenAgent
    from trtpipe.fleet.places import FleetAddress


@dataclass(frozen=True, slots=True)
class AgentArguments:
    """The options of `trtpipe agent`."""

    scheduler: str | None
    name: str | None = None
    lanes: int | None = None
    one: bool = False
    offline: bool = False
    host: str = ""
    certificates: Path | None = None
    insecure: bool = False
    store_size: str = "50GiB"
    project_code: bool = False
    with_starter: bool = False


def agent_command(asked: AgentArguments) -> int:
    """Run an agent until it is told to end."""
    require_dask()
    from trtpipe.agent.service import AgentOptions, AgentService
    from trtpipe.agent.store import open_agent_store
    from trtpipe.building.build import default_jobs
    from trtpipe.fleet.places import certificates_for

    if asked.with_starter:
        follow_starter()
    size = _size(asked.store_size)
    if asked.project_code:
        os.environ[ALLOW_ALL] = "1"
    address = _address(asked.scheduler)
    files = certificates_for(address, "agent", asked.certificates, insecure=asked.insecure)
    name = asked.name or socket.gethostname()
    options = AgentOptions(
        address, name, asked.lanes or default_jobs(), asked.one, not asked.offline, asked.host
    )
    with temporary_folder("agent") as folder:
        kept = open_agent_store(Path(folder), size)
        for text in kept.store.warnings:
            note(f"warning: {text}")
        asyncio.run(AgentService(options, kept, files, Path(folder), note).run())
    return EXIT_DONE


def _size(text: str) -> int:
    try:
        return parse_size(text)
    except ValueError as error:
        raise SpecError(Code.BAD_ARGUMENT, f"--store-size: {error}") from None


def scheduler_command(
    address: str, certificates: Path | None, *, insecure: bool, with_starter: bool = False
) -> int:
    """Run a scheduler until it is told to end."""
    require_dask()
    if with_starter:
        follow_starter()
    from trtpipe.agent.scheduler import run_scheduler
    from trtpipe.fleet.places import certificates_for, parse_address

    found = parse_address(address, "the address to listen at")
    files = certificates_for(found, "scheduler", certificates, insecure=insecure)
    asyncio.run(run_scheduler(found, files, note))
    return EXIT_DONE


def status_command(options: FleetOptions, specs: Sequence[str], *, as_json: bool) -> int:
    """Show the agents of a fleet, what each can serve and is doing, and what of the project nobody can serve."""
    require_dask()
    from trtpipe.fleet.certificates import dask_security
    from trtpipe.fleet.connection import open_fleet
    from trtpipe.fleet.places import certificates_for

    address = _address(options.scheduler)
    files = certificates_for(address, "client", options.certificates, insecure=options.insecure)
    with open_fleet(str(address), None if files is None else dask_security(files)) as fleet:
        rows = [(agent, _running(fleet, agent)) for agent in fleet.agents()]
        others, problems = fleet.others(), _unserved(fleet, specs)
    if as_json:
        say_json(_status_json(rows, others, problems))
        return EXIT_DONE
    for agent, running in rows:
        _show(agent, running)
    for where, why in others.items():
        say(f"{where}: {why}")
    if not rows:
        say(f"no agent is connected to {address}")
    for problem in problems:
        say(str(problem))
    return EXIT_DONE


def _unserved(fleet: Fleet, specs: Sequence[str]) -> list[Problem]:
    """What the cells of the project here need and no agent offers; nothing outside a project."""
    from trtpipe.building.on_fleet import needs_of_plan, unserved
    from trtpipe.building.planned import make_plan
    from trtpipe.fleet.lanes import Lanes
    from trtpipe.loader.project import PIPELINES
    from trtpipe.workspace.workspace import open_workspace

    if not specs and not Path(PIPELINES).is_dir():
        return []
    planned = make_plan(open_workspace(specs, only_to_look=True))
    return unserved(needs_of_plan(planned), Lanes(fleet), planned.plan)


def _address(given: str | None) -> FleetAddress:
    from trtpipe.fleet.places import VARIABLE, scheduler_address

    found = scheduler_address(given, load_user())
    if found is None:
        raise FleetError(
            Code.BAD_ARGUMENT,
            "no scheduler is named",
            f"give its address, such as tls://HOST:8786, or set ${VARIABLE}",
        )
    return found


def _running(fleet: Fleet, agent: SeenAgent) -> list[dict[str, object]]:
    import json

    from trtpipe.fleet import entry
    from trtpipe.fleet.connection import AgentLost

    try:
        found = json.loads(fleet.call(agent, entry.running))
    except (AgentLost, ValueError):
        return []
    return found if isinstance(found, list) else []


def _show(agent: SeenAgent, running: list[dict[str, object]]) -> None:
    labels = agent.labels
    machine = labels.machine
    memory = f", {format_size(machine.memory)}" if machine.memory else ""
    say(
        f"{agent.name}: {machine.system} {machine.architecture}, {machine.cores} cores{memory}, "
        f"{labels.python}, trtpipe {labels.trtpipe}"
    )
    for gpu in labels.gpus:
        driver = f", driver {gpu.driver}" if gpu.driver else ""
        say(
            f"  gpu {gpu.index}: {gpu.name} ({gpu.compute_capability.sm}), {format_size(gpu.memory_bytes)}{driver}"
        )
    say("  toolchains: " + (", ".join(map(str, labels.toolchains)) or "none installed"))
    if labels.installs:
        say("  installs other versions of " + " and ".join(labels.installs))
    for one in running:
        say(f"  runs {one.get('what')} for {one.get('seconds')} s")


def _status_json(
    rows: list[tuple[SeenAgent, list[dict[str, object]]]], others: object, problems: Sequence[Problem]
) -> dict[str, object]:
    import json

    agents = []
    for agent, running in rows:
        record = json.loads(agent.labels.to_text())
        record["exchange"].pop("token", None)
        agents.append({"address": agent.address, "labels": record, "running": running})
    unserved = [
        {"code": str(one.code), "fact": one.fact, "reasons": (one.details or one.remedy).splitlines()}
        for one in problems
    ]
    return {"schema": 1, "agents": agents, "others": others, "unserved": unserved}
