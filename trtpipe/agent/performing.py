"""Performs requests: brings inputs into this machine's store, runs the action as a build would, answers in JSON.

The same code runs an action here and on the client's machine (`building.performer`); what differs is that there is no
project: inputs come from the store by digest, and the project's root is an empty directory. Whatever goes wrong is an
answer; only a bug in trtpipe is an exception.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from trtpipe import __version__
from trtpipe.agent.clocks import LeasedGpu
from trtpipe.agent.jobs import JobPlace, run_job
from trtpipe.agent.lanes import AgentLanes
from trtpipe.agent.machine import toolchains_here
from trtpipe.agent.reporting import Publish, Reporting
from trtpipe.building.performer import Performer, Terms
from trtpipe.building.searches.evaluators import Evaluators
from trtpipe.errors import FleetError, Problem, ToolchainError, TrtpipeError
from trtpipe.executors.local import carry_out
from trtpipe.fleet.labels import Labels, gpu_key
from trtpipe.fleet.placement import Need, WorkFacts, need_of, why_not
from trtpipe.fleet.progress import progress_json
from trtpipe.fleet.protocol import Answer, Job, OtherVersion, Request, ToolchainNeed
from trtpipe.json_values import Json
from trtpipe.loader.project import LOCK_FILE
from trtpipe.plan.control import Control
from trtpipe.plan.dispatcher import Lookup, run_once
from trtpipe.plan.events import Event
from trtpipe.plan.graph import Action
from trtpipe.plan.trace import Trace
from trtpipe.problem_codes import Code
from trtpipe.processes.child import error_json
from trtpipe.stores.layered import LayeredStore
from trtpipe.stores.local import LocalStore
from trtpipe.stores.state import STATE_FILE, ProjectState
from trtpipe.stores.timing_caches import TimingCaches
from trtpipe.targets.toolchain import Toolchain
from trtpipe.toolchains.detect import DetectedGpu
from trtpipe.toolchains.resolve import ready_toolchain
from trtpipe.toolchains.wheel_lock import LOCK_FILE as WHEEL_LOCK
from trtpipe.toolchains.wheel_lock import WheelLock
from trtpipe.workspace.site import HereOf, Site


@dataclass(slots=True)
class _Running:
    """One request that is being worked on."""

    what: str
    gpu: str
    since: float
    control: Control = field(default_factory=Control)


@dataclass
class FleetAgent:
    """The agent of this process; dask calls it from several threads through `fleet.entry`."""

    known: Labels
    store: LocalStore
    lanes: AgentLanes
    publish: Publish
    evaluators: Evaluators = field(default_factory=Evaluators)
    taken: int = 0
    """How many requests it has begun to work on."""
    _requests: dict[str, _Running] = field(default_factory=dict)
    _mutex: threading.Lock = field(default_factory=threading.Lock)

    def labels(self) -> str:
        """What this machine offers, as JSON text; its TensorRT versions may have changed since it started."""
        self.known = replace(self.known, toolchains=toolchains_here())
        return self.known.to_text()

    def running(self) -> str:
        """What runs here at the moment, as JSON text."""
        now = time.time()
        with self._mutex:
            rows: list[Json] = [
                {"id": identity, "what": one.what, "gpu": one.gpu, "seconds": round(now - one.since, 1)}
                for identity, one in self._requests.items()
            ]
        return json.dumps(rows)

    def identities(self) -> list[str]:
        """The requests that are being worked on."""
        with self._mutex:
            return list(self._requests)

    def stop(self, identity: str, now: bool) -> bool:
        """Stop a request, gracefully or at once; returns whether it was running here."""
        with self._mutex:
            found = self._requests.get(identity)
        if found is not None:
            if now:
                found.control.killed.set()
            found.control.cancelled.set()
        return found is not None

    def stop_all(self) -> None:
        """Stop everything at once, because the scheduler is gone or this process ends."""
        for identity in self.identities():
            self.stop(identity, True)

    def perform(self, text: str) -> str:
        """The answer to a request."""
        try:
            request = Request.from_text(text)
        except OtherVersion as error:
            return Answer(refused=f"it has trtpipe {__version__}, and the client {error.version}").to_text()
        except ValueError as error:
            return Answer(refused=f"it cannot read the request: {error}").to_text()
        reporting = Reporting(request.id, request.topic, self.publish)
        try:
            with self._noted(request) as control:
                answer = self._answer(request, control, reporting).to_text()
        except TrtpipeError as error:
            answer = Answer(error=error_json(error)).to_text()
        reporting.answer(answer)
        return answer

    @contextmanager
    def _noted(self, request: Request) -> Iterator[Control]:
        what = str(request.work.address) if isinstance(request.work, Action) else request.work.name
        running = _Running(what, request.gpu, time.time())
        with self._mutex:
            self._requests[request.id] = running
            self.taken += 1
        try:
            yield running.control
        finally:
            with self._mutex:
                del self._requests[request.id]

    def _answer(self, request: Request, control: Control, reporting: Reporting) -> Answer:
        reason = self._refusal(request)
        if self.known.one and self.taken > 1:
            reason = "it takes one piece of work, and has had one"
        if reason:
            return Answer(refused=reason)
        if request.through:
            self._require_remote(request.through)
        with self.lanes.hold(request.gpu, control) as waited, self.store.scratch() as root:
            began, clocks = time.monotonic(), LeasedGpu(self.gpu(request.gpu))
            answer = _Task(self, request, control, root, reporting).answer()
            seconds = {"waited": waited, "ran": time.monotonic() - began}
            result = {**answer.result, **clocks.ended()}
            return replace(answer, result=result, seconds={**answer.seconds, **seconds})

    def gpu(self, key: str) -> DetectedGpu | None:
        """The GPU that a request holds; None for one that holds none."""
        return next((one for one in self.known.gpus if key and key == gpu_key(one)), None)

    def _refusal(self, request: Request) -> str:
        """Why this machine does not take the work; a client that reads labels asks for nothing else."""
        if request.gpu and self.gpu(request.gpu) is None:
            return f"it has no GPU {request.gpu}"
        if isinstance(request.work, Job):
            need = Need(toolchain=request.toolchain, project_code=request.work.runs_project_code)
            return why_not(self.known, need)
        return why_not(self.known, need_of(WorkFacts.of_action(request.work), "", request.toolchain, None))

    def _require_remote(self, address: str) -> None:
        remote = self.store.remote if isinstance(self.store, LayeredStore) else None
        if remote is None or not remote.is_up or remote.shown != address:
            raise FleetError(
                Code.FLEET_UNREACHABLE, f"{self.known.name} cannot use the remote store {address}"
            )


@dataclass(slots=True)
class _Task:
    """One request, with an empty directory that stands for the project, and that the work is done in."""

    agent: FleetAgent
    request: Request
    control: Control
    root: Path
    reporting: Reporting

    def emit(self, event: Event) -> None:
        """Report progress to the client that asked."""
        report = progress_json(event)
        if report is not None:
            self.reporting.add(report)

    def answer(self) -> Answer:
        """Do the work. Raises TrtpipeError."""
        work = self.request.work
        if isinstance(work, Job):
            return self._job_done(work)
        trace, ran = self._performed(work)
        if self.request.through:
            self.agent.store.settle()
        summary = dict(trace.summary)
        return Answer({"summary": summary}, trace.outputs, ran=ran, wheels=self._wheels())

    def _job_done(self, job: Job) -> Answer:
        """Do a job, with its TensorRT installed beforehand: the job's own process has no access to the network."""
        need = self.request.toolchain
        if need is not None:
            ready_toolchain(toolchain_for(need), offline=self.request.offline)
        place = JobPlace(self.agent.store, self.root, self.control, self.agent.gpu(self.request.gpu))
        return run_job(job, place)

    def _performed(self, action: Action) -> tuple[Trace, bool]:
        store, performer = self.agent.store, self._performer(action)

        def execute() -> Trace:
            return carry_out(action, performer, store, self.control, self.root)

        def known(asked: Action) -> Trace | None:
            found = store.trace(asked.key)
            return found if found is not None and all(map(store.has, found.outputs.values())) else None

        if self.request.holds_lock:
            return execute(), True
        past = Lookup(None if self.request.anew else known, known)
        done = run_once(action, execute, store, self.control, past)
        return done.trace, done.ran

    def _performer(self, action: Action) -> Performer:
        store, root, request = self.agent.store, self.root, self.request
        if request.toolchain is not None and request.toolchain.wheels:
            WheelLock(root / WHEEL_LOCK).learn(request.toolchain.name, request.toolchain.wheels)
        toolchains = {} if request.toolchain is None else {action.address: toolchain_for(request.toolchain)}
        site = Site(
            store,
            ProjectState.load(root / STATE_FILE),
            root,
            root / LOCK_FILE,
            root / WHEEL_LOCK,
            sent_tactics={action.key: request.tactics} if request.tactics else {},
        )
        forced = frozenset({action.address}) if request.anew else frozenset()
        terms = Terms(
            offline=request.offline,
            forced=forced,
            by_rules=request.by_rules,
            gpu=self.agent.gpu(request.gpu),
            evaluators=self.agent.evaluators,
        )
        here = HereOf(root, (), {}, toolchains)
        return Performer(site, here, self, terms, TimingCaches(store.root))

    def _wheels(self) -> Mapping[str, str]:
        if self.request.toolchain is None:
            return {}
        return WheelLock(self.root / WHEEL_LOCK).wheels(self.request.toolchain.name)


def toolchain_for(need: ToolchainNeed) -> Toolchain:
    """The TensorRT that a request names, to be installed if it is not here yet. Raises ToolchainError."""
    from trtpipe.spec.pipeline import ToolchainSpec
    from trtpipe.toolchains.resolve import locate_toolchain

    found = locate_toolchain(None, ToolchainSpec(flavour=need.flavour, version=need.version))
    if isinstance(found, Problem):
        raise ToolchainError(found)
    if need.facts and found.facts() != dict(need.facts):
        fact = (
            f"its {found} is for Python {found.python_version}, whose engines may differ from those asked for"
        )
        raise ToolchainError(Code.OTHER_VERSION, fact)
    return found
