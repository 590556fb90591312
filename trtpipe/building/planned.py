"""A plan with its decisions, before anything runs; `plan`, `check` and every other command begin with it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from trtpipe.building.facts import FactFinder
from trtpipe.building.prefetch import prefetch_traces
from trtpipe.building.unchanged.settled import Settled
from trtpipe.delivery.cells import content_of, policy_of
from trtpipe.errors import PlanError, SpecError
from trtpipe.lockfile.choices import gpu_in
from trtpipe.plan.address import Address
from trtpipe.plan.decisions import Decision, Restore, UpToDate
from trtpipe.plan.fingerprint import Record
from trtpipe.plan.graph import Action, Cell, Outputs, Plan, Step, plan_of, with_upstream
from trtpipe.plan.planner import joined_steps, steps_of
from trtpipe.plan.planner.facts import PipelineFacts
from trtpipe.plan.ports import Observer
from trtpipe.plan.rebuilder import Decided, Keys, Past, Rebuilder, decide_all
from trtpipe.problem_codes import Code
from trtpipe.spec.pipeline import PipelineSpec
from trtpipe.workspace.site import HereOf, Site
from trtpipe.workspace.target_facts import TargetResolver
from trtpipe.workspace.workspace import Workspace

if TYPE_CHECKING:
    from trtpipe.building.on_fleet import FleetUse
    from trtpipe.building.performer import Terms
    from trtpipe.building.steps import Steps
    from trtpipe.toolchains.detect import DetectedGpu


FleetFor = Callable[["Planned"], "AbstractContextManager[FleetUse | None]"]
"""Opens the fleet that runs a plan's steps; None where this machine does."""


def on_this_machine(planned: Planned) -> AbstractContextManager[FleetUse | None]:
    """No fleet."""
    return nullcontext()


@dataclass(frozen=True, slots=True)
class Planned:
    """A plan with its decisions, before anything runs."""

    workspace: Workspace
    site: Site
    plan: Plan
    decided: Decided
    specs: Mapping[str, PipelineSpec]
    facts: Mapping[str, PipelineFacts]
    targets: TargetResolver
    settled: Settled = field(default_factory=Settled)
    """The pipelines of the command that need no plan."""
    declared: frozenset[Address] = frozenset()
    """The addresses of all steps that the specs declare, those of cells that are not wanted included."""

    @property
    def decisions(self) -> Mapping[Address, Decision]:
        """The decision for each step."""
        return self.decided.decisions

    @property
    def undelivered(self) -> Collection[str]:
        """Cells whose files are not all in place."""
        return self.decided.undelivered

    def here(self) -> HereOf:
        """Machine-specific facts about the plan's actions."""
        toolchains = {
            cell.steps[stage]: self.facts[cell.pipeline].targets[cell.target].found
            for cell in self.plan.cells
            for stage in ("parse", "build_engine")
        }
        return HereOf(self.site.root, self.site.reach, self.plan.steps, toolchains)

    def steps(self, observer: Observer, terms: Terms | None = None) -> AbstractContextManager[Steps]:
        """An object that brings the plan's steps up to date, while the context lasts. Raises StoreError."""
        from trtpipe.building.performer import PLAIN_TERMS
        from trtpipe.building.steps import open_steps

        past = self.decided.rebuilder.past
        return open_steps(self.plan, self.site, self.here(), observer, terms or PLAIN_TERMS, past)

    def actions(self) -> dict[Address, Action]:
        """The action of every step whose inputs are known."""
        return self.plan.actions(_known_outputs(self.decisions))

    def last_record(self, address: Address) -> Record | None:
        """The fingerprint record of a step's last success here."""
        return self.decided.rebuilder.past.last_record(address)


def make_plan(
    workspace: Workspace,
    *,
    force: bool = False,
    search_again: bool = False,
    gpus: Callable[[], Sequence[DetectedGpu]] = tuple,
) -> Planned:
    """Facts, steps and decisions; `search_again` forces searches only, `gpus` are those of a fleet that builds.

    Raises SpecError with every problem of every pipeline.
    """
    workspace = _whole(workspace)
    site = workspace.site
    targets = TargetResolver(elsewhere=gpus, recorded=lambda *of: gpu_in(site.lock.cells, *of))
    finder = FactFinder(workspace.state, targets)
    facts = {one.spec.pipeline: finder.facts_of(one) for one in workspace.pipelines if one.joint is None}
    if finder.problems:
        raise SpecError(finder.problems)
    specs = {one.spec.pipeline: one.spec for one in workspace.pipelines}
    found = {name: known for name, known in facts.items() if known is not None}
    found |= {one.spec.pipeline: found[one.joint.pipeline] for one in workspace.pipelines if one.joint}
    plan, declared = _selected(workspace, specs, found)
    prefetch_traces(plan, workspace.store, workspace.state)
    forced = {one for one in plan.steps if force or (search_again and one.stage == "search")}
    rebuilder = Rebuilder(_past(site, specs), frozenset(forced))
    decided = decide_all(plan, rebuilder)
    return Planned(workspace, site, plan, decided, specs, found, targets, declared=declared)


def _whole(workspace: Workspace) -> Workspace:
    """The workspace, with the members of bundles that have cells of their own."""
    if not any(bundle.joined for bundle in workspace.bundles):
        return workspace
    from trtpipe.building.bundles.joints import with_joints

    return with_joints(workspace)


def _past(site: Site, specs: Mapping[str, PipelineSpec]) -> Past:
    """The results of earlier builds, and which cells are delivered under these specs' limits."""
    policies = {
        (name, variant): policy_of(spec, variant) for name, spec in specs.items() for variant in spec.variants
    }

    def delivered(cell: Cell, keys: Keys) -> bool:
        return site.state.delivered(cell.name, content_of(cell, policies[cell.pipeline, cell.variant], keys))

    return replace(site.past(), delivered=delivered)


def _selected(
    workspace: Workspace, specs: Mapping[str, PipelineSpec], facts: Mapping[str, PipelineFacts]
) -> tuple[Plan, frozenset[Address]]:
    """The plan of the requested cells, and the addresses of all steps."""
    steps: dict[Address, Step] = {}
    cells: list[Cell] = []
    addresses: set[Address] = set()
    joints = {one.spec.pipeline: one.joint for one in workspace.pipelines if one.joint is not None}
    for name, spec in specs.items():
        joint = joints.get(name)
        if joint is None:
            made, declared = steps_of(spec, facts[name])
        else:
            own = steps_of(specs[joint.pipeline], facts[name])
            made, declared = joined_steps(spec, joint.graft, *own)
        addresses |= made.keys()
        wanted = [cell for cell in declared if workspace.wants(cell.name)]
        needed = with_upstream(made, {address for cell in wanted for address in cell.steps.values()})
        steps.update({address: step for address, step in made.items() if address in needed})
        cells += wanted
    if not cells:
        raise PlanError(Code.NO_CELL, "no cell is left to build")
    return plan_of(steps, tuple(cells)), frozenset(addresses)


def _known_outputs(decisions: Mapping[Address, Decision]) -> dict[Address, Outputs]:
    return {
        address: decision.outputs
        for address, decision in decisions.items()
        if isinstance(decision, (UpToDate, Restore))
    }


def nothing_to_do(planned: Planned) -> bool:
    """Whether every step is up to date, every cell is delivered and the lockfile says so."""
    if any(not isinstance(decision, UpToDate) for decision in planned.decisions.values()):
        return False
    if planned.undelivered:
        return False
    if not planned.workspace.bundles:
        return True
    from trtpipe.building.bundles.work import stale_bundles

    return not stale_bundles(planned)


def delivered_now(planned: Planned) -> set[str]:
    """The cells that are delivered as the specs require, ignoring whether any were asked to run again."""
    decided = decide_all(planned.plan, Rebuilder(planned.decided.rebuilder.past))
    return {cell.name for cell in planned.plan.cells} - decided.undelivered


def runs(planned: Planned) -> list[Address]:
    """The addresses of the steps that must run, or may have to run."""
    return [
        address
        for address, decision in planned.decisions.items()
        if not isinstance(decision, (UpToDate, Restore))
    ]
