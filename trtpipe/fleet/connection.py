"""A client's connection to a fleet: dask's scheduler, and the agents that are connected to it.

dask is only used to call a function in an agent's process and to hear what it reports. Each request is bound to one
agent, and this module watches whether that agent is still there, because dask waits for ever for an agent that left. An
answer comes as reports do, in one message; dask's own way to fetch a result takes two more hops to the agent and back.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from trtpipe.errors import FleetError, Interrupted
from trtpipe.fleet import entry
from trtpipe.fleet.dask_settings import dashboard_of, quiet_dask
from trtpipe.fleet.labels import Labels
from trtpipe.fleet.places import parse_address
from trtpipe.fleet.progress import reported
from trtpipe.fleet.protocol import ANSWER, REPORTS, Answer, Request
from trtpipe.fleet.schemes import wrong_scheme
from trtpipe.json_values import JsonObject, Malformed, objects_in, text_in
from trtpipe.plan.control import Control
from trtpipe.problem_codes import Code

if TYPE_CHECKING:
    from distributed import Client, Future, Security

_CONNECT_SECONDS = 10.0
_WATCH_SECONDS = 1.0
_TICK_SECONDS = 0.5
_STOPPING_SECONDS = 20.0
"""How long an agent may take to stop its work after Ctrl-C before it is no longer waited for."""
_KILLING_SECONDS = 3.0

Hear = Callable[[JsonObject], None]


class AgentLost(Exception):
    """An agent vanished while it worked, or could not be reached; the same work may be tried elsewhere."""


@dataclass(frozen=True, slots=True)
class SeenAgent:
    """An agent as its scheduler knows it: dask's address of it, and what it says of itself."""

    address: str
    labels: Labels

    @property
    def name(self) -> str:
        """The agent's name."""
        return self.labels.name


@dataclass
class _Waiting:
    """Whoever waits for the answer to a request."""

    hear: Hear
    answer: str = ""
    answered: threading.Event = field(default_factory=threading.Event)

    def take(self, message: JsonObject) -> None:
        """Take what the agent reports: how far it is, and its answer at the end. Raises Malformed."""
        for report in objects_in(message, REPORTS):
            self.hear(report)
        if ANSWER in message:
            self.answer = text_in(message, ANSWER)
            self.answered.set()


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request that is under way."""

    future: Future[str]
    waiting: _Waiting


class Fleet:
    """One connection; several threads may use it. Made by `open_fleet`."""

    def __init__(self, client: Client, address: str) -> None:
        self.address = address
        self.changed = threading.Condition()
        """Notified whenever agents come or go, or work ends."""
        self._client = client
        self._agents: dict[str, SeenAgent] = {}
        self._by_name: tuple[SeenAgent, ...] = ()
        self._others: dict[str, str] = {}
        self._waiting: dict[str, _Waiting] = {}
        """Id of a request → who waits for its answer."""
        self._taken: list[Future[str]] = []
        """Requests whose answers were taken, of which dask does not know yet."""
        self._mutex = threading.Lock()
        self._broken = ""
        self._closing = threading.Event()
        self._client.subscribe_topic(self.topic, self._hear)
        self._look()
        self._watcher = threading.Thread(target=self._watch, name="fleet", daemon=True)
        self._watcher.start()

    @property
    def topic(self) -> str:
        """dask's topic for reports to this client; the scheduler forgets it with the client."""
        return str(self._client.id)

    def agents(self) -> tuple[SeenAgent, ...]:
        """The agents that are connected now, by name: the same tuple until one comes or goes.

        Raises FleetError when the connection is broken.
        """
        with self.changed:
            self._require()
            return self._by_name

    def dashboard(self) -> str:
        """The link to dask's dashboard, which is good on the scheduler's machine; empty if there is none."""
        return dashboard_of(self._client)

    def others(self) -> Mapping[str, str]:
        """dask workers that are no agents of a version that can be talked to: address → why."""
        with self.changed:
            return dict(self._others)

    def has(self, agent: SeenAgent) -> bool:
        """Whether an agent is still connected."""
        with self.changed:
            return agent.address in self._agents

    @contextlib.contextmanager
    def asked(self, agent: SeenAgent, request: Request, control: Control, hear: Hear) -> Iterator[Answer]:
        """The answer of an agent to a request; `hear` is called with the agent's reports while it works.

        Some time after the context has ended the agent knows that its result was taken. Raises AgentLost when the agent
        leaves, Interrupted when `control` says so, and FleetError.
        """
        waiting = self._waiting[request.id] = _Waiting(hear)
        future = self._submit(agent, request)
        try:
            yield _read(self._wait(agent, request, control, _Asked(future, waiting)), agent)
            with self._mutex:
                self._taken.append(future)
        except BaseException:
            self._release([future])  # the agent stops what nobody waits for
            raise
        finally:
            del self._waiting[request.id]

    def call(self, agent: SeenAgent, function: Callable[[], str]) -> str:
        """Call a function of `entry` in an agent's process, outside its queue of work. Raises AgentLost."""
        try:
            return str(self._client.run(function, workers=[agent.address])[agent.address])
        except (OSError, KeyError) as error:
            raise AgentLost(f"{agent.name} does not answer") from error

    def close(self) -> None:
        """End the connection; agents stop what this client asked for."""
        self._closing.set()
        self._watcher.join()
        with contextlib.suppress(Exception):  # what is left of a broken connection
            self._client.unsubscribe_topic(self.topic)
            self._client.close(timeout=_KILLING_SECONDS)

    def _submit(self, agent: SeenAgent, request: Request) -> Future[str]:
        self._require()
        try:
            future = self._client.submit(
                entry.perform,
                request.to_text(),
                key=f"trtpipe-{request.id}",
                workers=[agent.address],
                allow_other_workers=False,
                pure=False,
                retries=0,
            )
        except (OSError, RuntimeError) as error:
            raise FleetError(
                Code.FLEET_UNREACHABLE, f"the scheduler {self.address} is gone: {error}"
            ) from error
        # After it: dask sends a message at once, and what follows within 10 ms later.
        self._release_taken()
        return future

    def _wait(self, agent: SeenAgent, request: Request, control: Control, asked: _Asked) -> str:
        """Wait until an answer is there, and give its text; passes Ctrl-C on."""
        ends, killed = float("inf"), False
        while not asked.waiting.answered.wait(_TICK_SECONDS):
            self._require()
            if asked.future.done():
                return asked.waiting.answer or self._result(asked.future, agent)
            if not self.has(agent) and not asked.waiting.answered.wait(_TICK_SECONDS):
                raise AgentLost(f"{agent.name} vanished")
            if control.cancelled.is_set() and ends == float("inf"):
                ends = time.monotonic() + _STOPPING_SECONDS
                self._stop(agent, request, now=False)
            if control.killed.is_set() and not killed:
                killed, ends = True, time.monotonic() + _KILLING_SECONDS
                self._stop(agent, request, now=True)
            if time.monotonic() > ends:
                raise Interrupted(Code.INTERRUPTED, "interrupted")
        return asked.waiting.answer

    def _result(self, future: Future[str], agent: SeenAgent) -> str:
        """The text of an answer that the agent did not report: of a refusal of another version, or of none after a bug.

        Raises AgentLost, FleetError, or the exception of a bug on the agent, with the agent's traceback.
        """
        while True:
            try:
                return str(future.result(timeout=_TICK_SECONDS))
            except (TimeoutError, asyncio.TimeoutError):  # noqa: PERF203 - that is what the loop is for
                self._require()
                if not self.has(agent):
                    raise AgentLost(f"{agent.name} vanished") from None
            except Exception as error:
                if not _is_dasks(error):
                    raise
                raise AgentLost(f"{agent.name} vanished") from error

    def _release(self, futures: Collection[Future[str]]) -> None:
        for one in futures:
            with contextlib.suppress(Exception):  # the connection may be gone
                one.release()

    def _release_taken(self) -> None:
        """Let dask forget answers that were taken."""
        with self._mutex:
            taken, self._taken = self._taken, []
        self._release(taken)

    def _stop(self, agent: SeenAgent, request: Request, *, now: bool) -> None:
        with contextlib.suppress(Exception):  # an agent that is gone has stopped
            self._client.run(entry.stop, request.id, now, workers=[agent.address], wait=False)

    def _require(self) -> None:
        if self._broken:
            raise FleetError(
                Code.FLEET_UNREACHABLE,
                f"the connection to the scheduler {self.address} broke: {self._broken}",
                "start it again, and build again: what was finished is kept",
            )

    def _hear(self, event: tuple[float, object]) -> None:
        with contextlib.suppress(Malformed):
            identity, message = reported(event[1])
            waiting = self._waiting.get(identity)
            if waiting is not None:
                waiting.take(message)

    def _watch(self) -> None:
        while not self._closing.wait(_WATCH_SECONDS):
            if self._client.status != "running":
                self._break("it does not answer")
                return
            try:
                self._release_taken()
                self._look()
            except (OSError, TimeoutError, RuntimeError) as error:
                if not self._closing.is_set():
                    self._break(str(error) or type(error).__name__)
                return

    def _break(self, why: str) -> None:
        with self.changed:
            self._broken = why
            self.changed.notify_all()

    def _look(self) -> None:
        """See which agents have come and gone."""
        present = set(self._client.nthreads())
        known = self._agents.keys() | self._others.keys()
        joined = self._introduced(sorted(present - known))
        with self.changed:
            before = set(self._agents)
            for address, found in joined.items():
                if isinstance(found, Labels):
                    self._agents[address] = SeenAgent(address, found)
                else:
                    self._others[address] = found
            for gone in known - present:
                self._agents.pop(gone, None)
                self._others.pop(gone, None)
            if set(self._agents) != before:
                self._by_name = tuple(sorted(self._agents.values(), key=lambda one: (one.name, one.address)))
                self.changed.notify_all()

    def _introduced(self, addresses: list[str]) -> dict[str, Labels | str]:
        """The labels of new agents, or why they have none."""
        if not addresses:
            return {}
        texts = self._client.run(entry.labels, workers=addresses, on_error="return")
        return {address: _labels_in(text) for address, text in texts.items()}


def _labels_in(text: object) -> Labels | str:
    if isinstance(text, ImportError):
        return "a dask worker without this trtpipe"
    if not isinstance(text, str):
        return str(text)
    try:
        return Labels.from_text(text)
    except ValueError as error:
        return f"an agent of another version: {error}"


def _read(text: str, agent: SeenAgent) -> Answer:
    """Raises FleetError for an answer that cannot be read."""
    try:
        return Answer.from_text(text)
    except ValueError as error:
        raise FleetError(Code.AGENT_ANSWER, f"the answer of {agent.name} cannot be read: {error}") from error


def _is_dasks(error: Exception) -> bool:
    """Whether dask itself raised an error, because an agent or the connection is gone."""
    return type(error).__module__.split(".")[0] in ("distributed", "dask")


@contextlib.contextmanager
def open_fleet(address: str, security: Security | None) -> Iterator[Fleet]:
    """A connection to the fleet at a scheduler's address, while the context lasts. Raises FleetError."""
    fleet = connect(address, security)
    try:
        yield fleet
    finally:
        fleet.close()


def connect(address: str, security: Security | None) -> Fleet:
    """A connection to the fleet at a scheduler's address. Raises FleetError."""
    quiet_dask()
    import dask
    from distributed import Client

    try:
        with dask.config.set({"distributed.comm.timeouts.connect": f"{_CONNECT_SECONDS:g}s"}):
            client = Client(
                address, security=security, timeout=_CONNECT_SECONDS, set_as_default=False, name="trtpipe"
            )
        return Fleet(client, address)
    except (OSError, TimeoutError, ValueError, RuntimeError) as error:
        if "TLS certificate" in str(error):
            fact = f"this machine's certificates and those of the scheduler at {address} are not of the same fleet"
            raise FleetError(Code.AGENT_REFUSED, fact) from error
        raise wrong_scheme(parse_address(address, "of a scheduler")) or FleetError(
            Code.FLEET_UNREACHABLE,
            f"no scheduler answers at {address}: {_first_line(error)}",
            "start one there: trtpipe fleet scheduler",
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
