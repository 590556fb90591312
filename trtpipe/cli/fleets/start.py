"""`trtpipe fleet start`: starts a scheduler and agents over SSH."""

from __future__ import annotations

import asyncio
from pathlib import Path

from trtpipe.cli.fleets.use import require_dask
from trtpipe.cli.output import EXIT_DONE, EXIT_FAILED, note, say
from trtpipe.hosts.launches import Fleet, Launch, fleet_of
from trtpipe.loader.fleet import load_fleet


def start_command(file: Path, *, once: bool, dry_run: bool) -> int:
    """Start what the file describes and keep it running until a signal arrives; with `dry_run` only show it.

    With `once`, a process that could not be started, or ended by itself, makes the command fail.
    """
    fleet = fleet_of(load_fleet(file))
    if dry_run:
        for launch in (fleet.scheduler, *fleet.agents):
            _show(launch)
        return EXIT_DONE
    require_dask("asyncssh")
    _say_how_to_use(fleet)
    from trtpipe.hosts.keeper import keep_fleet

    return EXIT_DONE if asyncio.run(keep_fleet(fleet, note, once=once)) else EXIT_FAILED


def _show(launch: Launch) -> None:
    say(f"{launch.name} on {launch.place}:")
    if launch.files:
        say("  copies " + ", ".join(str(one) for one in launch.files))
    if launch.environment:
        say("  passes on " + ", ".join(launch.environment))
    say(f"  {launch.command}")


def _say_how_to_use(fleet: Fleet) -> None:
    note(f"builds reach this fleet with --executor dask --scheduler {fleet.address}")
