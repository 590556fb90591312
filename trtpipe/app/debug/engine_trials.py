"""Trials of `debug reduce`: whether an engine of a candidate can be built, and how that fails.

A trial runs where the cell's engine is built, on an agent if the command uses a fleet: another machine's TensorRT, or
its GPU, may not fail alike. There it is the cell's engine step with another model, so a candidate that builds has its
engine stored like any other.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from trtpipe.app.debug.repro import plugins_of
from trtpipe.canonical.writer import write_model
from trtpipe.checks.cell_steps import CellSteps
from trtpipe.digests import Digest, digest_file
from trtpipe.errors import StepFailed
from trtpipe.plan.fingerprint import Fingerprint
from trtpipe.plan.graph import Action
from trtpipe.plan.options import EngineOptions
from trtpipe.plan.requirements import EngineRequirements
from trtpipe.plan.trace import Trace
from trtpipe.problem_codes import Code
from trtpipe.reduction.candidates import Candidate
from trtpipe.reduction.failures import FailureClass, classes_of, is_settled
from trtpipe.stores.local import LocalStore
from trtpipe.toolchains.engine_worker.watch import Supervision

MEMORY = 12 << 30
"""Bytes that a trial may take, if the spec sets no limit."""

Build = Callable[[Action, Path], object]
"""Builds an engine of the model in a folder. Raises StepFailed when that fails."""


@dataclass
class BuildTrials:
    """Builds engines of candidates and classifies their failures."""

    steps: CellSteps
    action: Action
    names: frozenset[str]
    seconds: float
    ran: int = 0
    _build: Build = field(init=False)

    def __post_init__(self) -> None:
        limits = self.action.requirements
        assert isinstance(limits, EngineRequirements), "an engine's action has them"
        limited = EngineRequirements(limits.time_limit or self.seconds, limits.memory_limit or MEMORY)
        self.action = replace(self.action, requirements=limited)
        fleet = self.steps.steps.terms.fleet
        sent = fleet.trying(self.steps.steps, self.action) if fleet is not None else None
        self._build = (
            _built_here(self.steps, self.action)
            if sent is None
            else partial(_built_there, self.steps.steps.store, sent)
        )

    def failures(self, candidate: Candidate) -> tuple[FailureClass, ...]:
        """How the candidate fails; empty when it builds. Raises ToolchainError, FleetError, StoreError."""
        folder = self.steps.scratch / "trial"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        files = write_model(candidate.model, folder / "model.onnx")
        trial = self._trial(candidate, {path.name: digest_file(path) for path in files})
        options, tools = trial.fingerprint.options, trial.fingerprint.tools
        model = {"model": trial.fingerprint.inputs["model"]}
        made = Fingerprint("reduce", 1, options, tools, model)
        known = self.steps.steps.store.trace(made.key)
        if known is not None:
            return tuple(FailureClass(*one) for one in known.summary["failures"])
        began = time.perf_counter()
        found = self._failures(trial, folder)
        if all(map(is_settled, found)):
            summary = {"failures": [[one.kind, one.text] for one in found]}
            seconds = time.perf_counter() - began
            address = f"{self.action.address}/reduce"
            self.steps.steps.store.record(Trace(made.key, address, made.record(), {}, summary, seconds))
        return found

    def _trial(self, candidate: Candidate, model: Mapping[str, Digest]) -> Action:
        """The cell's engine step with the candidate as its model."""
        print_ = self.action.fingerprint
        options = replace(EngineOptions.from_record(print_.options), profiles=candidate.profiles).record()
        inputs = {**print_.inputs, "model": model}
        return replace(self.action, fingerprint=replace(print_, options=options, inputs=inputs))

    def _failures(self, trial: Action, folder: Path) -> tuple[FailureClass, ...]:
        self.ran += 1
        try:
            self._build(trial, folder)
        except StepFailed as error:
            if error.problems[0].code is Code.AGENT_LOST:  # that says nothing about the model
                raise
            return classes_of(error, self.names)
        return ()


def _built_here(steps: CellSteps, action: Action) -> Build:
    """Builds on this machine, without storing anything. Raises ToolchainError."""
    from trtpipe.building.performer import request_of
    from trtpipe.toolchains.engine_worker.launch import run_worker
    from trtpipe.toolchains.resolve import ready_toolchain

    toolchain = ready_toolchain(steps.planned.here().toolchain(action))
    whole = request_of(action, toolchain, plugins_of(steps, action))

    def build(trial: Action, folder: Path) -> object:
        profiles = EngineOptions.from_record(trial.fingerprint.options).profiles
        return run_worker(toolchain.python, replace(whole, profiles=tuple(profiles)), folder, Supervision())

    return build


def _built_there(store: LocalStore, sent: Callable[[Action], Trace], trial: Action, folder: Path) -> object:
    """Builds on an agent, which is sent the model from this machine's store."""
    from trtpipe.fleet.transfer import put_copy

    for name, digest in trial.fingerprint.inputs["model"].items():
        if not store.has_here(digest):
            put_copy(store, folder / name)
    return sent(trial)
