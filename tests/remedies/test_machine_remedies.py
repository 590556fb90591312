"""Machines of a fleet that cannot be reached, that do not trust each other or that lack something, until they do not."""
# ruff: noqa: E501 (a row is as long as what it writes)

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import re
import shutil
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.fleet.fleets import TestFleet, wait_until
from tests.remedies.remedy_places import Cure, Place, Question, Row, apply
from trtpipe.problem_codes import Code


@pytest.fixture(autouse=True)
def _alone(place: Place) -> None:
    pytest.importorskip("distributed", reason="not run: needs the extra dask")
    for name in [
        one for one in os.environ if one.startswith(("TRTPIPE_REMOTE", "TRTPIPE_SCHEDULER", "SSH_"))
    ]:
        place.patch.delenv(name)
    place.patch.setenv("XDG_CONFIG_HOME", str(place.root / "home"))
    place.patch.setenv("XDG_CACHE_HOME", str(place.root / "cache"))


def then(ask: Callable[..., Question], *given: object) -> Cure:
    return lambda *_: ask(*given)


# -- artifacts on their way to an agent


def folder(name: str, days: int = 1) -> Callable[[Place], Path]:
    from trtpipe.fleet.keygen import keygen

    def made(place: Place) -> Path:
        if not (place.root / name).exists():
            keygen(place.root / name, days=days)
        return place.root / name

    return made


def sent(place: Place) -> None:
    """Send an artifact to an agent."""
    from tests.fleet.agents import add, agent
    from trtpipe.stores.local import LocalStore

    with agent(place.root / "agent") as there:
        store = LocalStore(place.root / "client")
        there.peer().send(add(store, b"right"), store)


def full_disk(place: Place) -> None:
    from trtpipe.fleet import uploads

    usage = shutil.disk_usage(place.root)
    place.patch.setattr(uploads, "shutil", SimpleNamespace(disk_usage=lambda _: usage._replace(free=1)))


def freed(place: Place, _: object) -> None:
    from trtpipe.fleet import uploads

    place.patch.setattr(uploads, "shutil", shutil)


def greeted(place: Place) -> None:
    """A client with the certificates in `mine` dials an agent with those in `fleet`."""
    from tests.fleet.agents import agent
    from trtpipe.fleet.certificates import ssl_contexts, tls_files

    theirs = ssl_contexts(tls_files(folder("fleet")(place), "agent"))
    mine = ssl_contexts(tls_files(folder("mine")(place), "client"))
    with agent(place.root / "agent", token=None, context=theirs.server) as there:
        there.peer(context=mine.client).greet()


def same_fleet(place: Place, _: object) -> None:
    shutil.copytree(place.root / "fleet", place.root / "mine", dirs_exist_ok=True)


def dialled(address: str) -> Callable[[Place], object]:
    """Find the way to an agent that says where it is, and dial it; each opens its store as its user has set it."""
    from tests.fleet.test_placement import labels
    from trtpipe.fleet.connection import SeenAgent
    from trtpipe.fleet.labels import Exchange
    from trtpipe.fleet.transfer import Routes
    from trtpipe.loader.project import Project
    from trtpipe.workspace.stores import open_store

    def ask(place: Place) -> None:
        theirs = open_store(Project(place.root / "empty"))
        remote = getattr(theirs, "remote", None)
        said = Exchange(address, remote=remote.shown if remote is not None else "")
        agent = SeenAgent("tcp://a", labels(exchange=said))
        Routes(open_store(Project(place.root)), None).to(agent).greet()

    return ask


def with_remote(place: Place, match: re.Match[str]) -> None:
    """Set the variables that the line names; a directory stands for the bucket."""
    (place.root / "bucket").mkdir()
    place.patch.setenv(match[1], str(place.root / "bucket"))
    place.patch.setenv(match[2], match[3])


def parsed(host: str) -> Callable[[Place], object]:
    """What an agent that was started with --host says of itself, as its client reads it."""
    from trtpipe.fleet.object_client import Peer

    return lambda _: Peer(f"{host}:40000") and None


VARIABLES = r"set (\w+)=s3://BUCKET/PREFIX and (\w+)=(\S+) here and for the agent"
ARTIFACTS = [
    Row("an agent without space", Code.DISK_FULL, "free some space there", freed, ask=sent, before=full_disk),
    Row("an agent of another fleet", Code.AGENT_REFUSED, "give both the certificates of the same fleet", same_fleet, ask=greeted),
    Row("an agent that cannot be dialled", Code.AGENT_UNREACHABLE, VARIABLES, with_remote, ask=dialled("127.0.0.1:9")),
    Row("an agent that serves nothing", Code.FLEET_UNREACHABLE, VARIABLES, with_remote, ask=dialled("")),
    Row("an agent at no address", Code.AGENT_UNREACHABLE, r"with --host and the name or IP address", then(parsed, "gpu1.example.org"), ask=parsed("http://gpu1")),
]  # fmt: skip


# -- who can do the work


def nobody(*names: str) -> Callable[[Place], object]:
    """Look for a lane among agents of these names."""
    from tests.fleet.test_placement import labels, lanes_of
    from trtpipe.fleet.placement import Need
    from trtpipe.plan.control import Control

    return lambda _: lanes_of(*map(labels, names)).take(Need(), Control()) and None


def identified(*gpu: str) -> Callable[[Place], object]:
    """Which of a fleet's GPUs a target means that is written like this."""
    from tests.fleet.test_placement import RTX2080, T4
    from trtpipe.errors import Problem
    from trtpipe.spec.pipeline import TargetSpec
    from trtpipe.workspace.gpu_identity import MeantGpu

    def ask(_: Place) -> list[object]:
        target = TargetSpec.model_validate({"gpu": list(gpu)})
        found = MeantGpu("t", target, frozenset({T4.compute_capability}), {}).among([T4, RTX2080])
        assert isinstance(found, Problem) or found["name"] == T4.name, found
        return [found]

    return ask


def withdrawn(place: Place) -> None:
    """Take a cell back whose engine nobody shall use."""
    from trtpipe.delivery.cells import Delivery

    delivery = Delivery(SimpleNamespace(build=place.root / "build"), {}, None, None)  # type: ignore[arg-type]
    delivery.withdraw(SimpleNamespace(name="net/fp32@t", directory="net/fp32@t"))  # type: ignore[arg-type]


def in_the_way(place: Place) -> None:
    (place.root / "build/net/fp32@t/manifest.json").mkdir(parents=True)


WORK = [
    Row("nobody to do a step", Code.NOBODY_SERVES, "start one with `trtpipe agent ADDRESS`", then(nobody, "a"), ask=nobody()),
    Row("a fleet with two models of a GPU", Code.AMBIGUOUS_GPU, "name the model in `gpu`", then(identified, "Tesla T4"), ask=identified("sm75")),
    Row("a cell that cannot be taken back", Code.CANNOT_DELIVER, r"remove (\S+)", lambda _, m: shutil.rmtree(m[1]), ask=withdrawn, before=in_the_way),
]  # fmt: skip


ROWS = [*ARTIFACTS, *WORK]


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_the_remedy_works(row: Row, place: Place):
    apply(row, place)


# -- with a scheduler


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[TestFleet]:
    """A fleet that has not been started."""
    found = TestFleet(tmp_path / "fleet")
    yield found
    found.close()


def starting(fleet: TestFleet) -> Cure:
    """Run `trtpipe fleet scheduler`."""

    def cure(place: Place, _: object) -> None:
        fleet.start()
        place.patch.setattr("trtpipe.fleet.connection._CONNECT_SECONDS", 60.0)

    return cure


def test_a_client_without_a_scheduler(place: Place, fleet: TestFleet):
    from trtpipe.fleet.connection import connect

    place.patch.setattr("trtpipe.fleet.connection._CONNECT_SECONDS", 1.0)

    apply(
        Row("no scheduler for a client", Code.FLEET_UNREACHABLE, "start one there: trtpipe fleet scheduler", starting(fleet), ask=lambda _: connect(fleet.address, None).close()),
        place,
    )  # fmt: skip


def test_an_agent_without_a_scheduler(place: Place, fleet: TestFleet):
    """An agent for one piece of work gives up at the second attempt; here it only dials."""
    from trtpipe.agent.service import AgentOptions, AgentService
    from trtpipe.fleet.places import parse_address

    async def dial(service: AgentService, _: asyncio.Event) -> None:
        _, writer = await asyncio.open_connection(service.options.address.host, service.options.address.port)
        writer.close()

    def serve(_: Place) -> None:
        options = AgentOptions(parse_address(fleet.address, "here"), "a", 1, one=True)
        service = AgentService(options, None, None, place.root, lambda text: None)  # type: ignore[arg-type]
        asyncio.run(service._try(asyncio.Event(), 1))

    place.patch.setattr(AgentService, "_connected", dial)

    apply(
        Row("no scheduler for an agent", Code.FLEET_UNREACHABLE, "start one there: trtpipe fleet scheduler", starting(fleet), ask=serve),
        place,
    )  # fmt: skip


@contextlib.contextmanager
def abandoned_sockets() -> Iterator[None]:
    """Collects what dask leaves of a connection that it gave up, whose warning would fail a later test."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        for _ in range(3):
            time.sleep(0.1)  # its loop has a thread of its own
            gc.collect()


@pytest.mark.parametrize("scheme", ["tls", "tcp"])
def test_a_scheduler_with_the_other_scheme(place: Place, fleet: TestFleet, scheme: str):
    from trtpipe.fleet.certificates import dask_security, tls_files
    from trtpipe.fleet.connection import connect

    made = folder("certificates")(place)
    security = dask_security(tls_files(made, "client"))
    fleet.scheme, fleet.options = scheme, ("--certificates", str(made)) if scheme == "tls" else ()
    fleet.start()
    other = "tcp" if scheme == "tls" else "tls"
    place.patch.setattr("trtpipe.fleet.connection._CONNECT_SECONDS", 2.0)

    def connects(address: str) -> Callable[[Place], None]:
        return lambda _: connect(address, security if address.startswith("tls") else None).close()

    def corrected(_: Place, offered: re.Match[str]) -> Question:
        place.patch.setattr("trtpipe.fleet.connection._CONNECT_SECONDS", 60.0)
        return connects(offered[1])

    with abandoned_sockets():
        apply(
            Row("the other scheme of a scheduler", Code.FLEET_UNREACHABLE, r"write (\S+) for this one", corrected, ask=connects(f"{other}://127.0.0.1:{fleet.port}")),
            place,
        )  # fmt: skip


def test_a_scheduler_that_dies(place: Place, fleet: TestFleet):
    from trtpipe.errors import FleetError
    from trtpipe.fleet.connection import Fleet, connect

    def breaks(held: Fleet) -> bool:
        try:
            held.agents()
        except FleetError:
            return True
        return False

    def lose(_: Place) -> None:
        held.append(connect(fleet.address, None))
        assert fleet.scheduler is not None
        fleet.scheduler.kill()
        wait_until(lambda: breaks(held[0]), "the connection breaks")

    def again(place: Place, _: object) -> Question:
        fleet.start()
        return lambda _: held.append(connect(fleet.address, None)) or held[1].agents()

    held: list[Fleet] = []
    fleet.start()
    try:
        apply(
            Row("a scheduler that died", Code.FLEET_UNREACHABLE, "start it again, and build again", again, ask=lambda _: held[0].agents(), before=lose),
            place,
        )  # fmt: skip
    finally:
        for one in held:
            one.close()


def test_a_scheduler_without_agents(place: Place, fleet: TestFleet):
    from trtpipe.building.on_fleet import unserved
    from trtpipe.fleet.connection import open_fleet
    from trtpipe.fleet.lanes import Lanes
    from trtpipe.fleet.placement import Need

    def look(_: Place) -> object:
        with open_fleet(fleet.address, None) as found:
            return unserved([(Need(), ["net/fp32@t:build_engine"])], Lanes(found), SimpleNamespace(cells=[]))  # type: ignore[arg-type, list-item]

    fleet.start()

    apply(
        Row("no agent for a cell", Code.NOBODY_SERVES, "start one with `trtpipe agent ADDRESS`", lambda *_: fleet.agent("a") and None, ask=look),
        place,
    )  # fmt: skip


def test_a_scheduler_that_is_not_named(place: Place, fleet: TestFleet):
    fleet.start()

    apply(
        Row("no scheduler is named", Code.BAD_ARGUMENT, r"or set \$(\w+)", lambda place, m: place.patch.setenv(m[1], fleet.address), ask=("fleet", "status")),
        place,
    )  # fmt: skip


# -- over SSH


def test_a_host_that_shows_another_key(place: Place):
    pytest.importorskip("asyncssh", reason="not run: needs the extra dask")
    from tests.fleet.ssh_hosts import ssh_hosts

    def compared(place: Place, match: re.Match[str]) -> None:
        """What ssh-keygen removes, and what ssh writes once its user has compared the key."""
        old = known.read_text().splitlines(keepends=True)
        kept = [line for line in old if not line.startswith(f"{match[2]} ")]
        assert len(kept) == len(old) - 1, "known_hosts has another name for the host"
        assert match[1] == f"ssh -p {host.port} builder@127.0.0.1"
        known.write_text("".join([*kept, host.known]))

    with ssh_hosts(place.root / "ssh") as hosts:
        host, known = hosts.add("strange", is_known=False), hosts.home / ".ssh/known_hosts"
        place.patch.setenv("HOME", str(hosts.home))

        apply(
            Row("a host of another key", Code.HOST_FAILED, r"connect once with `([^`]+)` and compare the key; .* `ssh-keygen -R '([^']+)'`", compared, ask=logs_in(host.port, hosts.identity)),
            place,
        )  # fmt: skip


def test_a_host_that_lets_nobody_in(place: Place):
    pytest.importorskip("asyncssh", reason="not run: needs the extra dask")
    from tests.fleet.ssh_hosts import ssh_hosts

    with ssh_hosts(place.root / "ssh") as hosts:
        host = hosts.add("strict")
        place.patch.setenv("HOME", str(hosts.home))

        apply(
            Row("a host that lets nobody in", Code.HOST_FAILED, r"name your key in fleet.yaml \((identity)\)", lambda _, m: logs_in(host.port, **{m[1]: hosts.identity}), ask=logs_in(host.port)),
            place,
        )  # fmt: skip


def logs_in(port: int, identity: Path | None = None) -> Callable[[Place], object]:
    """Run a command on a host."""
    from trtpipe.hosts.launches import Launch
    from trtpipe.hosts.processes import started
    from trtpipe.spec.fleet import FleetHostSpec

    there = FleetHostSpec(
        address="127.0.0.1", user="builder", port=port, identity=str(identity) if identity else None
    )

    async def start() -> None:
        async with started(Launch("gpu1", there, "true")):
            pass

    return lambda _: asyncio.run(start())
