"""Runs actions on the agents of a fleet; the `Executor` of a build with `--executor dask`.

For each action: take a lane, bring the inputs to that agent, ask, bring the results back, record the trace here.
`attempts.py` says what is tried again on another agent.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from trtpipe.fleet.answers import require_done, slow_clocks, unusable
from trtpipe.fleet.attempts import Attempts
from trtpipe.fleet.connection import Fleet
from trtpipe.fleet.dialling import dialled, route_to
from trtpipe.fleet.lanes import Lane, Lanes
from trtpipe.fleet.placement import AT_CLIENT, Need, WorkFacts
from trtpipe.fleet.progress import progress_event
from trtpipe.fleet.protocol import Answer, Request, ToolchainNeed
from trtpipe.fleet.records import Placed, Timeline
from trtpipe.fleet.transfer import Routes, inputs_of
from trtpipe.json_values import JsonObject, Malformed, object_in
from trtpipe.plan.control import Control
from trtpipe.plan.events import StepPlaced, Warned
from trtpipe.plan.graph import Action
from trtpipe.plan.ports import Executor, Here, Observer
from trtpipe.plan.trace import Trace
from trtpipe.stores.local import LocalStore


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
    crashes_again: bool = True
    """Whether an action that crashed is tried on other agents."""

    def execute(self, action: Action, control: Control) -> Trace:
        """Run an action on an agent, store what it yields and record its trace.

        Raises what the action raises, FleetError when nobody can run it, and StepFailed when it was lost too often.
        """
        if self.stays_here(action):
            return self.local.execute(action, control)
        need = self.wishes.needs(action)

        def tell(text: str) -> None:
            self.observer.emit(Warned(f"{action.address}: {text}"))

        attempts = Attempts(self.lanes, need, control, tell, self.crashes_again)
        return attempts.on_some_lane(
            f"the {action.stage} step", lambda lane: self._on(lane, action, need, control)
        )

    def stays_here(self, action: Action) -> bool:
        """Whether an action is run by the client itself."""
        if action.stage in AT_CLIENT or self.wishes.here_first(action):
            return True
        if WorkFacts.of_action(action).may_leave:
            return False
        return not any(one.labels.project_code for one in self.fleet.agents())

    def _on(self, lane: Lane, action: Action, need: Need, control: Control) -> Trace:
        began = time.time()
        route = route_to(lane, self.routes)
        self.observer.emit(StepPlaced(action.address, str(lane)))
        digests = [digest for files in action.fingerprint.inputs.values() for digest in files.values()]
        with dialled():
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
            slow = slow_clocks(answer, lane)
            if slow:
                self.observer.emit(Warned(f"{action.address}: {slow}"))
            if need.toolchain is not None and answer.wheels:
                self.wishes.learn(need.toolchain, answer.wheels)
            with dialled():
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
    require_done(answer, lane)
    try:
        return object_in(answer.result, "summary")
    except Malformed as error:
        raise unusable(lane, str(error)) from error
