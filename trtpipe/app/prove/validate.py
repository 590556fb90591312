"""`trtpipe validate`: runs engines on a GPU and compares with the reference recorded by the build.

The GPU is one of this machine, or of a fleet (`fleet_validation.py`). Without a GPU the typed model is validated
instead, and the result says that the engine itself was not run. A proof of an engine goes to `proof.json` beside it,
and into the lockfile if it is a cell of the project.
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from trtpipe import __version__
from trtpipe.app.prove.engine_places import EngineFacts, EnginePlace, read_facts, require_whole
from trtpipe.building.silent import Unheard
from trtpipe.delivery.engine_proofs import SCHEMA, EngineVerdict, judged_on_gpu, write_proof
from trtpipe.delivery.failing_inputs import FAILED, clear, keep
from trtpipe.errors import (
    Interrupted,
    ModelError,
    Problem,
    StepFailed,
    ToolchainError,
    TrtpipeError,
    ValidationFailed,
)
from trtpipe.files import temporary_folder
from trtpipe.plan.task import GOLDEN, MODEL
from trtpipe.problem_codes import Code
from trtpipe.processes.processor import processor_kind
from trtpipe.runners.inference.delivered import DeliveredEngine, delivered_engine
from trtpipe.runners.inference.requests import HowToRun
from trtpipe.runners.inference.run import run_engine
from trtpipe.runners.inference.trust import vouched_by_lock
from trtpipe.spec.pipeline import ToolchainSpec
from trtpipe.targets.toolchain import Toolchain
from trtpipe.workspace.target_facts import TargetResolver
from trtpipe.workspace.workspace import STATE_DIRECTORY

if TYPE_CHECKING:
    from trtpipe.json_values import Json, JsonObject
    from trtpipe.runners.validation.recordings import RecordedRun, Worst
    from trtpipe.runners.validation.validate_engine import Infer, RunEngine

Outcome = Literal["passed", "failed", "not_run"]
_AS_ASKED = "the typed model was requested"


@dataclass(frozen=True, slots=True)
class HowToValidate:
    """The options of the command."""

    cpu: bool = False
    """Whether the typed model is what shall be validated, GPU or not."""
    device: int = 0
    trust: tuple[str, ...] = ()
    """Digests of engines that the user vouches for (BLAKE3, in hex)."""
    plugins: tuple[Path, ...] = ()
    offline: bool = False


@dataclass(slots=True)
class Validated:
    """The result for one engine."""

    place: EnginePlace
    cell: str = ""
    engine: Outcome = "not_run"
    why: str = ""
    """Why the engine was not run."""
    instead: bool = False
    """Whether the typed model was validated in the engine's place."""
    verdict: EngineVerdict | None = None
    """Of the engine, or of the typed model where that was validated instead."""
    twins: Mapping[str, str] = field(default_factory=dict)
    proof: Path | None = None
    kept: list[Path] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    error: TrtpipeError | None = None
    """Why not even the typed model could be validated."""
    report: JsonObject = field(default_factory=dict)
    """What was measured with the engine; empty if it was not run."""

    @property
    def typed(self) -> Outcome | None:
        """The result of the typed model, if it was validated instead of the engine."""
        if self.verdict is None or not self.instead:
            return None
        found: Outcome = self.verdict.record["outcome"]
        return found

    @property
    def failed(self) -> bool:
        """Whether anything missed a threshold."""
        return "failed" in (self.engine, self.typed)


@dataclass(frozen=True, slots=True)
class Subject:
    """An engine that is to be validated: where its result goes, and what is known of it."""

    result: Validated
    facts: EngineFacts
    delivered: DeliveredEngine


@dataclass(frozen=True, slots=True)
class EngineRuns:
    """How an engine is run with any inputs."""

    run: RunEngine
    machine: Callable[[], Mapping[str, Json]]
    """The kind of the machine that it ran on, as a proof names it."""
    toolchain: Toolchain | None = None
    """The TensorRT that runs it on this machine; None on a fleet."""


class Prover(Protocol):
    """What engines run on: this machine's GPU, or a fleet."""

    @property
    def has_gpu(self) -> bool:
        """Whether there is a GPU at all, so that an engine that needs another one is not replaced by its model."""

    def why_not(self, subjects: Sequence[Subject], how: HowToValidate) -> list[str]:
        """Why each engine cannot run; empty for one that can."""

    def prove(self, subject: Subject, how: HowToValidate) -> None:
        """Run an engine and fill its result in. Raises TrtpipeError."""

    def each(self, work: Callable[[Subject], None], subjects: Iterable[Subject]) -> None:
        """Do the work for each, one after the other or at the same time."""

    def runs_of(self, subject: Subject, how: HowToValidate) -> EngineRuns:
        """How it runs an engine with any inputs. Raises TrtpipeError."""


def validate_places(
    places: Sequence[EnginePlace],
    how: HowToValidate,
    targets: TargetResolver | None = None,
    prover: Prover | None = None,
) -> list[Validated]:
    """Validate engines; one that cannot run gets a reason, and the others still run."""
    prover = prover or (ThisMachine(targets) if targets is not None else this_machine())
    found = [Validated(place, place.name) for place in places]
    subjects = [subject for result in found if (subject := subject_of(result, how)) is not None]
    reasons = [_AS_ASKED] * len(subjects) if how.cpu else prover.why_not(subjects, how)
    for subject, reason in zip(subjects, reasons, strict=True):
        subject.result.why = reason
    prover.each(lambda subject: _validate(subject, how, prover), subjects)
    return found


def subject_of(result: Validated, how: HowToValidate) -> Subject | None:
    """What is known of an engine; None when its result already says why that cannot be read."""
    place = result.place
    try:
        facts = read_facts(place)
        result.cell = str(facts.manifest["cell"])
        vouched = set(how.trust)
        if place.workspace is not None:
            vouched |= vouched_by_lock(place.workspace.lockfile)
        delivered = delivered_engine(place.folder, vouched=vouched)
        require_whole(place, facts)
    except TrtpipeError as error:
        _note(result, error)
        return None
    return Subject(result, facts, delivered)


def _validate(subject: Subject, how: HowToValidate, prover: Prover) -> None:
    result = subject.result
    try:
        if not result.why:
            prover.prove(subject, how)
        elif how.cpu or not prover.has_gpu:
            _on_cpu(result, subject.facts)
    except Interrupted:
        raise
    except TrtpipeError as error:
        _note(result, error)


def _note(result: Validated, error: TrtpipeError) -> None:
    result.error = error
    result.why = result.why or error.problems[0].fact


@dataclass(frozen=True, slots=True)
class ThisMachine:
    """The GPUs of this machine."""

    targets: TargetResolver

    @property
    def has_gpu(self) -> bool:
        """Whether it has any."""
        return bool(self.targets.here())

    def why_not(self, subjects: Sequence[Subject], how: HowToValidate) -> list[str]:
        """Why no GPU here runs an engine."""
        return [cannot_run(one.facts, self.targets) for one in subjects]

    def prove(self, subject: Subject, how: HowToValidate) -> None:
        """Run an engine on the GPU that the command names."""
        from trtpipe.runners.validation.validate_engine import GpuEngine

        runs = self.runs_of(subject, how)
        with temporary_folder("validate") as folder:
            engine = GpuEngine(subject.delivered, Path(folder), runs.run)
            report, worst = _measured(subject.result, subject.facts, engine)
            take_report(subject, {**report, "machine": runs.machine()})
            _keep(subject.result, worst.runs())

    def each(self, work: Callable[[Subject], None], subjects: Iterable[Subject]) -> None:
        """One after the other."""
        for subject in subjects:
            work(subject)

    def runs_of(self, subject: Subject, how: HowToValidate) -> EngineRuns:
        """With the TensorRT that built it, on the GPU that the command names. Raises ToolchainError."""
        delivered = subject.delivered
        asked = HowToRun(device=how.device, plugins=how.plugins, built_for=delivered.built_for)
        toolchain = toolchain_for(delivered, how)
        return EngineRuns(runs_here(toolchain, asked), self._machine, toolchain)

    def _machine(self) -> dict[str, Json]:
        """The kind of this machine, as a proof names it."""
        driver = next((gpu.driver for gpu in self.targets.here()), "")
        kind = {"system": sys.platform, "architecture": platform.machine()}
        return {**kind, "processor": processor_kind(), "driver": driver}


def this_machine() -> Prover:
    """The GPUs of this machine."""
    return ThisMachine(TargetResolver())


def cannot_run(facts: EngineFacts, targets: TargetResolver) -> str:
    """Why no GPU of this machine runs the engine; empty when one does."""
    from trtpipe.targets.capabilities import runnable_here
    from trtpipe.targets.compute_capability import ComputeCapability

    wanted = [ComputeCapability.parse(one) for one in facts.capabilities]
    present = [gpu.compute_capability for gpu in targets.here()]
    return runnable_here(wanted, present, "ampere_plus" if facts.compatibility == "ampere_plus" else "none")


def take_report(subject: Subject, report: JsonObject) -> None:
    """Judge what was measured with an engine, and write its proof. Raises ModelError for a damaged manifest."""
    result = subject.result
    _judge(result, subject.facts, report)
    assert result.verdict is not None, "it was judged"
    result.report = report
    result.engine = result.verdict.record["outcome"]
    result.why = "nothing could be compared" if result.engine == "not_run" else ""
    if report["gpu"]:
        _write(result, subject.delivered, report)


def _on_cpu(result: Validated, facts: EngineFacts) -> None:
    """The typed model against what was recorded; at corners it is the reference itself."""
    from trtpipe.runners.cpu.onnxruntime import NoKernel
    from trtpipe.runners.validation.validate_engine import typed_model

    try:
        with typed_model(result.place.folder / MODEL) as model:
            result.instead = True
            report, worst = _measured(result, facts, model, "at corners it would be compared with itself")
            _judge(result, facts, report)
            _keep(result, worst.runs())
    except NoKernel as error:
        result.notes.append(f"the typed model cannot be run on the CPU: {error.problems[0].fact}")


def _measured(
    result: Validated, facts: EngineFacts, infer: Infer, no_corners: str = ""
) -> tuple[dict[str, Any], Worst]:
    """The measurements, and the worst samples; both are files of `infer` that must be used while it lasts."""
    from trtpipe.metrics.reports import read_report
    from trtpipe.runners.validation.recordings import Worst
    from trtpipe.runners.validation.validate_engine import EngineSubject, GpuEngine, measure_engine

    folder, worst = result.place.folder, Worst()
    subject = EngineSubject(
        folder / MODEL, folder / GOLDEN, facts.profiles, facts.corners, no_corners, facts.graft
    )
    report = measure_engine(subject, infer, worst)
    if isinstance(infer, GpuEngine):
        broken = read_report(report).broken
        if infer.gpu is None and broken:
            raise StepFailed(Code.RUN_FAILED, broken[0].why)
        report |= {"gpu": infer.facts(), "tensorrt": infer.tensorrt}
    return report, worst


def _judge(result: Validated, facts: EngineFacts, report: JsonObject) -> None:
    from trtpipe.metrics.reports import read_report

    try:
        result.verdict = judged_on_gpu(report, facts.validation)
    except (KeyError, TypeError, ValueError) as error:
        fact = f"the thresholds in the manifest of {result.place.name} are damaged"
        raise ModelError(Code.MANIFEST_DAMAGED, fact, "build the cell again, or copy it again") from error
    result.twins = read_report(report).twins


def failing_folder(place: EnginePlace) -> Path:
    """Where samples that missed a threshold are kept: beside the engine or, for a cell, where builds keep them."""
    if place.workspace is not None:
        return place.workspace.root / STATE_DIRECTORY / FAILED / place.name
    return place.folder / FAILED


def _keep(result: Validated, runs: Sequence[RecordedRun]) -> None:
    """Keeps samples that missed a threshold."""
    assert result.verdict is not None, "it was judged"
    folder = failing_folder(result.place)
    clear(folder)
    try:
        result.kept = keep(folder, runs, result.verdict.missed)
    except OSError as error:
        result.notes.append(f"cannot keep the failing inputs: {(error.strerror or str(error)).lower()}")


def _write(result: Validated, delivered: DeliveredEngine, report: Mapping[str, Any]) -> None:
    assert result.verdict is not None, "it was judged"
    record = {
        **report,
        "schema": SCHEMA,
        "trtpipe": __version__,
        "cell": result.cell,
        "engine": delivered.engine.digest.hex,
        "outcome": result.verdict.record["outcome"],
        "verdicts": result.verdict.record["verdicts"],
        "problems": result.verdict.record["problems"],
        "not_run": report["not_run"],
    }
    try:
        result.proof = write_proof(result.place.folder, record)
    except OSError as error:
        result.notes.append(f"cannot write the proof: {(error.strerror or str(error)).lower()}")


def runs_here(toolchain: Toolchain, how: HowToRun) -> RunEngine:
    """Runs an engine on a GPU of this machine."""
    return lambda delivered, runs, place: run_engine(toolchain, delivered.engine, runs, how, place)


def toolchain_for(delivered: DeliveredEngine, how: HowToValidate) -> Toolchain:
    """The TensorRT that built an engine, installed if need be. Raises ToolchainError."""
    from trtpipe.toolchains.resolve import locate_toolchain, ready_toolchain

    spec = ToolchainSpec(flavour=delivered.flavour, version=delivered.built_for.version)
    found = locate_toolchain(None, spec)
    if isinstance(found, Problem):
        raise ToolchainError(found)
    return ready_toolchain(found, offline=how.offline)


def take_in(found: Sequence[Validated]) -> list[str]:
    """Update manifests and lockfile with the proofs of the project's cells; returns what prevented it."""
    cells = [one.place.name for one in found if one.place.workspace is not None and one.proof is not None]
    if not cells:
        return []
    from trtpipe.building.build import delivery_of
    from trtpipe.building.lock_writer import refresh_lock
    from trtpipe.building.planned import make_plan
    from trtpipe.plan.decisions import Restore, UpToDate
    from trtpipe.workspace.workspace import open_workspace

    root = next(one.place.workspace.root for one in found if one.place.workspace is not None)
    planned = make_plan(open_workspace((), tuple(cells), cwd=root))
    delivery = delivery_of(planned, Unheard())
    taken, notes = [], []
    for cell in planned.plan.cells:
        decisions = {stage: planned.decisions[address] for stage, address in cell.steps.items()}
        known = {stage: one.key for stage, one in decisions.items() if isinstance(one, (UpToDate, Restore))}
        if len(known) < len(decisions):
            notes.append(
                f"{cell.name}: the lockfile must be updated by a build, because the spec has changed since the last one"
            )
            continue
        try:
            delivery.deliver(cell, known, built=False)
        except ValidationFailed:
            continue  # the warning has been printed already
        except TrtpipeError as error:
            notes.append(f"{cell.name}: the lockfile must be updated by a build: {error.problems[0].fact}")
            continue
        taken.append(cell.name)
    refresh_lock(planned, taken)
    planned.workspace.state.save()
    return notes
