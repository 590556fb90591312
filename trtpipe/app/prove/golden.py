"""`trtpipe golden`: records the outputs of a reference, or of an engine on this GPU, as a future reference.

The first samples of the validation data are recorded, in whole batches.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trtpipe.app.prove.engine_places import EngineFacts, EnginePlace, read_facts
from trtpipe.app.prove.fleet_validation import need_of
from trtpipe.app.prove.validate import HowToValidate, cannot_run, runs_here, toolchain_for
from trtpipe.building.engines.jobs import EngineJobs
from trtpipe.building.engines.runs import run_on_fleet
from trtpipe.building.on_fleet import FleetUse, jobs_of
from trtpipe.building.performer import Terms
from trtpipe.building.planned import FleetFor, Planned, on_this_machine
from trtpipe.checks.proved_cell import planned_variant, step_of
from trtpipe.errors import Problem, SpecError, ToolchainError
from trtpipe.files import temporary_folder
from trtpipe.plan.graph import Cell
from trtpipe.plan.ports import Observer
from trtpipe.plan.task import GOLDEN, MODEL
from trtpipe.plan.trace import Trace
from trtpipe.problem_codes import Code
from trtpipe.runners.inference.delivered import DeliveredEngine, delivered_engine
from trtpipe.runners.inference.requests import HowToRun
from trtpipe.runners.inference.trust import vouched_by_lock
from trtpipe.workspace.target_facts import TargetResolver

if TYPE_CHECKING:
    from trtpipe.runners.validation.recordings import RecordedRun
    from trtpipe.runners.validation.validate_engine import RunEngine

FOLDER = "golden"


@dataclass(frozen=True, slots=True)
class Recorded:
    """What was written."""

    path: Path
    named: str
    """As the spec names it: relative to the project's root."""
    samples: int
    shapes: Mapping[str, tuple[int, ...]]
    """Of the first batch: `in:NAME` and `out:NAME`."""
    of: str
    """What was recorded: the reference, or the engine and its GPU."""
    of_bundle: bool = False


@dataclass(frozen=True, slots=True)
class Recording:
    """What to record, and where."""

    cell: str
    """A cell, or a bundle."""
    output: Path | None = None
    """`golden/PIPELINE.npz` or `golden/BUNDLE.npz` when left out."""
    engine: bool = False
    """Whether to record the engine's outputs instead of the reference's."""
    samples: int = 16
    """At most."""
    force: bool = False
    """Whether to replace a file that is there."""


def record_golden(
    asked: Recording, how: HowToValidate, observer: Observer, fleet_for: FleetFor = on_this_machine
) -> Recorded:
    """Record a cell's reference, or its engine's outputs, into a file.

    Raises SpecError when there is such a file already and it must stay, or nothing to record; ToolchainError when
    neither this machine nor the fleet can run the engine.
    """
    planned, cell = planned_variant(asked.cell, observer, offline=how.offline)
    path = place_for(asked, planned, cell.name.replace("/", "-") if asked.engine else cell.pipeline)
    spec = planned.specs[cell.pipeline]
    if spec.validate_ is None:
        remedy = "give the spec a `validate` with data: its samples are recorded"
        raise SpecError(
            Code.VALIDATES_NOTHING, f"{cell.name} has no validation, so there are no samples", remedy
        )
    if spec.validate_.golden is not None and not asked.engine:
        remedy = (
            "take `reference` out of the spec to record anew, or record the engine's outputs with --engine"
        )
        raise SpecError(Code.REFERENCE, f"the reference of {cell.name} is a recording already", remedy)
    of = "the reference"
    with fleet_for(planned) as fleet:
        terms = Terms(offline=how.offline, fleet=fleet, jobs=jobs_of(fleet))
        runs = _samples(planned, cell, observer, asked.samples, terms)
        if asked.engine:
            runs, of = _by_engine(planned, cell, runs, how, fleet)
    return written(path, runs, planned, of)


def place_for(asked: Recording, planned: Planned, stem: str) -> Path:
    """Where a recording is written: `golden/STEM.npz` unless the command names a file. Raises SpecError."""
    root = planned.workspace.root.resolve()
    path = (asked.output or root / FOLDER / f"{stem}.npz").absolute()
    _refuse_place(path, root, asked.force)
    return path


def written(path: Path, runs: Sequence[RecordedRun], planned: Planned, of: str) -> Recorded:
    """Write a recording, and say what it holds. Raises SpecError."""
    _write(path, runs)
    first = {name: tuple(array.shape) for name, array in runs[0].arrays() if name[:3] in ("in:", "out")}
    named = path.relative_to(planned.workspace.root.resolve()).as_posix()
    return Recorded(path, named, sum(run.samples for run in runs), first, of)


def _refuse_place(path: Path, root: Path, force: bool) -> None:
    inside = Path(os.path.realpath(path.parent)) / path.name
    if not inside.is_relative_to(root):
        raise SpecError(
            Code.OUTSIDE_PROJECT, f"{path} is outside the project", f"a spec names files below {root}"
        )
    if path.suffix != ".npz":
        raise SpecError(Code.WRONG_FILE, f"{path.name} is not an .npz", "give a name that ends in .npz")
    if path.is_dir():
        raise SpecError(Code.NOT_A_FILE, f"{path} is a directory", "give another name with --output")
    if path.exists() and not force:
        raise SpecError(
            Code.EXISTS_ALREADY,
            f"{path} exists already",
            "write elsewhere with --output, or replace it with --force",
        )


def _samples(
    planned: Planned, cell: Cell, observer: Observer, samples: int, terms: Terms
) -> list[RecordedRun]:
    """The first batches that a validation records, up to a number of samples; one at least."""
    address = step_of(cell, "validate")
    with planned.steps(observer, terms) as steps:
        steps.bring([address])
        return first_samples(cell.name, steps.trace(address), planned, samples)


def first_samples(name: str, trace: Trace, planned: Planned, samples: int) -> list[RecordedRun]:
    """The same of a cell's or bundle's validation. Raises SpecError when it recorded none."""
    from trtpipe.runners.validation.recordings import read_recording

    digest = trace.outputs.get(GOLDEN)
    if digest is None:
        reasons = [f"{one['name']}: {one['why']}" for one in trace.summary.get("not_run", ())]
        why = "\n".join(reasons) or "its first batch is too large, or has types that .npz does not support"
        raise SpecError(Problem(Code.NO_SAMPLES, f"{name} has no samples to record", details=why))
    taken: list[RecordedRun] = []
    for run in read_recording(planned.workspace.store.path(digest)):
        if taken and sum(one.samples for one in taken) + run.samples > samples:
            break
        taken.append(run)
    return taken


def _by_engine(
    planned: Planned,
    cell: Cell,
    runs: Sequence[RecordedRun],
    how: HowToValidate,
    fleet: FleetUse | None,
) -> tuple[list[RecordedRun], str]:
    """The same samples with the outputs of the delivered engine."""
    from trtpipe.canonical.summary import summarize
    from trtpipe.runners.cpu.graphs import runnable_model
    from trtpipe.runners.validation.validate_engine import Feed, GpuEngine, typed_inputs

    workspace = planned.workspace
    place = EnginePlace(cell.name, workspace.build / cell.directory, workspace)
    facts = read_facts(place)
    vouched = {*how.trust, *vouched_by_lock(workspace.lockfile)}
    delivered = delivered_engine(place.folder, vouched=vouched)
    inputs = summarize(runnable_model(place.folder / MODEL).proto).inputs
    with temporary_folder("golden") as folder:
        engine = GpuEngine(delivered, Path(folder), _runner(facts, delivered, how, fleet))
        found = engine([Feed("golden", typed_inputs(inputs, run.inputs)) for run in runs])
        made = [_plain(run, outputs) for run, outputs in zip(runs, found, strict=True)]
    gpu = engine.facts() or {}
    return made, f"the engine on {gpu.get('name')} ({gpu.get('compute_capability')})"


def _runner(
    facts: EngineFacts, delivered: DeliveredEngine, how: HowToValidate, fleet: FleetUse | None
) -> RunEngine:
    """What runs an engine: the fleet, or this machine. Raises ToolchainError when it cannot."""
    if fleet is None:
        _refuse(cannot_run(facts, TargetResolver()))
        asked = HowToRun(device=how.device, plugins=how.plugins, built_for=delivered.built_for)
        return runs_here(toolchain_for(delivered, how), asked)
    jobs, need = EngineJobs(fleet, how.offline), need_of(facts, how)
    jobs.wait_for([need])
    _refuse(jobs.why_not(need))
    return lambda engine, runs, place: run_on_fleet(jobs, engine, need, runs, place, how.plugins)[0]


def _refuse(reason: str) -> None:
    """Raises ToolchainError when there is a reason why an engine cannot run."""
    if reason:
        raise ToolchainError(
            Code.CANNOT_RUN_HERE,
            f"not run: {reason}",
            "record on a machine with that GPU, or leave out --engine",
        )


def _plain(run: RecordedRun, outputs: Mapping[str, Any]) -> RecordedRun:
    import numpy as np

    plain = replace(run, outputs={name: np.array(array) for name, array in outputs.items()}).plain()
    assert plain is not None, "its inputs come from a recording"
    return plain


def _write(path: Path, runs: Sequence[RecordedRun]) -> None:
    from trtpipe.runners.validation.recordings import write_recording

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_recording(path, runs)
    except OSError as error:
        raise SpecError(
            Code.CANNOT_WRITE, f"cannot write {path}: {(error.strerror or str(error)).lower()}"
        ) from error
