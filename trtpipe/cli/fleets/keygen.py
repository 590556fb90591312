"""`trtpipe fleet keygen`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from trtpipe.cli.output import EXIT_DONE, note, say
from trtpipe.fleet.certificates import fleet_folder
from trtpipe.fleet.keygen import keygen

_WHAT_NEXT = """\
to the machine of the scheduler copy ca.crt, scheduler.crt and scheduler.key
to the machines of agents copy ca.crt, agent.crt and agent.key
clients need ca.crt, client.crt and client.key
keep ca.key offline: it makes further certificates, and nothing that runs needs it
whoever has a client's key, or any other key of this fleet, can run any code on every agent, because dask unpickles \
what it receives"""


def keygen_command(folder: Path | None, hosts: Sequence[str], days: int, *, renew: bool) -> int:
    """Write the certificates of a fleet, and say where each belongs and what it allows."""
    folder = folder if folder is not None else fleet_folder("--to")
    end = keygen(folder, hosts, days, renew=renew)
    note(f"wrote certificates that are valid until {end:%Y-%m-%d}")
    note(_WHAT_NEXT)
    say(str(folder))
    return EXIT_DONE
