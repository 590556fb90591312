"""Loads `fleet.yaml`: reads and validates it, and checks what its parts say of each other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from trtpipe.errors import Problem
from trtpipe.loader.grammar import choose_from
from trtpipe.loader.marks import Document
from trtpipe.loader.refusals import stop_at
from trtpipe.loader.whole_files import whole_file
from trtpipe.problem_codes import Code
from trtpipe.spec.fleet import LOCAL, FleetSpec


def load_fleet(path: Path) -> FleetSpec:
    """The machines that a file describes. Raises SpecError with all its problems."""
    spec, document = whole_file(FleetSpec, path)
    stop_at(list(_problems(spec, document)))
    return spec


def _problems(spec: FleetSpec, document: Document) -> Iterator[Problem]:
    scheduler = spec.scheduler
    if scheduler.host not in (LOCAL, *spec.hosts):
        yield document.problem(
            Code.UNKNOWN_NAME,
            f"no host is called {scheduler.host!r}",
            choose_from(scheduler.host, [LOCAL, *spec.hosts], "hosts"),
            ("scheduler", "host"),
        )
    elif scheduler.host == LOCAL and scheduler.address is None:
        yield document.problem(
            Code.MISSING_KEY,
            "missing key 'address' in 'scheduler': agents must know how to reach this machine",
            "write the name or address by which the hosts reach it: address: desk.example.org",
            ("scheduler",),
        )
    if LOCAL in spec.hosts:
        yield document.problem(
            Code.INVALID_VALUE,
            f"a host is called {LOCAL!r}, which means this machine",
            "give it another name",
            ("hosts", LOCAL),
            key=True,
        )
