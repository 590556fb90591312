"""Opens the fleet that a command uses, if it uses one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from trtpipe.cli.output import note
from trtpipe.errors import FleetError, SpecError
from trtpipe.loader.project import Project, find_project
from trtpipe.loader.user import load_user
from trtpipe.problem_codes import Code
from trtpipe.stores.local import LocalStore

if TYPE_CHECKING:
    from trtpipe.app.engines.choice import Where
    from trtpipe.app.engines.machine import Machine
    from trtpipe.building.engines.jobs import EngineJobs
    from trtpipe.building.on_fleet import FleetUse
    from trtpipe.building.planned import FleetFor, Planned
    from trtpipe.fleet.certificates import TlsFiles
    from trtpipe.toolchains.detect import DetectedGpu

    FleetGpus = Callable[[], Sequence[DetectedGpu]]

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

    def for_engines(self, here: Mapping[str, bool]) -> FleetOptions:
        """The same for a command that runs engines, of whose options some choose this machine: `--cpu`, `--device`.

        They win over a fleet that only the project names. Raises SpecError when the command line has both.
        """
        given = [name for name, said in here.items() if said]
        if not given:
            return self
        if self.executor == "dask":
            fact = f"{given[0]} is about this machine, and --executor dask runs engines on others"
            raise SpecError(Code.OPTIONS_EXCLUDE, fact, "leave one out")
        return replace(self, executor="local")


ON_THIS_MACHINE = FleetOptions("local")


@contextmanager
def opened_jobs(
    options: FleetOptions, project: Project, *, offline: bool = False
) -> Iterator[EngineJobs | None]:
    """What runs delivered engines on a fleet's GPUs, or None if this machine does. Raises FleetError, SpecError."""
    if not options.wanted(project):
        yield None
        return
    from trtpipe.building.build import default_jobs
    from trtpipe.building.engines.jobs import EngineJobs
    from trtpipe.workspace.stores import open_store

    with opened_fleet(options, project, open_store(project), default_jobs()) as fleet:
        assert fleet is not None, "it is wanted"
        yield EngineJobs(fleet, offline)


@contextmanager
def machine_for(where: Where, options: FleetOptions) -> Iterator[Machine | None]:
    """What runs engines for `run` and `bench`: a fleet, or None for this machine. Raises FleetError, SpecError."""
    chosen = options.for_engines({"--cpu": where.cpu, "--device": where.device > 0})
    with opened_jobs(chosen, find_project(Path.cwd())) as jobs:
        if jobs is None:
            yield None
            return
        from trtpipe.app.engines.fleet_machine import fleet_machine

        yield fleet_machine(jobs)


def steps_on_fleet(options: FleetOptions, *, always: bool = False) -> FleetFor:
    """Opens the fleet for the steps of a plan, if any of them may have to run; else only if it is `always` needed."""

    @contextmanager
    def opened(planned: Planned) -> Iterator[FleetUse | None]:
        from trtpipe.building.build import default_jobs
        from trtpipe.building.planned import runs

        workspace = planned.workspace
        needed = options if always or runs(planned) else FleetOptions("local")
        with opened_fleet(needed, workspace.project, workspace.store, default_jobs()) as fleet:
            yield fleet

    return opened


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
        dashboard = fleet.dashboard()
        if dashboard:
            note(f"dask's dashboard is at {dashboard} on the machine of the scheduler")
        yield FleetUse(fleet, Lanes(fleet, wait_seconds), Routes(store, context, fleet.has), say=note)


def fleet_gpus(options: FleetOptions, project: Project, store: LocalStore) -> FleetGpus:
    """Asks the fleet once for its GPUs, for a plan whose engines are tied to one; none if there is no fleet to ask.

    A scheduler that does not answer is no reason to end: what the lockfile records holds until something must run.
    """

    @cache
    def asked() -> Sequence[DetectedGpu]:
        from trtpipe.fleet.placement import GpuNeed, Need
        from trtpipe.fleet.places import scheduler_address

        if not options.wanted(project) or scheduler_address(options.scheduler, load_user()) is None:
            return ()
        with suppress(FleetError), opened_fleet(options, project, store, 1) as fleet:
            assert fleet is not None, "it is wanted"
            fleet.lanes.wait_for([Need(gpu=GpuNeed())])
            return [gpu for agent in fleet.fleet.agents() for gpu in agent.labels.gpus]
        return ()

    return asked


def _place(
    options: FleetOptions, store: LocalStore, lanes: int, stack: ExitStack
) -> tuple[str, TlsFiles | None, float]:
    """The scheduler's address, the certificates and how long to wait for agents; starts a fleet here if need be."""
    from trtpipe.fleet.places import certificates_for, scheduler_address

    address = scheduler_address(options.scheduler, load_user())
    if address is None:
        from trtpipe.agent.local_fleet import local_fleet

        return (*stack.enter_context(local_fleet(store.root, lanes)), options.wait_seconds)
    files = certificates_for(address, "client", options.certificates, insecure=options.insecure)
    return str(address), files, options.wait_seconds


def require_dask(*more: str) -> None:
    """Raises SpecError when the packages of the extra `dask` that are needed are not installed."""
    from importlib.util import find_spec

    from trtpipe.fleet.extras import missing_package

    for name in ("distributed", "cryptography", *more):
        if find_spec(name) is None:
            raise missing_package(name)
