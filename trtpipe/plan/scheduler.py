"""The scheduler: starts each step as soon as its inputs are ready, as many at a time as the dispatcher accepts.

A topological scheduler. It takes a function that decides *whether* a step must run and a dispatcher that runs it, and
yields the end of each step as it happens, so that the caller can deliver finished cells while the rest runs. The
decision about a step is made when its inputs are known, so a step that turns out to be up to date after its upstream
ran is never started (early cutoff).

A step is in one of these states; `_STATES_BEFORE` says which may follow which, and `_set` is the only way from one to
the next:

    Waiting ──> Running ──> Done ──> Running     its outputs were lost and are made again
       │  ^        │ ├────> Failed
       │  └────────┘ │                           an input was lost: it waits for that to be made again
       ├─────────────┴────> Blocked              something before it failed, or the build stopped
       └──────────────────> Done, Failed         up to date; or its start failed
"""

from __future__ import annotations

import queue
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Protocol

from trtpipe.errors import ArtifactDamaged, ArtifactMissing, Interrupted, TrtpipeError
from trtpipe.plan.address import Address
from trtpipe.plan.decisions import Decision, Pending, Restore, Run, UpToDate
from trtpipe.plan.events import StepBlocked, StepEvent, StepFailure, StepFinished, StepStarted
from trtpipe.plan.graph import Action, Outputs, Plan, Step, action_of
from trtpipe.plan.ports import Observer, Performed
from trtpipe.plan.reasons import CorruptOutput, Forced
from trtpipe.plan.trace import Trace
from trtpipe.unions import assert_never

_MOST_AGAIN = 2  # a store that loses artifacts more often than this is broken
_TICK_SECONDS = 0.25  # seconds between checks for Ctrl-C while nothing finishes

Decide = Callable[[Step, Mapping[Address, Outputs]], Decision]
"""Whether a step must run, given the outputs of the steps before it."""


class Jobs(Protocol):
    """Runs actions; see `dispatcher.Dispatcher`."""

    def submit(self, action: Action, *, anew: bool = False) -> Future[Performed]:
        """Run an action; with `anew` even if its result may be known."""

    def has(self, outputs: Outputs) -> bool:
        """Whether the store has these artifacts."""

    def cancel(self, *, now: bool = False) -> None:
        """Stop running actions."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """Some steps that it depends on are not done yet; these are listed."""

    on: frozenset[Address]


@dataclass(frozen=True, slots=True)
class Running:
    """All inputs are known, and the dispatcher runs its action; `anew` even if its result may be known."""

    job: Future[Performed]
    anew: bool


@dataclass(frozen=True, slots=True)
class Done:
    """The step's outputs are known; `trace` is set if it ran now."""

    outputs: Outputs
    key: str
    trace: Trace | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """The step ran and failed, or could not be started."""

    error: TrtpipeError


@dataclass(frozen=True, slots=True)
class Blocked:
    """The step was not started, or was stopped: `by` is the failed step before it, None if the build was stopped."""

    by: Address | None = None


Result = Done | Failed | Blocked
State = Waiting | Running | Result

_STATES_BEFORE: Mapping[type, tuple[type, ...]] = {
    Waiting: (Waiting, Running),
    Running: (Waiting, Done),
    Done: (Waiting, Running),
    Failed: (Waiting, Running),
    Blocked: (Waiting, Running),
}
"""State → those that it may follow; every step begins as Waiting."""


def told_of(result: Result) -> tuple[str, float | None]:
    """The end of a step in words, and the seconds that it took if it ran."""
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
    decide: Decide
    jobs: Jobs
    observer: Observer
    keep_going: bool = False
    interrupted: Callable[[], int] = lambda: 0
    """How often the user pressed Ctrl-C: after the first press nothing is started, after the second all is ended."""
    _states: dict[Address, State] = field(default_factory=dict)
    _known: dict[Address, Outputs] = field(default_factory=dict)
    _needed_by: dict[Address, list[Address]] = field(default_factory=dict)
    _again: Counter[Address] = field(default_factory=Counter)
    _finished: queue.SimpleQueue[Address] = field(default_factory=queue.SimpleQueue)
    _results: deque[tuple[Address, Result]] = field(default_factory=deque)
    _running: int = 0
    _stopping: bool = False

    def run(self) -> Iterator[tuple[Address, Result]]:
        """Bring every step to Done, Failed or Blocked, and yield each as it gets there.

        A step whose outputs were lost and made again is yielded again. A bug in an action is raised as it is.
        """
        for address, step in self.plan.steps.items():
            before = frozenset(one for one in step.awaited() if one in self.plan.steps)
            self._states[address] = Waiting(before)
            for up in before:
                self._needed_by.setdefault(up, []).append(address)
        # Collected before the first start, because starting a step can end it at once and start its
        # dependents, which must not be started a second time.
        for address in [address for address, state in self._states.items() if state == Waiting(frozenset())]:
            self._start(address)
        yield from self._told()
        while self._running:
            self._collect()
            yield from self._told()

    def _told(self) -> Iterator[tuple[Address, Result]]:
        while self._results:
            yield self._results.popleft()

    def _set(self, address: Address, state: State) -> None:
        """The only function that changes a step's state; if the step ends, its dependents are notified."""
        before = self._states[address]
        assert type(before) in _STATES_BEFORE[type(state)], f"{address}: {before} cannot become {state}"
        self._running += isinstance(state, Running) - isinstance(before, Running)
        self._states[address] = state
        if isinstance(state, (Done, Failed, Blocked)):
            self._results.append((address, state))
            self.observer.emit(_event_of(address, state))
            self._stopping |= isinstance(state, Failed) and not self.keep_going
            if isinstance(state, Done):
                self._known[address] = state.outputs
            for after in self._needed_by.get(address, ()):
                self._hear(after, address, state)

    def _hear(self, address: Address, before: Address, result: Result) -> None:
        """Notifies a waiting step that a step it depends on has ended."""
        state = self._states[address]
        # It is blocked already, or ran before the other step was made once more.
        if not isinstance(state, Waiting) or before not in state.on:
            return
        if not isinstance(result, Done):
            self._set(address, Blocked(before))
            return
        self._set(address, Waiting(state.on - {before}))
        if state.on == {before}:
            self._start(address)

    def _start(self, address: Address) -> None:
        """Starts a step that waits for nothing more: makes its decision, then runs it or uses the known result."""
        if self._stopping:
            self._set(address, Blocked())
            return
        step = self.plan.steps[address]
        match self.decide(step, self._known):
            case UpToDate(key, outputs) | Restore(key, outputs):
                self._set(address, Done(outputs, key))
            case Run() as decision:
                self._submit(address, decision)
            case Pending(waits_for):
                raise AssertionError(f"{address} was started before {waits_for}")

    def _submit(self, address: Address, decision: Run) -> None:
        """Emits the reason why a step runs, and submits it."""
        self.observer.emit(StepStarted(address, decision))
        self._dispatch(address, anew=isinstance(decision.reason, Forced))

    def _dispatch(self, address: Address, *, anew: bool) -> None:
        job = self.jobs.submit(action_of(self.plan.steps[address], self._known), anew=anew)
        self._set(address, Running(job, anew))
        # The callback may run in another thread, so it only queues the address: states change in this thread
        # alone.
        job.add_done_callback(lambda _: self._finished.put(address))

    def _collect(self) -> None:
        """Waits for one step to end, handling Ctrl-C."""
        try:
            address = self._finished.get(timeout=_TICK_SECONDS)
        except queue.Empty:
            self._mind_interrupt()
            return
        self._mind_interrupt()  # before the step's end starts what waits for it
        state = self._states[address]
        assert isinstance(state, Running), f"{address} ended and did not run"
        error = None if state.job.cancelled() else state.job.exception()
        if state.job.cancelled() or isinstance(error, Interrupted):
            self._set(address, Blocked())
        elif error is None:
            done = state.job.result()
            self._set(address, Done(done.trace.outputs, done.trace.key, done.trace if done.ran else None))
        elif isinstance(error, TrtpipeError):
            lost = isinstance(error, (ArtifactMissing, ArtifactDamaged))
            if not lost or not self._make_inputs_again(address, anew=state.anew):
                self._set(address, Failed(error))
        else:
            self.jobs.cancel(now=True)
            raise error  # a bug: show its traceback

    def _mind_interrupt(self) -> None:
        presses = self.interrupted()
        if presses:
            self._stopping = True
            self.jobs.cancel(now=presses > 1)

    def _make_inputs_again(self, address: Address, *, anew: bool) -> bool:
        """An input was lost before it was used: run the step that makes it, then this step.

        Returns False if that was tried in vain already; then the step has failed.
        """
        upstream = dict.fromkeys(self.plan.steps[address].upstream())
        for up in upstream:
            if isinstance(self._states[up], (Failed, Blocked)):  # it was lost twice
                self._set(address, Blocked(up))
                return True
        lost = [
            up for up in upstream if isinstance(self._states[up], Done) and not self.jobs.has(self._known[up])
        ]
        under_way = [up for up in upstream if not isinstance(self._states[up], Done)]
        tried = lost or ([] if under_way else [address])  # another build may have made it again meanwhile
        # A store that keeps losing artifacts must not keep the build running for ever.
        if self._stopping or any(self._again[one] >= _MOST_AGAIN for one in tried):
            return False
        self._again.update(tried)
        self._set(address, Waiting(frozenset((*lost, *under_way))))
        for up in lost:
            self._submit(up, Run("", CorruptOutput(f"what {up} made")))
        # The other step is done already, so its end will not start this one.
        if tried == [address]:
            self._dispatch(address, anew=anew)
        return True


def _event_of(address: Address, result: Result) -> StepEvent:
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
