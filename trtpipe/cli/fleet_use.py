"""Opens the fleet that a command uses, if it uses one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from trtpipe.errors import SpecError
from trtpipe.loader.project import Project
from trtpipe.loader.user import load_user
from trtpipe.problem_codes import Code
from trtpipe.stores.local import LocalStore

if TYPE_CHECKING:
    from trtpipe.building.on_fleet import FleetUse
    from trtpipe.fleet.certificates import TlsFiles

ExecutorName = Literal["local", "dask"]


@dataclass(frozen=True, slots=True)
class FleetOptions:
    """The options of commands that can use a fleet."""

    executor: str | None = None
    """`local` or `dask`; None for what the project says."""
    scheduler: str | None = None
    certificates: Path | None = None
    insecure: bool = False
    wait_seconds: float = 0.0

    def wanted(self, project: Project) -> bool:
        """Whether the command uses a fleet. Raises SpecError."""
        name = self.executor or (project.spec.executor if project.spec is not None else "local")
        if name not in ("local", "dask"):
            raise SpecError(Code.BAD_ARGUMENT, f"there is no executor {name!r}", "write local or dask")
        if name == "local" and self.scheduler is not None:
            raise SpecError(
                Code.OPTIONS_EXCLUDE, "--scheduler is only for --executor dask", "add --executor dask"
            )
        return name == "dask"


@contextmanager
def opened_fleet(
    options: FleetOptions, project: Project, store: LocalStore, lanes: int
) -> Iterator[FleetUse | None]:
    """The fleet that a command uses, or None if it runs on this machine. Raises FleetError, SpecError."""
    if not options.wanted(project):
        yield None
        return
    require_dask()
    from trtpipe.building.on_fleet import FleetUse
    from trtpipe.fleet.certificates import dask_security, ssl_contexts
    from trtpipe.fleet.connection import open_fleet
    from trtpipe.fleet.lanes import Lanes
    from trtpipe.fleet.transfer import Routes

    with ExitStack() as stack:
        store.open()
        address, files, wait_seconds = _place(options, store, lanes, stack)
        security = None if files is None else dask_security(files)
        fleet = stack.enter_context(open_fleet(address, security))
        context = None if files is None else ssl_contexts(files).client
        yield FleetUse(fleet, Lanes(fleet, wait_seconds), Routes(store, context, fleet.has))


def _place(
    options: FleetOptions, store: LocalStore, lanes: int, stack: ExitStack
) -> tuple[str, TlsFiles | None, float]:
    """The scheduler's address, the certificates and how long to wait for agents; starts a fleet here if need be."""
    from trtpipe.fleet.places import certificates_for, scheduler_address

    address = scheduler_address(options.scheduler, load_user())
    if address is None:
        from trtpipe.agent.local_fleet import local_fleet

        return (*stack.enter_context(local_fleet(store.root, lanes)), max(options.wait_seconds, 60.0))
    files = certificates_for(address, "client", options.certificates, insecure=options.insecure)
    return str(address), files, options.wait_seconds


def require_dask() -> None:
    """Raises SpecError when the packages of the extra `dask` are not installed."""
    from importlib.util import find_spec

    from trtpipe.fleet.extras import missing_package

    for name in ("distributed", "cryptography"):
        if find_spec(name) is None:
            raise missing_package(name)
