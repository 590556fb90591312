"""Runs actions on the agents of a fleet; the `Executor` of a build with `--executor dask`.

For each action: take a lane, bring the inputs to that agent, ask, bring the results back, record the trace here. What
an agent's death, memory or disk may have caused is tried on other agents, three times in all; what an action itself
causes fails at once, as it would on this machine.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TypeVar

from trtpipe.errors import (
    FleetError,
    Interrupted,
    Problem,
    StepFailed,
    StoreError,
    ToolchainError,
    TrtpipeError,
)
from trtpipe.fleet.connection import AgentLost, Fleet, SeenAgent
from trtpipe.fleet.lanes import Lane, Lanes
from trtpipe.fleet.placement import AT_CLIENT, Need, WorkFacts
from trtpipe.fleet.progress import progress_event
from trtpipe.fleet.protocol import Answer, Request, ToolchainNeed
from trtpipe.fleet.records import Placed, Timeline
from trtpipe.fleet.transfer import Route, Routes, inputs_of
from trtpipe.json_values import JsonObject, Malformed, object_in
from trtpipe.plan.control import Control
from trtpipe.plan.events import StepPlaced, Warned
from trtpipe.plan.graph import Action
from trtpipe.plan.ports import Executor, Here, Observer
from trtpipe.plan.trace import Trace
from trtpipe.problem_codes import Code
from trtpipe.processes.child import error_from_json
from trtpipe.stores.local import LocalStore

TRIES = 3
_AT_ONCE = 32
_MACHINE_CODES = (Code.STEP_CRASHED, Code.WORKER_DIED, Code.DISK_FULL)
"""Problems that another machine may not have: out of memory, a full disk, a library that crashed."""
T = TypeVar("T")


@dataclass(frozen=True)
class Wishes:
    """What the client wants of its actions, besides what is in them."""

    needs: Callable[[Action], Need]
    tactics: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    learn: Callable[[ToolchainNeed, Mapping[str, str]], None] = lambda toolchain, wheels: None
    """Holds the wheels that an agent used against the project's lock. Raises ToolchainError."""
    here_first: Callable[[Action], bool] = lambda action: False
    """Whether this machine has the result already, in another form than a trace (scales in the lockfile)."""
    by_rules: bool = False
    offline: bool = False
    forced: Callable[[Action], bool] = lambda action: False


class AgentUnreachable(Exception):
    """This client and an agent cannot exchange artifacts; the text says why, and what helps."""


@contextmanager
def _dialled() -> Iterator[None]:
    """Turns the error of an agent that cannot be dialled into AgentUnreachable."""
    try:
        yield
    except StoreError as error:
        if error.problems[0].code is Code.AGENT_UNREACHABLE:
            raise _unreachable(error) from error
        raise


def greet(agents: Iterable[SeenAgent], lanes: Lanes, routes: Routes) -> None:
    """Dial every agent, many at a time, and leave out those that this client cannot exchange artifacts with."""

    def dial(agent: SeenAgent) -> None:
        try:
            with _dialled():
                routes.to(agent).greet()
        except AgentUnreachable as error:
            lanes.leave_out(agent, str(error))
        except TrtpipeError as error:
            lanes.leave_out(agent, f"cannot be sent artifacts: {error.problems[0].fact}")

    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="greet") as pool:
        list(pool.map(dial, agents))


def _unreachable(error: TrtpipeError) -> AgentUnreachable:
    problem = error.problems[0]
    return AgentUnreachable(f"cannot be sent artifacts: {problem.fact}; {problem.remedy}")


@dataclass
class FleetExecutor:
    """Sends actions to agents, and runs those on this machine that belong here."""

    local: Executor
    store: LocalStore
    here: Here
    observer: Observer
    fleet: Fleet
    lanes: Lanes
    routes: Routes
    wishes: Wishes
    timeline: Timeline

    def execute(self, action: Action, control: Control) -> Trace:
        """Run an action on an agent, store what it yields and record its trace.

        Raises what the action raises, FleetError when nobody can run it, and StepFailed when it was lost too often.
        """
        if self.stays_here(action):
            return self.local.execute(action, control)
        need = self.wishes.needs(action)
        lost: list[str] = []
        avoid: set[str] = set()
        last: TrtpipeError | None = None
        while len(lost) < TRIES:
            lane = self.lanes.take(need, control, avoid)
            try:
                return self._on(lane, action, need, control)
            except AgentUnreachable as error:
                self.lanes.leave_out(lane.agent, str(error))
                continue
            except AgentLost as error:
                lost.append(str(error))
            except TrtpipeError as error:
                if not _may_be_the_machine(error):
                    raise
                lost.append(f"{lane}: {error.problems[0].fact}")
                last = error
            finally:
                self.lanes.give(lane)
            avoid.add(lane.agent.address)
            self.observer.emit(Warned(f"{action.address}: {lost[-1]}; it is tried again"))
        raise _given_up(action, lost, last)

    def stays_here(self, action: Action) -> bool:
        """Whether an action is run by the client itself."""
        if action.stage in AT_CLIENT or self.wishes.here_first(action):
            return True
        if action.stage == "build_engine" or not WorkFacts.of_action(action).runs_project_code:
            return False
        return not any(one.labels.project_code for one in self.fleet.agents())

    def _route(self, lane: Lane) -> Route:
        """Raises AgentUnreachable."""
        try:
            return self.routes.to(lane.agent)
        except FleetError as error:
            raise _unreachable(error) from error

    def _on(self, lane: Lane, action: Action, need: Need, control: Control) -> Trace:
        began = time.time()
        route = self._route(lane)
        self.observer.emit(StepPlaced(action.address, str(lane)))
        digests = [digest for files in action.fingerprint.inputs.values() for digest in files.values()]
        with _dialled():
            route.send(digests, inputs_of(action, self.here.sources(action), self.store))
        sent = time.time()
        request = Request(
            secrets.token_hex(8),
            self.fleet.topic,
            action,
            need.toolchain,
            lane.gpu,
            anew=self.wishes.forced(action),
            holds_lock=route.shared,
            through=route.through,
            by_rules=self.wishes.by_rules,
            offline=self.wishes.offline,
            tactics=self.wishes.tactics.get(action.key, {}),
        )
        with self.fleet.asked(
            lane.agent, request, control, lambda report: self._hear(action, report)
        ) as answer:
            answered = time.time()
            summary = _result_of(answer, lane)
            if need.toolchain is not None and answer.wheels:
                self.wishes.learn(need.toolchain, answer.wheels)
            with _dialled():
                route.receive(answer.files.values())
        self.timeline.add(Placed.of(action, lane, (began, sent, answered, time.time()), answer))
        seconds = answer.seconds.get("ran", 0.0)
        record = action.fingerprint.record()
        trace = Trace(action.key, str(action.address), record, answer.files, summary, seconds)
        if not route.shared:
            self.store.record(trace)
        return trace

    def _hear(self, action: Action, report: JsonObject) -> None:
        try:
            self.observer.emit(progress_event(report, action.address))
        except Malformed:
            return  # a report that this version does not know is no reason to stop


def _result_of(answer: Answer, lane: Lane) -> JsonObject:
    """The summary of an action's result. Raises the error that the agent answered, or AgentLost when it refused."""
    if answer.refused:
        raise AgentLost(f"{lane.agent.name} refused it: {answer.refused}")
    if answer.error:
        raise error_from_json(dict(answer.error))
    try:
        return object_in(answer.result, "summary")
    except Malformed as error:
        fact = f"the answer of {lane.agent.name} cannot be used: {error}"
        raise StepFailed(Code.AGENT_ANSWER, fact) from error


def _may_be_the_machine(error: TrtpipeError) -> bool:
    """Whether the same action may succeed on another machine."""
    if isinstance(error, Interrupted):
        return False
    if isinstance(error, (StoreError, ToolchainError)):
        return True
    return isinstance(error, StepFailed) and error.problems[0].code in _MACHINE_CODES


def _given_up(action: Action, lost: list[str], last: TrtpipeError | None) -> TrtpipeError:
    where = "; ".join(lost)
    if last is not None:
        first = last.problems[0]
        remedy = "\n".join(filter(None, [f"tried {len(lost)} times: {where}", first.remedy]))
        return StepFailed(replace(first, remedy=remedy), log=getattr(last, "log", ""))
    return StepFailed(
        Problem(Code.AGENT_LOST, f"the {action.stage} step was lost {len(lost)} times: {where}")
    )
