"""Brings bundles to their end: validates the whole and writes its results, once every member is delivered."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from trtpipe.building.performer import Terms
from trtpipe.building.steps import open_steps
from trtpipe.errors import Problem, TrtpipeError
from trtpipe.loader.bundles import LoadedBundle
from trtpipe.lockfile import Entry, Lock, bundle_text
from trtpipe.lockfile.comparison import between, mismatch
from trtpipe.plan.graph import plan_of
from trtpipe.plan.ports import Observer
from trtpipe.plan.rebuilder import Rebuilder, decide_all
from trtpipe.plan.scheduler import Failed, Result
from trtpipe.plan.task import GOLDEN
from trtpipe.workspace.site import HereOf

if TYPE_CHECKING:
    from trtpipe.building.outcome import Outcome
    from trtpipe.building.planned import Planned
    from trtpipe.plan.trace import Trace

from trtpipe.building.bundles.work import BundleWork, engine_keys, noted, work_on


def complete_bundles(
    planned: Planned, outcome: Outcome, observer: Observer, terms: Terms, frozen: Lock | None = None
) -> list[str]:
    """Validate and write the selected bundles whose members are all delivered; the names of those that are complete.

    A bundle that cannot be complete, because a member failed, is among what is blocked. With `frozen`, each must be as
    that lockfile says.
    """
    delivered = {*outcome.built, *outcome.restored, *outcome.fresh}
    completion = _Completion(planned, delivered, engine_keys(planned), observer, terms, frozen)
    return [one.name for one in planned.workspace.whole_bundles if _is_completed(one, completion, outcome)]


def _is_completed(bundle: LoadedBundle, completion: _Completion, outcome: Outcome) -> bool:
    """Whether a bundle is complete now; if not, the outcome says why."""
    try:
        done = completion.complete(bundle)
    except TrtpipeError as error:
        error.problems = tuple(_placed(bundle, problem) for problem in error.problems)
        outcome.failures.append((bundle.name, error))
        return False
    if not done:
        outcome.blocked.append(bundle.name)
    return done


def _placed(bundle: LoadedBundle, problem: Problem) -> Problem:
    """A problem of the driver, with its place in the bundle's file; a data set's are in another file."""
    return bundle.locate(problem) if problem.path[:1] == ("python",) and bundle.spec.python else problem


@dataclass(frozen=True, slots=True)
class _Completion:
    """What completing a bundle needs, the same for all of them."""

    planned: Planned
    delivered: Collection[str]
    keys: Mapping[str, str]
    """Cell → the key of its engine."""
    observer: Observer
    terms: Terms
    frozen: Lock | None

    def complete(self, bundle: LoadedBundle) -> bool:
        """Validate the whole and write its results, unless they are there; False when a member is not delivered."""
        from trtpipe.delivery.bundles import BundleResult, deliver_bundle

        planned, state = self.planned, self.planned.workspace.state
        work = work_on(planned, bundle, self.delivered)
        if work is None:
            return False
        content, hold = work.content(self.keys), partial(self._hold, bundle.name)
        if state.delivered(bundle.name, content) and not _forced(planned):
            hold(noted(planned, bundle.name))
            return True
        traces = validated(planned, work, self.observer, self.terms)
        result = BundleResult(bundle, work.choice, work.key(self.keys), traces, work.facts.facts())
        files, entry = deliver_bundle(result, planned.workspace.build, partial(noted, planned), hold)
        files += _recorded(planned, files[0].parent, traces)
        state.remember_cell(bundle.name, content, files, bundle_text({bundle.name: entry}, bundle.name))
        return True

    def _hold(self, name: str, entry: Entry) -> None:
        """Compare a complete bundle with the lockfile of a frozen build. Raises LockMismatch."""
        if self.frozen is None:
            return
        differences = between(name, self.frozen.bundles.get(name, {}), entry)
        if differences:
            raise mismatch(differences, "`trtpipe build` writes the results of this machine")


def _forced(planned: Planned) -> bool:
    """Whether every step was asked to run again."""
    return len(planned.decided.rebuilder.forced) == len(planned.plan.steps)


def _refuse_failed(results: Iterable[Result]) -> None:
    """Raises the error of the first step that failed."""
    for one in results:
        if isinstance(one, Failed):
            raise one.error


def _recorded(planned: Planned, folder: Path, traces: Mapping[str, Trace]) -> list[Path]:
    """The first samples with the reference's outputs beside the bundle's files: a recording for `validate.golden`."""
    path = folder / GOLDEN
    digest = next((one.outputs[GOLDEN] for one in traces.values() if GOLDEN in one.outputs), None)
    path.unlink(missing_ok=True)
    if digest is None:
        return []
    planned.workspace.store.fetch(digest, path)
    return [path]


def validated(planned: Planned, work: BundleWork, observer: Observer, terms: Terms) -> dict[str, Trace]:
    """Target → the trace of its validation. Raises StepFailed."""
    own = {step.address: step for step in work.steps.values()}
    if not own:
        return {}
    plan = plan_of({**planned.plan.steps, **own}, ()).upto(own)
    site = planned.site
    here = HereOf(site.root, site.reach, plan.steps, {})
    with open_steps(plan, site, here, observer, terms) as steps:
        if _forced(planned):
            again = Rebuilder(steps.past, frozenset(own))
            _refuse_failed(dict(steps.run(plan, decide_all(plan, again))).values())
        steps.bring(list(own))
        return {target: steps.trace(step.address) for target, step in work.steps.items()}
