"""`debug reduce`: the smallest part of a cell's model that still fails in the same way.

Each trial is a process of its own with limits on time and memory (`engine_trials.py`). Its result is kept in the store
by the digest of the candidate, unless it depends on the machine more than on the model, so an interrupted reduction
continues where it stopped.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trtpipe.app.debug.engine_trials import MEMORY, BuildTrials
from trtpipe.app.debug.repro import (
    new_directory,
    portable_request,
    readme_of,
    write_environment,
    write_request,
)
from trtpipe.canonical.evaluation import Evaluator
from trtpipe.canonical.reader import read_skeleton
from trtpipe.canonical.writer import write_model
from trtpipe.checks.cell_steps import CellSteps, Failing
from trtpipe.errors import ModelError, SpecError
from trtpipe.legalization.transforms import Transform, apply_transform
from trtpipe.plan.events import ReductionProgress
from trtpipe.plan.graph import Action
from trtpipe.plan.options import EngineOptions
from trtpipe.problem_codes import Code
from trtpipe.reduction.budget import Trials
from trtpipe.reduction.candidates import Candidate, opt_of
from trtpipe.reduction.course import Reduced, reduce_model
from trtpipe.reduction.failures import FailureClass, classes_of
from trtpipe.reduction.shrink import copy_of

if TYPE_CHECKING:
    import onnx

    from trtpipe.toolchains.engine_worker.request import WorkerRequest

_LEAST_SECONDS = 60


@dataclass
class Limits:
    """Limits for a reduction."""

    trials: int | None = None
    seconds: float | None = None


def _options_of(action: Action) -> EngineOptions:
    return EngineOptions.from_record(action.fingerprint.options)


@dataclass(frozen=True)
class Reduction:
    """A reduction that ended, complete or not."""

    reduced: Reduced
    wanted: FailureClass
    ran: int
    interrupted: bool = False

    def to_json(self) -> dict[str, Any]:
        """The reduction as a JSON object."""
        graph = self.reduced.candidate.model.graph
        return {
            "failure": {"kind": self.wanted.kind, "text": self.wanted.text},
            "nodes_before": self.reduced.nodes_before,
            "nodes": [{"name": node.name, "op": node.op_type} for node in graph.node],
            "minimal": self.reduced.minimal,
            "stopped_by": "Ctrl-C" if self.interrupted else self.reduced.stopped_by or None,
            "trials": self.reduced.trials,
            "trials_run": self.ran,
        }


def reduce_build(steps: CellSteps, failing: Failing, limits: Limits) -> Reduction:
    """The reduction of an engine that cannot be built. Raises SpecError when the failure cannot be reproduced."""
    model = model_of(steps, failing.action)
    names = names_of(model)
    wanted = classes_of(failing.error, names)[0]
    profiles = _options_of(failing.action).profiles
    builds = BuildTrials(steps, failing.action, names, _LEAST_SECONDS)
    whole = Candidate(model, profiles)
    trials = Trials(
        run=lambda candidate: wanted in builds.failures(candidate),
        key=key_of_candidate,
        best=whole,
        most=limits.trials,
        tell=telling(steps),
    )
    trials.phase = "the whole"
    interrupted, reduced = False, Reduced(whole, whole.nodes, False)
    try:
        if not trials.still_fails(whole):
            raise SpecError(
                Code.NOTHING_FAILS,
                f"the failure did not happen a second time: {wanted.words()}",
            )
        trials.seconds = limits.seconds
        reduced = reduce_model(trials, lambda one: _fixed(one, steps.scratch))
    except KeyboardInterrupt:
        interrupted = True
        reduced = replace(reduced, candidate=trials.best, trials=trials.count)
    return Reduction(reduced, wanted, builds.ran, interrupted)


def fails_alike(steps: CellSteps, failing: Failing, folder: Path) -> bool:
    """Whether the model in a directory fails as a cell's engine does. Raises ToolchainError or StoreError."""
    names = names_of(model_of(steps, failing.action))
    builds = BuildTrials(steps, failing.action, names, _LEAST_SECONDS)
    model = read_skeleton(folder / "model.onnx").proto
    found = builds.failures(Candidate(model, _options_of(failing.action).profiles))
    return classes_of(failing.error, names)[0] in found


def write_reduction(steps: CellSteps, action: Action, reduction: Reduction, folder: Path) -> None:
    """Writes the small model as a directory where one command fails. Raises SpecError, ToolchainError or StoreError."""
    candidate = reduction.reduced.candidate
    failure = (reduction.wanted.words(),)
    with new_directory(folder) as partial:
        write_model(candidate.model, partial / "model.onnx")
        write_request(partial, _small_request(steps, action, candidate))
        write_environment(steps, action, partial, failure)
        found = json.dumps(reduction.to_json(), indent=1, ensure_ascii=False)
        (partial / "reduction.json").write_text(found + "\n")
        readme = readme_of(
            steps, action, "python worker.py request.json", failure, " ".join(about(reduction))
        )
        (partial / "README.md").write_text(readme)


def _small_request(steps: CellSteps, action: Action, candidate: Candidate) -> WorkerRequest:
    request = portable_request(steps, action)
    builder = request.builder.model_copy(update={"memory_limit": MEMORY})
    return replace(request, profiles=tuple(candidate.profiles), builder=builder)


def about(reduction: Reduction) -> list[str]:
    """The result as sentences for the user."""
    reduced, graph = reduction.reduced, reduction.reduced.candidate.model.graph
    count = f"{len(graph.node)} of {reduced.nodes_before} nodes are left"
    lines = [f"{count}, and none of them can be removed." if reduced.minimal else f"{count}."]
    if reduction.interrupted or reduced.stopped_by:
        why = "Ctrl-C" if reduction.interrupted else reduced.stopped_by
        rest = (
            "fewer attributes or smaller weights may be sufficient" if reduced.minimal else "fewer might do"
        )
        lines.append(f"It was ended by {why}: {rest}.")
    elif not reduced.minimal:
        lines.append("Parts of the model fail in a different way, so no node could be removed.")
    return lines


def names_of(model: onnx.ModelProto) -> frozenset[str]:
    """The names of all nodes and tensors, which an error message may quote."""
    graph = model.graph
    made = {name for node in graph.node for name in (node.name, *node.input, *node.output)}
    return frozenset(made - {""}) | {one.name for one in (*graph.input, *graph.output)}


def model_of(steps: CellSteps, action: Action, slot: str = "model") -> onnx.ModelProto:
    """The model that an action reads, as a skeleton (without its weights)."""
    folder = steps.scratch / "whole"
    for name, digest in action.fingerprint.inputs[slot].items():
        steps.steps.store.fetch(digest, folder / name)
    return read_skeleton(folder / "model.onnx").proto


def _fixed(candidate: Candidate, scratch: Path) -> Candidate | None:
    """The model with static shapes (its first profile's opt) and constants folded; None when that is impossible."""
    shapes, values = opt_of(candidate)
    model = copy_of(candidate.model)
    bound = {name: list(value) for name, value in values.items()}
    folder = scratch / "folding"
    folder.mkdir(exist_ok=True)
    try:
        with Evaluator(folder) as evaluator:
            apply_transform(model, evaluator, Transform(bind=bound, set_shapes=shapes))
    except ModelError:
        return None
    fixed = Candidate(model)
    return fixed if fixed.is_static else None


def key_of_candidate(candidate: Candidate) -> str:
    """A key that is equal for equal candidates."""
    from trtpipe.digests import digest_bytes

    encoded = candidate.model.SerializeToString(deterministic=True)
    return f"{digest_bytes(encoded)} {json.dumps(candidate.profiles, default=list)}"


def telling(steps: CellSteps) -> Callable[[str, int], None]:
    """Reports the number of trials and the phase."""
    begun: set[str] = set()

    def tell(phase: str, count: int) -> None:
        steps.observer.emit(ReductionProgress(steps.cell.name, phase, count, phase not in begun))
        begun.add(phase)

    return tell
