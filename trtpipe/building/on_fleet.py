"""How a command uses a fleet: what its steps need of machines, and what is said before anything starts.

One `FleetUse` belongs to one command; it is made only when something must run, so that a build with nothing to do
neither connects nor imports dask.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from trtpipe.building.searches.evaluations import Elsewhere
from trtpipe.errors import FleetError, Problem
from trtpipe.fleet.connection import Fleet
from trtpipe.fleet.dialling import greet
from trtpipe.fleet.executor import FleetExecutor, Wishes
from trtpipe.fleet.lanes import NO_AGENT, Lanes, need_words
from trtpipe.fleet.placement import GpuNeed, Need, WorkFacts, gpu_need, need_of, reason_lines
from trtpipe.fleet.protocol import ToolchainNeed
from trtpipe.fleet.records import Timeline
from trtpipe.fleet.transfer import Routes
from trtpipe.plan.address import Address
from trtpipe.plan.control import Control
from trtpipe.plan.decisions import Restore, UpToDate
from trtpipe.plan.dispatcher import Lookup, run_once
from trtpipe.plan.fingerprint import Record
from trtpipe.plan.graph import Action, Plan, Step
from trtpipe.plan.ports import Executor
from trtpipe.problem_codes import Code
from trtpipe.toolchains.lookup import python_version
from trtpipe.toolchains.verification import name_of
from trtpipe.toolchains.wheel_lock import WheelLock
from trtpipe.workspace.site import HereOf

if TYPE_CHECKING:
    from trtpipe.building.performer import Performer
    from trtpipe.building.planned import Planned
    from trtpipe.building.steps import Steps
    from trtpipe.plan.decisions import Decision
    from trtpipe.plan.trace import Trace
    from trtpipe.workspace.site import Site

_MOST_JOBS = 512
_MOST_EVALUATIONS = 64
_WITH_TOOLCHAIN = ("build_engine", "parse")


@dataclass
class FleetUse:
    """A connection to a fleet, and what this command has done with it."""

    fleet: Fleet
    lanes: Lanes
    routes: Routes
    timeline: Timeline = field(default_factory=Timeline)
    say: Callable[[str], None] = lambda text: None
    """Says a line about work that is no step of a plan."""

    def jobs(self, asked: int | None) -> int:
        """How many steps may be under way at a time: as many as were asked for, or what keeps every lane busy."""
        return asked or min(_MOST_JOBS, 2 * self.lanes.total() + 4)

    def evaluating(self, performer: Performer, search: Action, control: Control) -> Elsewhere | None:
        """Evaluates for a search on agents; None if none of them can, so that this machine must."""
        address, here = Address(search.address.place, "evaluate"), performer.here
        assert isinstance(here, HereOf), "a search runs where its project is"
        work = WorkFacts("evaluate", search.fingerprint.tools, search.fingerprint.inputs)
        need = need_of(work, python_version(), None, None)
        if not work.may_leave or all(self.lanes.why_not(one, need) for one in self.fleet.agents()):
            return None
        if search.address in here.steps:  # an evaluation reads the same files
            here = here.knowing(replace(here.steps[search.address], address=address))
        forced = frozenset({address}) if performer.terms.evaluate_anew else frozenset()
        asking = replace(performer, here=here, terms=replace(performer.terms, forced=forced))
        executor = self.executor(asking, _NeverHere())
        at_once = min(_MOST_EVALUATIONS, self.lanes.total())
        return Elsewhere(lambda asked: executor.execute(asked, control), at_once)

    def trying(self, steps: Steps, action: Action) -> Callable[[Action], Trace] | None:
        """Runs an action with other inputs on agents, to see how it fails; None if it stays on this machine.

        A crash is what it is tried for, so it is not tried again elsewhere.
        """
        executor = replace(self.executor(steps, _NeverHere()), crashes_again=False)
        if executor.stays_here(action):
            return None
        store, control = steps.store, Control()
        unknown = Lookup(None, lambda asked: None)

        def run(asked: Action) -> Trace:
            return run_once(asked, partial(executor.execute, asked, control), store, control, unknown).trace

        return run

    def executor(self, steps: Steps | Performer, local: Executor) -> FleetExecutor:
        """The executor for a command's steps; `local` runs what stays on this machine."""
        here = steps.here
        assert isinstance(here, HereOf), "clients have a project"
        terms, site = steps.terms, steps.site
        lock = WheelLock(site.wheel_lock, not terms.frozen)

        def learn(toolchain: ToolchainNeed, wheels: Mapping[str, str]) -> None:
            lock.learn(toolchain.name, wheels)

        def from_lock(action: Action) -> bool:
            if action.stage != "calibrate" or action.address in terms.forced:
                return False
            return site.scales.of(action.fingerprint.record()) is not None

        wishes = Wishes(
            lambda action: _Needs(here, steps.site).of(
                action.address, WorkFacts.of_action(action), action.fingerprint.options
            ),
            site.tactics,
            learn,
            from_lock,
            terms.by_rules,
            terms.offline,
            lambda action: action.address in terms.forced,
        )
        return FleetExecutor(
            local,
            steps.store,
            here,
            steps.observer,
            self.fleet,
            self.lanes,
            self.routes,
            wishes,
            self.timeline,
        )

    def refuse_unserved(self, steps: Steps, decisions: Mapping[Address, Decision]) -> None:
        """Raises FleetError, before anything runs, with every need that no agent of the fleet serves."""
        run = {
            at: steps.plan.steps[at]
            for at, one in decisions.items()
            if not isinstance(one, (UpToDate, Restore))
        }
        wanted = _needs_of(run, _Needs(steps.here, steps.site))
        greet(self.fleet.agents(), self.lanes, self.routes)
        self.lanes.wait_for([need for need, _ in wanted])
        problems = unserved(wanted, self.lanes, steps.plan)
        if problems:
            raise FleetError(problems)


class _NeverHere:
    """The executor of what stays on this machine, for work that leaves it."""

    def execute(self, action: Action, control: Control) -> Trace:
        """Nothing comes here."""
        raise AssertionError(f"{action.address} runs on an agent")


def jobs_of(fleet: FleetUse | None) -> int:
    """How many steps a command runs at a time that was not told: one, or what keeps a fleet busy."""
    return fleet.jobs(None) if fleet is not None else 1


@dataclass(frozen=True, slots=True)
class _Needs:
    """What the steps of a plan need of a machine."""

    here: HereOf
    site: Site
    _known: dict[str, Mapping[str, str]] = field(default_factory=dict)
    """A toolchain's name → its wheels in the project's lock, read once for all steps that are asked about together."""

    def of(self, address: Address, work: WorkFacts, options: Record) -> Need:
        """The need of a step or an action."""
        if work.stage not in _WITH_TOOLCHAIN:
            return need_of(work, python_version(), None, None)
        found = self.here.toolchains[address]
        toolchain = ToolchainNeed(found.flavour, found.version, found.facts(), self._wheels(name_of(found)))
        return need_of(work, "", toolchain, _gpu_of(options) if work.stage == "build_engine" else None)

    def _wheels(self, toolchain: str) -> Mapping[str, str]:
        if toolchain not in self._known:
            self._known[toolchain] = WheelLock(self.site.wheel_lock, learns=False).wheels(toolchain)
        return self._known[toolchain]


Wanted = Sequence[tuple[Need, Collection[Address]]]
"""Each need once, with the steps that have it."""


def needs_of_plan(planned: Planned) -> Wanted:
    """What all steps of a plan need, whether they must run now or not."""
    return _needs_of(planned.plan.steps, _Needs(planned.here(), planned.site))


def _needs_of(steps: Mapping[Address, Step], needs: _Needs) -> Wanted:
    found: dict[str, tuple[Need, list[Address]]] = {}
    for address, step in steps.items():
        work = WorkFacts.of_step(step)
        if work.may_leave:
            need = needs.of(address, work, step.options.record())
            found.setdefault(repr(need), (need, []))[1].append(address)
    return list(found.values())


def unserved(wanted: Wanted, lanes: Lanes, plan: Plan) -> list[Problem]:
    """A problem for each need that no agent serves: which cells have it, and why each agent cannot."""
    agents = lanes.fleet.agents()
    return [
        _unserved(need, lanes, plan, addresses)
        for need, addresses in wanted
        if all(lanes.why_not(one, need) for one in agents)
    ]


def _unserved(need: Need, lanes: Lanes, plan: Plan, addresses: Collection[Address]) -> Problem:
    served = set(addresses)
    cells = [cell.name for cell in plan.cells if served.intersection(cell.steps.values())]
    shown = ", ".join(cells[:3]) + (f" and {len(cells) - 3} more" if len(cells) > 3 else "")
    reasons = reason_lines({one.name: lanes.why_not(one, need) for one in lanes.fleet.agents()})
    fact = (
        f"no agent of the fleet serves {shown or min(map(str, served))}: it takes one with {need_words(need)}"
    )
    remedy = "" if reasons else NO_AGENT
    return Problem(Code.NOBODY_SERVES, fact, remedy, details="\n".join(reasons))


def _gpu_of(options: Record) -> GpuNeed | None:
    """The GPU that an engine is built on: only engines of the flavour tensorrt need one."""
    if options.get("gpu") is None:
        return None
    need = gpu_need(options["compute_capabilities"], options)
    return replace(need, cuda_major=str(options["gpu"].get("driver_cuda_major") or ""))
