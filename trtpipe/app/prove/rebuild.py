"""Builds everything again for `trtpipe build --check`, each action once, and has the results graded.

First the steps that the engines need and that were never done here run as in any build; then every step of the plan
runs again, each in a scratch directory that is removed afterwards. Downloads and precision searches are not repeated,
because their results are decisions that the lockfile holds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field

from trtpipe.app.prove.grades import Graded, grade_engine, grade_outputs, timed
from trtpipe.building.performer import Terms
from trtpipe.building.planned import Planned
from trtpipe.building.problem_places import placed
from trtpipe.building.steps import Steps
from trtpipe.errors import Interrupted, LockMismatch, StepFailed, ToolchainError, TrtpipeError
from trtpipe.lockfile import Lock, load_lock
from trtpipe.lockfile.recipes import outputs_in
from trtpipe.plan.address import Address
from trtpipe.plan.control import Control
from trtpipe.plan.events import CheckStarted
from trtpipe.plan.graph import Action, Cell, Plan
from trtpipe.plan.ports import ActionResult, Observer
from trtpipe.plan.scheduler import Failed
from trtpipe.problem_codes import Code
from trtpipe.processes.interrupts import counting_interrupts

_AGAIN = ("import", "transform", "calibrate", "quantize")
_NOT_NEEDED = ("parse", "build_engine", "validate", "readback")
"""Steps whose results a rebuilt engine does not depend on."""
_TICK_SECONDS = 0.25


@dataclass(slots=True)
class Rebuild:
    """One invocation of `build --check`."""

    planned: Planned
    observer: Observer
    jobs: int
    offline: bool = False
    lock: Lock = field(init=False)
    control: Control = field(default_factory=Control)
    failures: list[tuple[str, TrtpipeError]] = field(default_factory=list)
    """Steps before the engines that failed."""

    def run(self) -> list[Graded]:
        """The grades, steps first. Raises Interrupted, LockMismatch without a lockfile, StoreError."""
        workspace = self.planned.workspace
        if not workspace.lockfile.exists():
            raise LockMismatch(
                Code.NO_LOCKFILE,
                f"there is no lockfile {workspace.lockfile} to check against",
                "run `trtpipe build`",
            )
        self.lock = load_lock(workspace.lockfile)
        if self.lock.conflict:
            fact = f"the lockfile {workspace.lockfile} contains a merge conflict"
            raise LockMismatch(Code.LOCK_CONFLICT, fact, "run `trtpipe build`: it resolves the conflict")
        terms = Terms(self.jobs, self.offline, quiet=False)
        with (
            counting_interrupts() as presses,
            self.planned.steps(self.observer, terms) as steps,
        ):
            self._before_engines(steps, presses)
            return self._graded(steps, presses)

    def _before_engines(self, steps: Steps, presses: Callable[[], int]) -> None:
        """Run every step before the engines that was never done: all their results are needed here."""
        wanted = [one for one in self.planned.plan.steps if one.stage not in _NOT_NEEDED]
        results = steps.bring(wanted, keep_going=True, interrupted=presses)
        if presses():
            raise Interrupted(Code.INTERRUPTED, "interrupted", "nothing was replaced; run it again")
        self.failures = [
            (str(address), placed(self.planned.workspace, address, one.error))
            for address, one in results.items()
            if isinstance(one, Failed)
        ]

    def _graded(self, steps: Steps, presses: Callable[[], int]) -> list[Graded]:
        plan, graded = self.planned.plan, []
        actions = plan.actions(steps.outputs)
        jobs: dict[Future[None], Graded] = {}
        with ThreadPoolExecutor(self.jobs, thread_name_prefix="check") as pool:
            for address, step in plan.steps.items():
                if step.stage in _AGAIN and address in actions:
                    one = Graded(str(address))
                    graded.append(one)
                    jobs[pool.submit(self._grade_step, steps, one, actions[address])] = one
            for cells in _same_engines(plan, actions):
                some = [Graded(cell.name) for cell in cells]
                graded += some
                action = actions.get(cells[0].steps["build_engine"])
                ready = [one for cell, one in zip(cells, some, strict=True) if self._can(cell, action, one)]
                if ready and action is not None:
                    jobs[pool.submit(self._grade_cells, steps, ready, action)] = ready[0]
            self._wait(jobs, presses, pool)
        return graded

    def _wait(
        self, jobs: Mapping[Future[None], Graded], presses: Callable[[], int], pool: ThreadPoolExecutor
    ) -> None:
        pending = set(jobs)
        while pending:
            done, pending = wait(pending, _TICK_SECONDS, FIRST_COMPLETED)
            for future in done:
                if not presses():
                    future.result()  # a bug: show its traceback
            if presses():
                self.control.cancelled.set()
                if presses() > 1:
                    self.control.killed.set()
                pool.shutdown(wait=False, cancel_futures=True)
                pending = {future for future in pending if not future.cancelled()}
        if presses():
            raise Interrupted(Code.INTERRUPTED, "interrupted", "nothing was replaced; run it again")

    def _can(self, cell: Cell, action: Action | None, graded: Graded) -> bool:
        """Whether a cell can be compared with the lockfile; records why not."""
        locked = self.lock.cells.get(cell.name)
        if action is None:
            graded.failed = True
            graded.not_run.append("a step before it failed")
        elif locked is None:
            graded.failed = True
            graded.not_run.append("it is not in the lockfile: build it first")
        elif locked.get("key") != action.key:
            graded.failed = True
            graded.not_run.append(
                "the lockfile has another key: the spec or its files changed, so build it first"
            )
        return not graded.not_run

    def _grade_step(self, steps: Steps, graded: Graded, action: Action) -> None:
        locked = outputs_in(self.lock.steps.get(str(action.address), {}))
        if not locked:
            graded.not_run.append("the lockfile does not contain its result")
            return

        def grade(result: ActionResult) -> Graded:
            return grade_outputs(graded.name, locked, result)

        self._again(steps, graded, action, grade)

    def _grade_cells(self, steps: Steps, cells: list[Graded], action: Action) -> None:
        """Builds one engine again and grades it for each cell that uses it."""
        store = self.planned.workspace.store

        def grade(result: ActionResult) -> Graded:
            first, *others = [
                grade_engine(one.name, action, self.lock.cells[one.name], result, store) for one in cells
            ]
            for one, found in zip(cells[1:], others, strict=True):
                _take(one, found)
                self._tell(one)
            return first

        self._again(steps, cells[0], action, grade)
        for one in cells[1:]:
            if one.grade is None:
                one.not_run, one.failed = list(cells[0].not_run), cells[0].failed

    def _again(
        self, steps: Steps, graded: Graded, action: Action, grade: Callable[[ActionResult], Graded]
    ) -> None:
        self.observer.emit(CheckStarted(action.address))
        with timed(graded):
            try:
                with steps.store.scratch() as scratch:
                    _take(graded, grade(steps.perform(action, scratch, self.control)))
            except Interrupted:
                graded.not_run.append("interrupted")
            except ToolchainError as error:
                graded.not_run.append(error.problems[0].fact)
            except TrtpipeError as error:
                graded.failed = True
                graded.not_run.append(f"it failed when it ran again: {error.problems[0].fact}")
                if isinstance(error, StepFailed):
                    graded.details += error.log.splitlines()[-5:]
        self._tell(graded)

    def _tell(self, graded: Graded) -> None:
        self.observer.emit(graded.event())


def _take(graded: Graded, found: Graded) -> None:
    graded.grade, graded.passed, graded.details = found.grade, found.passed, found.details


def _same_engines(plan: Plan, actions: Mapping[Address, Action]) -> list[list[Cell]]:
    """Cells that share an engine together: it is built once."""
    found: dict[str, list[Cell]] = {}
    for cell in plan.cells:
        action = actions.get(cell.steps["build_engine"])
        found.setdefault(action.key if action else cell.name, []).append(cell)
    return list(found.values())
