"""`trtpipe validate`: runs engines on a GPU of this machine and compares with the reference recorded by the build.

Without a GPU the typed model is validated instead, and the result says that the engine itself was not run. A proof of
an engine goes to `proof.json` beside it, and into the lockfile if it is a cell of the project.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

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
from trtpipe.runners.inference.delivered import DeliveredEngine, delivered_engine
from trtpipe.runners.inference.requests import HowToRun
from trtpipe.runners.inference.trust import vouched_by_lock
from trtpipe.spec.pipeline import ToolchainSpec
from trtpipe.targets.toolchain import Toolchain
from trtpipe.workspace.target_facts import TargetResolver
from trtpipe.workspace.workspace import STATE_DIRECTORY

if TYPE_CHECKING:
    from trtpipe.runners.validation.recordings import Worst
    from trtpipe.runners.validation.validate_engine import Infer

Outcome = Literal["passed", "failed", "not_run"]


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


def validate_places(
    places: Sequence[EnginePlace], how: HowToValidate, targets: TargetResolver | None = None
) -> list[Validated]:
    """Validate one after the other; an engine that cannot run gets a reason, and the others still run."""
    targets = targets or TargetResolver()
    found = []
    for place in places:
        result = Validated(place, place.name)
        try:
            _validate(result, how, targets)
        except Interrupted:
            raise
        except TrtpipeError as error:
            result.error = error
            result.why = result.why or error.problems[0].fact
        found.append(result)
    return found


def _validate(result: Validated, how: HowToValidate, targets: TargetResolver) -> None:
    place = result.place
    facts = read_facts(place)
    result.cell = str(facts.manifest["cell"])
    vouched = set(how.trust)
    if place.workspace is not None:
        vouched |= vouched_by_lock(place.workspace.lockfile)
    delivered = delivered_engine(place.folder, vouched=vouched)
    require_whole(place, facts)
    result.why = "the typed model was requested" if how.cpu else cannot_run(facts, targets)
    if not result.why:
        _on_gpu(result, facts, delivered, how)
    elif how.cpu or not targets.here():
        _on_cpu(result, facts)


def cannot_run(facts: EngineFacts, targets: TargetResolver) -> str:
    """Why no GPU of this machine runs the engine; empty when one does."""
    from trtpipe.targets.capabilities import runnable_here
    from trtpipe.targets.compute_capability import ComputeCapability

    wanted = [ComputeCapability.parse(one) for one in facts.capabilities]
    present = [gpu.compute_capability for gpu in targets.here()]
    return runnable_here(wanted, present, "ampere_plus" if facts.compatibility == "ampere_plus" else "none")


def _on_gpu(result: Validated, facts: EngineFacts, delivered: DeliveredEngine, how: HowToValidate) -> None:
    from trtpipe.runners.validation.validate_engine import GpuEngine

    asked = HowToRun(device=how.device, plugins=how.plugins, built_for=delivered.built_for)
    with temporary_folder("validate") as folder:
        engine = GpuEngine(toolchain_for(delivered, how), delivered, Path(folder), asked)
        report, verdict = _measured(result, facts, engine)
    result.engine = verdict.record["outcome"]
    result.why = "nothing could be compared" if result.engine == "not_run" else ""
    if report["gpu"]:
        _write(result, delivered, report)


def _on_cpu(result: Validated, facts: EngineFacts) -> None:
    """The typed model against what was recorded; at corners it is the reference itself."""
    from trtpipe.runners.cpu.onnxruntime import NoKernel
    from trtpipe.runners.validation.validate_engine import typed_model

    try:
        with typed_model(result.place.folder / MODEL) as model:
            result.instead = True
            _measured(result, facts, model, "at corners it would be compared with itself")
    except NoKernel as error:
        result.notes.append(f"the typed model cannot be run on the CPU: {error.problems[0].fact}")


def _measured(
    result: Validated, facts: EngineFacts, infer: Infer, no_corners: str = ""
) -> tuple[dict[str, Any], EngineVerdict]:
    """Measures and judges the outputs while they still exist; samples that fail are kept."""
    from trtpipe.metrics.reports import read_report
    from trtpipe.runners.validation.recordings import Worst
    from trtpipe.runners.validation.validate_engine import EngineSubject, GpuEngine, measure_engine

    folder, worst = result.place.folder, Worst()
    subject = EngineSubject(folder / MODEL, folder / GOLDEN, facts.profiles, facts.corners, no_corners)
    report = measure_engine(subject, infer, worst)
    if isinstance(infer, GpuEngine):
        broken = read_report(report).broken
        if infer.gpu is None and broken:
            raise StepFailed(Code.RUN_FAILED, broken[0].why)
        report |= {"gpu": infer.facts(), "tensorrt": infer.tensorrt}
    try:
        verdict = judged_on_gpu(report, facts.validation)
    except (KeyError, TypeError, ValueError) as error:
        fact = f"the thresholds in the manifest of {result.place.name} are damaged"
        raise ModelError(Code.MANIFEST_DAMAGED, fact, "build the cell again, or copy it again") from error
    result.verdict, result.twins = verdict, read_report(report).twins
    _keep(result, worst)
    return report, verdict


def _keep(result: Validated, worst: Worst) -> None:
    """Keeps samples that missed a threshold beside the engine or, for a cell of the project, where builds keep them."""
    assert result.verdict is not None, "it was judged"
    place = result.place
    folder = place.folder / FAILED
    if place.workspace is not None:
        folder = place.workspace.root / STATE_DIRECTORY / FAILED / place.name
    clear(folder)
    try:
        result.kept = keep(folder, worst.runs(), result.verdict.missed)
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
        "outcome": result.engine,
        "verdicts": result.verdict.record["verdicts"],
        "problems": result.verdict.record["problems"],
        "not_run": report["not_run"],
    }
    try:
        result.proof = write_proof(result.place.folder, record)
    except OSError as error:
        result.notes.append(f"cannot write the proof: {(error.strerror or str(error)).lower()}")


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
