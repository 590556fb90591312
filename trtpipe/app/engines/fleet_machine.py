"""The GPUs of a fleet in the place of this machine's, for `run` and `bench`.

`run` sends the inputs and gets the outputs back. A benchmark is measured as a whole by one agent, so that all its parts
are of one GPU; its result lands where one of this machine does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from trtpipe.app.engines.bench_request import BenchRequest
from trtpipe.app.engines.choice import Chosen
from trtpipe.app.engines.machine import Built, CannotBeTold, Machine, OnEvent, built_for
from trtpipe.app.engines.places import Place
from trtpipe.building.engines.jobs import (
    EngineJobs,
    EngineWork,
    model_files,
    need_of_engine,
    need_of_manifest,
)
from trtpipe.building.engines.runs import run_on_fleet
from trtpipe.errors import Problem
from trtpipe.fleet.answers import unusable
from trtpipe.fleet.placement import GpuNeed, Need
from trtpipe.json_values import object_in
from trtpipe.metrics.records import Benchmark
from trtpipe.problem_codes import Code
from trtpipe.runners.inference.delivered import ENGINE, MANIFEST, DeliveredEngine
from trtpipe.runners.inference.requests import EngineRun, HowToRun
from trtpipe.runners.inference.results import Inference
from trtpipe.targets.compute_capability import ComputeCapability
from trtpipe.targets.toolchain import Flavour

JOB = "bench"


@dataclass(frozen=True)
class FleetMachine(Machine):
    """The machines of a fleet."""

    jobs: EngineJobs

    def why_not(self, place: Place) -> str:
        """Why no agent can run the engine of a place. Raises ModelError for an invalid manifest."""
        try:
            need = _need_of(place, built_for(place))
        except CannotBeTold as error:
            return str(error)
        self.jobs.wait_for([need])
        reason = self.jobs.why_not(need)
        return f"the engine {reason}" if reason else ""

    def run_engine(
        self,
        engine: DeliveredEngine,
        runs: Sequence[EngineRun],
        how: HowToRun,
        folder: Path,
        on_event: OnEvent,
    ) -> Inference:
        """Run an engine on an agent. Raises what `run_engine` of the runners raises, and FleetError."""
        built = engine.built_for
        if engine.manifest is not None:
            need = need_of_manifest(engine.manifest)
        else:
            gpu = GpuNeed((), tuple(map(ComputeCapability.parse, built.compute_capabilities)))
            need = need_of_engine(engine.flavour, built.version, gpu)
        found, on = run_on_fleet(self.jobs, engine, need, runs, folder)
        return replace(found, notes=(*found.notes, f"run by the agent {on.agent}"))

    def measure_engine(self, asked: BenchRequest, chosen: Chosen) -> dict[str, Any]:
        """The result of an engine, measured by an agent. Raises what measuring it here does, and FleetError."""
        place, engine = chosen.place, chosen.trusted()
        files = {ENGINE: engine.engine.path}
        if place.manifest is not None:
            files[MANIFEST] = place.folder / MANIFEST
        elif place.model is not None:
            files |= model_files(place.folder)
        options = {**asked.to_json(), "trust": [engine.engine.digest.hex]}
        need = _need_of(place, built_for(place))
        done = self.jobs.do(EngineWork(JOB, place.name, need, files, options))
        record = dict(done.part("record"))
        try:
            Benchmark.from_json(record)
        except (TypeError, ValueError) as error:
            raise unusable(done.lane, str(error)) from error
        machine = {**object_in(record, "machine"), **done.on.to_json()}
        return {**record, "cell": place.name, "machine": machine}


def fleet_machine(jobs: EngineJobs) -> FleetMachine:
    """The machines of a fleet, of which this one is none."""
    return FleetMachine((), _nothing_here, jobs)


def _nothing_here(flavour: Flavour, version: str) -> Problem:
    return Problem(
        Code.NO_TOOLCHAIN, f"engines run on a fleet, not with the {flavour} {version} of this machine"
    )


def _need_of(place: Place, built: Built) -> Need:
    if place.manifest is not None:
        return need_of_manifest(place.manifest)
    gpu = GpuNeed((), tuple(map(ComputeCapability.parse, built.names)), built.compatible)
    return need_of_engine(built.flavour, built.version, gpu)
