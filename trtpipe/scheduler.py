"""When steps run: as soon as what they need is there, as many at a time as the executor takes.

A topological scheduler. It asks the rebuilder whether and the executor how; all three meet as values. A step's
states are Waiting -> Ready -> Running -> Done | Failed, or Waiting -> Blocked when something before it failed;
every transition goes through one method. When a step's inputs are known its decision is made, so a step that
turns out up to date after its upstream ran is never started (early cutoff).
"""

from __future__ import annotations

import queue
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field

from trtpipe.deciding import Outputs, Rebuilder
from trtpipe.errors import ArtifactDamaged, ArtifactMissing, Interrupted, TrtpipeError
from trtpipe.plan.decisions import Pending, Run, UpToDate
from trtpipe.plan.events import StepBlocked, StepEvent, StepFailure, StepFinished, StepStarted
from trtpipe.plan.graph import Plan, Step, action_of
from trtpipe.plan.ports import Executor, Observer, Performed
from trtpipe.plan.reasons import CorruptOutput
from trtpipe.plan.trace import Trace
from trtpipe.unions import assert_never

_MOST_AGAIN = 2  # a store that loses an artifact more often than this has another trouble
_TICK_SECONDS = 0.25  # how often the loop looks for Ctrl-C while nothing finishes


@dataclass(frozen=True, slots=True)
class Done:
    """The step's outputs are known; `trace` is there when it ran now."""

    outputs: Outputs
    key: str
    trace: Trace | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """The step ran and failed, or could not be started."""

    error: TrtpipeError


@dataclass(frozen=True, slots=True)
class Blocked:
    """The step was not started: something before it failed, or the build stopped."""

    by: str


Result = Done | Failed | Blocked


def told_of(result: Result) -> tuple[str, float | None]:
    """What became of a step, in words, and the seconds that it took if it ran."""
    match result:
        case Done(_, _, Trace(seconds=seconds)):
            return "ran", round(seconds, 3)
        case Done():
            return "up to date", None
        case Failed():
            return "failed", None
    return "not run", None


@dataclass(slots=True)
class Scheduler:
    """One run over one plan. Use it once."""

    plan: Plan
    rebuilder: Rebuilder
    executor: Executor
    observer: Observer
    keep_going: bool = False
    on_done: Callable[[str], None] = lambda address: None
    """Called in the scheduler's own thread after a step is Done."""
    interrupted: Callable[[], int] = lambda: 0
    """How often the user pressed Ctrl-C."""
    results: dict[str, Result] = field(default_factory=dict)
    _running: dict[str, Future[Performed]] = field(default_factory=dict)
    _finished: queue.SimpleQueue[str] = field(default_factory=queue.SimpleQueue)
    _again: dict[str, int] = field(default_factory=dict)
    _known: dict[str, Outputs] = field(default_factory=dict)
    _stopping: bool = False
    _waiting_on: dict[str, int] = field(default_factory=dict)
    _needed_by: dict[str, list[str]] = field(default_factory=dict)

    def run(self) -> Mapping[str, Result]:
        """Bring every step to Done, Failed or Blocked. Raises Interrupted after Ctrl-C."""
        for step in self.plan.steps.values():
            before = set(step.upstream())
            self._waiting_on[step.address] = len(before)
            for up in before:
                self._needed_by.setdefault(up, []).append(step.address)
        for step in [step for step in self.plan.steps.values() if self._waiting_on[step.address] == 0]:
            self._start(step)
        while self._running:
            self._collect()
        if self.interrupted():
            raise Interrupted("interrupted", "what was finished is kept; run it again to go on")
        return self.results

    def _start(self, step: Step) -> None:
        """Ready: decide, then run it or take what is known."""
        if self._stopping:
            self._settle(step.address, Blocked("the build was stopped"))
            return
        decision = self.rebuilder.decide(step, self._known)
        match decision:
            case UpToDate(key, outputs):
                self._settle(step.address, Done(outputs, key))
            case Run():
                self.observer.emit(StepStarted(step.address, decision))
                self._submit(step)
            case Pending():
                raise AssertionError(f"{step.address} was started before {decision.waits_for}")

    def _submit(self, step: Step) -> None:
        address = step.address
        future = self.executor.submit(action_of(step, self._known))
        self._running[address] = future
        future.add_done_callback(lambda _: self._finished.put(address))

    def _collect(self) -> None:
        """Wait for one step to end, minding Ctrl-C."""
        try:
            address = self._finished.get(timeout=_TICK_SECONDS)
        except queue.Empty:
            self._mind_interrupt()
            return
        future = self._running.pop(address)
        error = None if future.cancelled() else future.exception()
        if future.cancelled():
            self._settle(address, Blocked("the build was stopped"))
        elif error is None:
            done = future.result()
            self._settle(address, Done(done.trace.outputs, done.trace.key, done.trace if done.ran else None))
        elif isinstance(error, Interrupted):
            self._settle(address, Blocked("the build was stopped"))
        elif isinstance(error, (ArtifactMissing, ArtifactDamaged)) and self._make_inputs_again(address):
            pass
        elif isinstance(error, TrtpipeError):
            self._settle(address, Failed(error))
        else:
            self.executor.cancel(now=True)
            raise error  # a bug: show its traceback
        self._mind_interrupt()

    def _mind_interrupt(self) -> None:
        presses = self.interrupted()
        if presses:
            self._stopping = True
            self.executor.cancel(now=presses > 1)

    def make_again(self, address: str, detail: str) -> bool:
        """Run a step that is Done once more, because the store lost what it made; whether that is worth a try.

        To be called from `on_done`, which hears of it again.
        """
        if address in self._running or address not in self.results:
            return True
        if self._stopping or self._again.get(address, 0) >= _MOST_AGAIN:
            return False
        self._again[address] = self._again.get(address, 0) + 1
        self.rebuilder.wanted_again.add(address)
        del self.results[address]
        self._needed_by[address] = []  # those that waited for it have gone on
        self.observer.emit(StepStarted(address, Run("", CorruptOutput(detail))))
        self._submit(self.plan.steps[address])
        return True

    def _make_inputs_again(self, address: str) -> bool:
        """An input was lost between decision and use: run what makes it, then this step."""
        has = self.rebuilder.memory.has
        before = dict.fromkeys(self.plan.steps[address].upstream())
        lost = [up for up in before if up not in self.results or not all(map(has, self._known[up].values()))]
        if not all(self.make_again(up, f"what {up} made") for up in lost):
            return False
        if not lost:  # another build has made it again meanwhile
            self._again[address] = self._again.get(address, 0) + 1
            if self._again[address] > _MOST_AGAIN:
                return False
            self._submit(self.plan.steps[address])
        self._waiting_on[address] = len(lost)
        for up in lost:
            self._needed_by[up].append(address)
        return True

    def _settle(self, address: str, result: Result) -> None:
        """The one transition to an end state; starts or blocks what waited for it."""
        waiting = self._needed_by.get(address, [])
        self.results[address] = result
        self.observer.emit(_event_of(address, result))
        if isinstance(result, Done):
            self._known[address] = result.outputs
            self.on_done(address)
        elif isinstance(result, Failed) and not self.keep_going:
            self._stopping = True
        for after in waiting:
            if isinstance(self.results.get(after), Blocked):
                continue
            if not isinstance(result, Done):
                self._settle(after, Blocked(address))
                continue
            self._waiting_on[after] -= 1
            if self._waiting_on[after] == 0 and after not in self.results:
                self._start(self.plan.steps[after])


def _event_of(address: str, result: Result) -> StepEvent:
    match result:
        case Done(_, key, trace):
            if trace is None:
                return StepFinished(address, key, ran=False)
            return StepFinished(address, key, True, trace.seconds, trace.summary)
        case Failed(error):
            return StepFailure(address, tuple(error.problems))
        case Blocked(by):
            return StepBlocked(address, by)
    assert_never(result)
