"""Proves the engines of a build on the GPUs of a fleet, each as soon as its cell is delivered.

The build goes on meanwhile. An engine that has a proof from a GPU model of the fleet is not run again. What only a
machine could be blamed for (it vanished, or its TensorRT does not start) leaves the engine unproved, with a reason;
an engine that fails on the GPU fails the build.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field

from trtpipe.app.prove.engine_places import EnginePlace
from trtpipe.app.prove.fleet_validation import OnFleet
from trtpipe.app.prove.validate import HowToValidate, Validated, subject_of
from trtpipe.building.engines.jobs import EngineJobs, need_of_engine
from trtpipe.building.engines.proving import Run
from trtpipe.building.planned import Planned
from trtpipe.delivery.engine_proofs import PROOF, read_proof
from trtpipe.digests import digest_file
from trtpipe.errors import (
    FleetError,
    Interrupted,
    StepFailed,
    StoreError,
    ToolchainError,
    TrtpipeError,
)
from trtpipe.fleet.placement import Need, gpu_need
from trtpipe.json_values import object_in
from trtpipe.plan.events import EngineNotProved, EngineProved
from trtpipe.plan.graph import Cell
from trtpipe.plan.ports import Observer
from trtpipe.problem_codes import Code
from trtpipe.runners.inference.delivered import ENGINE

_MOST_AT_A_TIME = 64
"""A thread only waits for a free GPU, or for an agent's answer."""
_TICK_SECONDS = 0.5


@dataclass
class BuildProofs:
    """The engines of one build that are being proved."""

    planned: Planned
    jobs: EngineJobs
    observer: Observer
    threads: ThreadPoolExecutor
    _futures: dict[Future[Run | None], Cell] = field(default_factory=dict)

    def why_not_run(self, cell: Cell) -> str:
        """Why a cell's engine has no proof at the moment."""
        return self.jobs.why_not(self._need(cell)) or "it had not run yet when the cell was delivered"

    def begin(self, cell: Cell) -> None:
        """Run the engine of a cell that was delivered, if an agent can and it is not proved already."""
        need = self._need(cell)
        reason = self.jobs.why_not(need)
        if reason:
            self.observer.emit(EngineNotProved(cell.name, reason))
        elif not self._is_proved(cell, need):
            self._futures[self.threads.submit(self._run, cell)] = cell

    def ended(self) -> Iterator[Run]:
        """The runs that have ended since the last call."""
        for future in [one for one in self._futures if one.done()]:
            del self._futures[future]
            run = future.result()
            if run is not None:
                yield run

    def wait(self, interrupted: Callable[[], int]) -> Iterator[Run]:
        """The other runs, each when it ends; after Ctrl-C none."""
        while self._futures and not interrupted():
            wait(self._futures, _TICK_SECONDS, FIRST_COMPLETED)
            yield from self.ended()
        for cell in self._futures.values():
            self.observer.emit(EngineNotProved(cell.name, "was being run when the build was stopped"))

    def stop(self) -> None:
        """Stop everything at once."""
        self.jobs.control.killed.set()
        self.jobs.control.cancelled.set()
        self.threads.shutdown(cancel_futures=True)

    def _need(self, cell: Cell) -> Need:
        step = self.planned.plan.steps[cell.steps["build_engine"]]
        found = self.planned.facts[cell.pipeline].targets[cell.target].found
        gpu = gpu_need(cell.facts["compute_capabilities"], step.options.record())
        return need_of_engine(found.flavour, found.version, gpu, plugins=bool(self._plugins(cell).plugins))

    def _plugins(self, cell: Cell) -> HowToValidate:
        """How the engine is validated: with the plugin libraries that it was built with."""
        step = self.planned.plan.steps[cell.steps["build_engine"]]
        sources = step.sources().get("plugins", {})
        return HowToValidate(plugins=tuple(one.path for one in sources.values()))

    def _place(self, cell: Cell) -> EnginePlace:
        workspace = self.planned.workspace
        return EnginePlace(cell.name, workspace.build / cell.directory, workspace)

    def _is_proved(self, cell: Cell, need: Need) -> bool:
        """Whether a GPU model that the fleet has proved exactly this engine."""
        folder = self._place(cell).folder
        if not (folder / PROOF).exists():
            return False
        proof, _ = read_proof(folder, digest_file(folder / ENGINE).hex)
        if proof is None or proof.get("gpu") is None:
            return False
        return str(object_in(proof, "gpu").get("name")) in self.jobs.models(need)

    def _run(self, cell: Cell) -> Run | None:
        """Run an engine and write its proof; None if it was not run after all, which was told."""
        result, how = Validated(self._place(cell)), self._plugins(cell)
        subject = subject_of(result, how)
        try:
            if subject is None:
                assert result.error is not None, "it says why there is no subject"
                raise result.error
            prover = OnFleet(self.jobs)
            on = prover.take_in(subject, prover.measured(subject, how))
        except Interrupted:
            return None
        except TrtpipeError as error:
            if _is_the_engine(error):
                return Run(cell, error)
            self.observer.emit(EngineNotProved(cell.name, f"could not be run: {error.problems[0].fact}"))
            return None
        self.observer.emit(EngineProved(cell.name, on.gpu.name, on.agent, result.engine))
        return Run(cell, kept=result.kept)


def _is_the_engine(error: TrtpipeError) -> bool:
    """Whether an error tells of the engine, and not of the machine or the way to it."""
    if isinstance(error, (FleetError, StoreError, ToolchainError)):
        return False
    return not (isinstance(error, StepFailed) and error.problems[0].code is Code.AGENT_LOST)


@contextmanager
def build_proofs(planned: Planned, jobs: EngineJobs, observer: Observer) -> Iterator[BuildProofs]:
    """What proves the engines of a build, while the context lasts."""
    with ThreadPoolExecutor(_MOST_AT_A_TIME, "proofs") as threads:
        proofs = BuildProofs(planned, jobs, observer, threads)
        try:
            yield proofs
        finally:
            proofs.stop()
