"""Runs dask's scheduler for a fleet, with the settings that a fleet needs."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from typing import TYPE_CHECKING

from trtpipe.errors import FleetError
from trtpipe.fleet.dask_settings import (
    DASHBOARD,
    LOOPBACK,
    SCHEDULER,
    announce_dashboard,
    has_dashboard,
    quiet_dask,
)
from trtpipe.fleet.places import FleetAddress
from trtpipe.problem_codes import Code

if TYPE_CHECKING:
    from trtpipe.fleet.certificates import TlsFiles


async def run_scheduler(address: FleetAddress, files: TlsFiles | None, say: Callable[[str], None]) -> None:
    """Serve at an address until a signal arrives. Raises FleetError when the port is taken."""
    quiet_dask()
    import dask
    import distributed

    from trtpipe.fleet.certificates import dask_security

    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    shows = has_dashboard()
    with dask.config.set(SCHEDULER):
        try:
            scheduler = await distributed.Scheduler(
                host=address.host.strip("[]"),
                port=address.port,
                protocol=address.scheme,
                security=None if files is None else dask_security(files),
                dashboard=shows,
                dashboard_address=DASHBOARD if shows else LOOPBACK,
            )
        except OSError as error:
            raise FleetError(Code.FLEET_UNREACHABLE, f"cannot listen at {address}: {error}") from error
        async with scheduler:
            if shows:
                say(f"dask's dashboard is at {announce_dashboard(scheduler)}")
            say(f"the scheduler serves {scheduler.address}")
            await ended.wait()
