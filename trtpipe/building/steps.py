"""The one way to bring steps up to date, used by every command that needs a step's result.

`Steps` connects what runs actions (the performer, an executor, the dispatcher) for one plan on one site. So all
commands use the same wheels, tactics and choices of the lockfile and the same timing caches, and trust the same traces.
`run` carries a whole plan out and yields the result of each step; `bring` does so for a set of addresses and raises the
first failure.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from trtpipe.building.performer import PLAIN_TERMS, Performer, Terms
from trtpipe.building.searches.evaluations import Evaluations
from trtpipe.building.silent import Unheard
from trtpipe.errors import ArtifactMissing
from trtpipe.executors.local import LocalExecutor
from trtpipe.plan.address import Address
from trtpipe.plan.control import Control
from trtpipe.plan.dispatcher import Dispatcher
from trtpipe.plan.graph import Action, Outputs, Plan, Step, action_of
from trtpipe.plan.ports import ActionResult, Executor, Observer
from trtpipe.plan.rebuilder import Decided, Past, Rebuilder, decide_all
from trtpipe.plan.scheduler import Done, Failed, Result, Scheduler
from trtpipe.plan.trace import Trace
from trtpipe.problem_codes import Code
from trtpipe.stores.local import LocalStore
from trtpipe.workspace.site import HereOf, Site


@dataclass
class Steps:
    """The steps of a plan, and the results of those that were brought up to date. Made by `open_steps`."""

    plan: Plan
    site: Site
    here: HereOf
    observer: Observer
    terms: Terms
    performer: Performer
    past: Past
    quiet: bool = False
    """Whether the start and end of steps are not reported; their messages always are."""
    results: dict[Address, Result] = field(default_factory=dict)
    """The result of each step so far; the last one if it ran more than once."""

    @property
    def store(self) -> LocalStore:
        """The store that results are in."""
        return self.site.store

    @property
    def outputs(self) -> dict[Address, Outputs]:
        """The outputs of every step that is up to date."""
        return {address: one.outputs for address, one in self.results.items() if isinstance(one, Done)}

    def run(
        self,
        plan: Plan,
        decided: Decided,
        *,
        keep_going: bool = False,
        interrupted: Callable[[], int] = lambda: 0,
    ) -> Iterator[tuple[Address, Result]]:
        """Run the steps of a plan that must run, and yield the end of each. After Ctrl-C the rest is Blocked."""
        executor: Executor = LocalExecutor(self.store, self.performer)
        if self.terms.fleet is not None:
            executor = self.terms.fleet.executor(self, executor)
        dispatcher = Dispatcher(
            self.store, executor, jobs=self.terms.jobs, observer=self.observer, believed=self.site.believes
        )
        told = Unheard() if self.quiet else self.observer
        scheduler = Scheduler(plan, decided.again, dispatcher, told, keep_going, interrupted)
        try:
            for address, result in scheduler.run():
                self._note(address, result)
                yield address, result
        except BaseException:  # Ctrl-C, or a bug: no action may keep running after the caller has stopped
            dispatcher.cancel(now=True)
            raise
        finally:
            dispatcher.close()

    def _note(self, address: Address, result: Result) -> None:
        before = self.results.get(address)
        if isinstance(result, Done):
            self.site.state.remember_step(address, result.key, result.outputs)
            if result.trace is None and isinstance(before, Done) and before.key == result.key:
                result = replace(result, trace=before.trace)
        self.results[address] = result

    def bring(
        self,
        addresses: Collection[Address],
        *,
        keep_going: bool = False,
        interrupted: Callable[[], int] = lambda: 0,
    ) -> dict[Address, Result]:
        """Bring these steps, and all that they need, up to date, so that their results are available afterwards.

        Steps that failed in this object before are not tried again. Raises the error of the first failed step, unless
        `keep_going`: then it is among the results.
        """
        plan = self._triable(self.plan.upto(addresses))
        decided = decide_all(plan, Rebuilder(self.past), plan.steps)
        if self.terms.fleet is not None:
            self.terms.fleet.refuse_unserved(self, decided.decisions)
        found = dict(self.run(plan, decided, keep_going=keep_going, interrupted=interrupted))
        self.site.state.save()
        errors = [one.error for one in found.values() if isinstance(one, Failed)]
        if errors and not keep_going:
            raise errors[0]
        return found

    def _triable(self, plan: Plan) -> Plan:
        """The part of a plan that needs no step that failed here, without cells, as nothing is delivered."""
        failed = {address for address, one in self.results.items() if isinstance(one, Failed)}
        steps = {}
        for address, step in plan.steps.items():
            if address in failed or failed.intersection(step.upstream()):
                failed.add(address)
            else:
                steps[address] = step
        return Plan(steps, ())

    def action(self, address: Address) -> Action:
        """The action of a step whose inputs are up to date."""
        return action_of(self.plan.steps[address], self.outputs)

    def trace(self, address: Address) -> Trace:
        """The trace of a step that is up to date. Raises ArtifactMissing when the store has lost it since."""
        done = self.results[address]
        assert isinstance(done, Done), f"{address} was brought up to date"
        trace = done.trace or self.store.trace(done.key)
        if trace is None:
            raise ArtifactMissing(
                Code.NO_ARTIFACT,
                f"the store lost the trace {done.key[:12]} during this run",
                "run it again",
            )
        return trace

    def inputs_of(self, action: Action, folder: Path) -> dict[str, dict[str, Path]]:
        """An action's inputs as files: slot → name → path. What comes from the store is put into `folder`."""
        return self.performer.inputs_of(action, folder)

    def perform(self, action: Action, scratch: Path, control: Control) -> ActionResult:
        """Perform an action once more, for its files in `scratch`: nothing is stored or remembered.

        The lockfile is not used, because the caller wants the result of this machine.
        """
        terms = replace(self.terms, forced=self.terms.forced | {action.address})
        return replace(self.performer, terms=terms)(action, scratch, control)

    def evaluations(self, step: Step, scratch: Path, control: Control) -> Evaluations:
        """The evaluations for a search step; it need not be in the plan, but its inputs must be up to date."""
        performer = replace(self.performer, here=self.here.knowing(step))
        return performer.evaluations(action_of(step, self.outputs), scratch, control)


@contextmanager
def open_steps(
    plan: Plan,
    site: Site,
    here: HereOf,
    observer: Observer,
    terms: Terms = PLAIN_TERMS,
    past: Past | None = None,
) -> Iterator[Steps]:
    """The object that brings steps of a plan up to date, while the context lasts.

    Raises StoreError when something may have to run and the store is not writable.
    """
    from trtpipe.stores.timing_caches import TimingCaches

    if terms.writes:
        site.store.open()
    performer = Performer(site, here, observer, terms, TimingCaches(site.store.root))
    yield Steps(plan, site, here, observer, terms, performer, past or site.past(), terms.quiet)
