"""Work on delivered engines that is done on a GPU of a fleet: the client's side of `agent/jobs.py`.

A job's files go to an agent that has a GPU which the engine is for and a TensorRT of the version that built it. What it
answers is JSON and files by digest; each command reads its own part of it back.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from trtpipe.building.on_fleet import FleetUse
from trtpipe.digests import Digest, digest_file
from trtpipe.errors import ModelError
from trtpipe.fleet.answers import require_done, slow_clocks, unusable
from trtpipe.fleet.attempts import Attempts
from trtpipe.fleet.dialling import dialled, greet, route_to
from trtpipe.fleet.labels import Machine, gpu_key
from trtpipe.fleet.lanes import Lane, need_words
from trtpipe.fleet.placement import GpuNeed, Need, gpu_need, reason_lines
from trtpipe.fleet.protocol import PLUGINS, Answer, Job, Request, ToolchainNeed
from trtpipe.json_values import Json, JsonObject, Malformed, object_in
from trtpipe.plan.control import Control
from trtpipe.plan.task import GOLDEN, MODEL
from trtpipe.problem_codes import Code
from trtpipe.runners.inference.delivered import ENGINE, MANIFEST, Told
from trtpipe.targets.toolchain import Flavour
from trtpipe.toolchains.detect import DetectedGpu


@dataclass(frozen=True, slots=True)
class RanOn:
    """Where a job ran."""

    agent: str
    machine: Machine
    gpu: DetectedGpu

    def words(self) -> str:
        """`NVIDIA L4 (agent gpu-box)`"""
        return f"{self.gpu.name} (agent {self.agent})"

    def to_json(self) -> dict[str, Json]:
        """As a proof names the machine: its kind, and the driver of its GPU."""
        machine = self.machine
        kind = {"system": machine.system, "architecture": machine.architecture}
        return {"agent": self.agent, **kind, "processor": machine.processor, "driver": self.gpu.driver}


@dataclass(frozen=True, slots=True)
class JobDone:
    """What a job gave, and where. Its files are in this machine's store."""

    result: JsonObject
    files: Mapping[str, Digest]
    lane: Lane
    on: RanOn

    def part(self, name: str) -> JsonObject:
        """An object of the result. Raises FleetError when it is none."""
        try:
            return object_in(self.result, name)
        except Malformed as error:
            raise unusable(self.lane, str(error)) from error


@dataclass(frozen=True, slots=True)
class EngineWork:
    """One job for one engine."""

    job: str
    engine: str
    """The engine's name for people."""
    need: Need
    files: Mapping[str, Path]
    """Path in the job's directory → the file here."""
    options: Mapping[str, Json] = field(default_factory=dict)


@dataclass
class EngineJobs:
    """Does jobs on a fleet. Several threads may use it."""

    use: FleetUse
    offline: bool = False
    tells: bool = True
    """Whether to say where each job goes: a build says it when an engine is proved."""
    control: Control = field(default_factory=Control)

    def tell(self, text: str) -> None:
        """Say a line about a job."""
        self.use.say(text)

    def wait_for(self, needs: Collection[Need]) -> None:
        """Wait for agents that serve these needs, for as long as the command was told to."""
        greet(self.use.fleet.agents(), self.use.lanes, self.use.routes)
        self.use.lanes.wait_for(needs)

    def why_not(self, need: Need) -> str:
        """Why no agent can do what needs this; empty when one can."""
        reasons = {one.name: self.use.lanes.why_not(one, need) for one in self.use.fleet.agents()}
        if not all(reasons.values()):
            return ""
        lines = reason_lines(reasons) or ["no agent is connected"]
        return f"needs {need_words(need)}, and no agent of the fleet has that: {'; '.join(lines)}"

    def models(self, need: Need) -> set[str]:
        """The names of all GPUs of the fleet on which work that needs this may run."""
        lanes = self.use.lanes
        agents = [one.labels for one in self.use.fleet.agents() if not lanes.why_not(one, need)]
        return {gpu.name for labels in agents for gpu in labels.gpus if need.gpu and need.gpu.fits(gpu)}

    def do(self, work: EngineWork) -> JobDone:
        """Do a job. Raises what the job raises, and FleetError."""
        digests = {name: _digest(path) for name, path in work.files.items()}
        paths = {digest: work.files[name] for name, digest in digests.items()}
        job = Job(work.job, digests, work.options)

        def on(lane: Lane) -> JobDone:
            return self._on(lane, work, job, paths)

        def tell(text: str) -> None:
            self.tell(f"{work.engine}: {text}")

        attempts = Attempts(self.use.lanes, work.need, self.control, tell)
        return attempts.on_some_lane(f"the job {work.job} of {work.engine}", on)

    def fetch(self, digest: Digest, path: Path) -> None:
        """Put a file that a job made into place. Raises StoreError."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self.use.routes.store.fetch(digest, path)

    def _on(self, lane: Lane, work: EngineWork, job: Job, paths: Mapping[Digest, Path]) -> JobDone:
        fleet, route = self.use.fleet, route_to(lane, self.use.routes)
        if self.tells:
            self.tell(f"send     {work.engine} to {lane} ({work.job})")
        with dialled():
            route.send(paths, paths.__getitem__)
        request = Request(
            secrets.token_hex(8), fleet.topic, job, work.need.toolchain, lane.gpu, through=route.through,
            offline=self.offline,
        )  # fmt: skip
        with fleet.asked(lane.agent, request, self.control, lambda report: None) as answer:
            require_done(answer, lane)
            slow = slow_clocks(answer, lane)
            if slow:
                self.tell(f"warning: {work.engine} ({work.job}): {slow}")
            with dialled():
                route.receive(answer.files.values())
        return JobDone(answer.result, answer.files, lane, _ran_on(lane, answer))


def _ran_on(lane: Lane, answer: Answer) -> RanOn:
    labels = lane.agent.labels
    gpu = next((one for one in labels.gpus if gpu_key(one) == lane.gpu), None)
    if gpu is None:
        raise unusable(lane, "it holds no GPU")
    return RanOn(labels.name, labels.machine, gpu)


def _digest(path: Path) -> Digest:
    try:
        return digest_file(path)
    except OSError as error:
        raise ModelError(Code.CANNOT_READ, f"{path}: {(error.strerror or str(error)).lower()}") from error


def need_of_manifest(manifest: JsonObject, *, plugins: bool = False) -> Need:
    """What running a delivered engine needs of a machine. Raises Malformed."""
    told = Told.from_json(manifest)
    options = manifest
    for name in ("steps", "build_engine", "fingerprint", "options"):
        options = object_in(options, name) if name in options else {}
    gpu = gpu_need(told.built_for.compute_capabilities, options)
    return need_of_engine(told.flavour, told.built_for.version, gpu, plugins=plugins)


def need_of_engine(flavour: Flavour, version: str, gpu: GpuNeed, *, plugins: bool = False) -> Need:
    """What running an engine needs: a GPU that it is for, and any TensorRT of the version that built it."""
    return Need(toolchain=ToolchainNeed(flavour, version, {}), gpu=gpu, project_code=plugins)


def engine_files(folder: Path, plugins: Collection[Path] = ()) -> dict[str, Path]:
    """The files of a cell's directory that validate its engine, and the plugin libraries that it needs."""
    found = {name: folder / name for name in (ENGINE, MANIFEST, GOLDEN) if (folder / name).is_file()}
    return found | model_files(folder) | {f"{PLUGINS}{path.name}": path for path in plugins}


def model_files(folder: Path) -> dict[str, Path]:
    """The typed model in a cell's directory, with the file of its weights if it has one."""
    return {path.name: path for path in sorted(folder.glob(f"{MODEL}*"))}
