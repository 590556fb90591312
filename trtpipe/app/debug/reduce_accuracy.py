"""`debug reduce` for a missed threshold: the smallest part of the typed model that misses it on exact inputs.

The source's tensors are recorded once. A trial is a part of the typed model that ends in the output which misses the
threshold; it runs on the source's tensors in a process of its own, and is compared with the source's output.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trtpipe.app.debug.compare import comparison_task
from trtpipe.app.debug.reduce import Limits, Reduction, about, key_of_candidate, model_of, telling
from trtpipe.app.debug.repro import new_directory, readme_of, write_environment
from trtpipe.canonical.writer import write_model
from trtpipe.checks.cell_steps import CellSteps
from trtpipe.errors import ModelError, Problem, SpecError, StepFailed
from trtpipe.figures import exact_figure
from trtpipe.metrics.metrics import metrics_from_json
from trtpipe.metrics.thresholds import Verdict, judge
from trtpipe.plan.control import Control
from trtpipe.plan.graph import Action
from trtpipe.plan.task import Task
from trtpipe.problem_codes import Code
from trtpipe.processes.stage_runs import run_in_child
from trtpipe.reduction.budget import Spent, Trials
from trtpipe.reduction.candidates import Candidate
from trtpipe.reduction.course import Reduced, fewer_nodes
from trtpipe.reduction.failures import FailureClass
from trtpipe.spec.pipeline import Threshold

_SECONDS = 600
_COMMAND = "python run.py"
_RUN = '''\
"""Runs the part on what the source computes before it: `python run.py`, by a Python that has trtpipe."""

import sys
from pathlib import Path

from trtpipe.runners.comparison.partial_runs import replay

sys.exit(replay(Path(__file__).resolve().parent))
'''


@dataclass(frozen=True)
class AccuracyReduction(Reduction):
    """A reduction of a missed threshold."""

    output: str = ""
    threshold: Mapping[str, Any] = field(default_factory=dict)
    value: float | None = None
    batches: int = 0
    action: Action | None = None
    recorded: Path = Path()

    def to_json(self) -> dict[str, Any]:
        """The reduction as a JSON object."""
        more = {"output": self.output, "threshold": dict(self.threshold), "value": self.value}
        inputs = [one.name for one in self.reduced.candidate.model.graph.input]
        return {**super().to_json(), **more, "batches": self.batches, "inputs": inputs}


@dataclass
class _Measuring:
    """Measures candidates on recorded tensors."""

    steps: CellSteps
    recorded: Path
    batches: int
    threads: int

    def verdicts(self, candidate: Candidate, thresholds: Collection[Threshold]) -> dict[str, list[Verdict]]:
        """Output → the verdict of its thresholds. Raises ModelError or StepFailed."""
        folder = self.steps.scratch / "trial"
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "out").mkdir(parents=True)
        model = write_model(candidate.model, folder / "model.onnx")[0]
        local = {"recorded": str(self.recorded), "threads": self.threads}
        inputs = {"model": {model.name: model.absolute()}}
        task = Task("measure", {"batches": self.batches}, inputs, folder / "out", local)
        began = time.monotonic()

        def tick() -> None:
            if time.monotonic() - began > _SECONDS:
                raise StepFailed(Code.TIMED_OUT, f"a trial took longer than {_SECONDS} s")

        found = run_in_child(task, folder, Control(), tick).summary["outputs"]
        return {
            name: list(judge(name, metrics_from_json(one), list(thresholds)).verdicts)
            for name, one in found.items()
        }


def reduce_accuracy(steps: CellSteps, limits: Limits) -> AccuracyReduction:
    """The reduction of the first threshold that a cell misses on its data. Raises SpecError when it misses none."""
    folder = steps.scratch / "recorded"
    task = comparison_task(steps, "record", folder)
    index = run_in_child(task, folder, Control()).summary
    action = steps.action("validate")
    assert action is not None, "the comparison needed what it needs"
    measuring = _Measuring(steps, task.out, index["batches"], task.local.get("threads", 0))
    thresholds = _thresholds(steps)
    whole = Candidate(model_of(steps, action, "typed"))
    output, missed = _first_missed(measuring.verdicts(whole, thresholds), steps, index["samples"])
    asked = Threshold(metric=missed.metric, min=missed.min, max=missed.max)  # type: ignore[arg-type]

    def run(candidate: Candidate) -> bool:
        try:
            verdicts = measuring.verdicts(candidate, [asked]).get(output, [])
        except (ModelError, StepFailed):
            return False
        return any(one.outcome == "failed" and one.value is not None for one in verdicts)

    trials = Trials(
        run, key_of_candidate, whole, most=limits.trials, seconds=limits.seconds, tell=telling(steps)
    )
    trials.known[key_of_candidate(whole)] = True
    minimal, stopped, interrupted = _shrunk(trials, measuring, run, output, set(index["names"]))
    reduced = Reduced(trials.best, whole.nodes, minimal, stopped, trials.count)
    wanted = FailureClass("threshold", f"{missed.metric} of output '{output}'{_bounds(missed)}")
    value = missed.value
    if not interrupted:
        found = measuring.verdicts(reduced.candidate, [asked])[output]
        value = next((one.value for one in found if one.metric == missed.metric), value)
    record = {"metric": missed.metric, "min": missed.min, "max": missed.max}
    return AccuracyReduction(
        reduced,
        wanted,
        trials.count,
        interrupted,
        output,
        record,
        value,
        measuring.batches,
        action,
        task.out,
    )


def _shrunk(
    trials: Trials[Candidate],
    measuring: _Measuring,
    run: Callable[[Candidate], bool],
    output: str,
    names: set[str],
) -> tuple[bool, str, bool]:
    """Tries fewer nodes, then fewer batches; returns whether it is minimal, why it stopped early, and if by Ctrl-C."""
    minimal = False
    try:
        minimal = fewer_nodes(trials, {output}, names)
        while measuring.batches > 1 and _fewer(measuring, trials, run):
            pass
    except Spent as spent:
        return minimal, str(spent), False
    except KeyboardInterrupt:
        return minimal, "", True
    return minimal, "", False


def _fewer(measuring: _Measuring, trials: Trials[Candidate], run: Callable[[Candidate], bool]) -> bool:
    """Halves the batches if the best candidate misses its threshold on half of them too; returns whether it does."""
    before, trials.phase = measuring.batches, "batches"
    if trials.most is not None and trials.count >= trials.most:
        return False
    trials.count += 1
    fewer = False
    try:
        measuring.batches = before // 2
        fewer = run(trials.best)
    finally:  # after Ctrl-C the smallest part known to fail is kept
        measuring.batches = before // 2 if fewer else before
    return fewer


def _bounds(verdict: Verdict) -> str:
    bounds = ((verdict.min, "at least"), (verdict.max, "at most"))
    return "".join(
        f", which must be {word} {exact_figure(bound)}" for bound, word in bounds if bound is not None
    )


def _thresholds(steps: CellSteps) -> list[Threshold]:
    """The thresholds of the spec, or the precision's defaults."""
    from trtpipe.precisions import find_precision

    spec = steps.planned.specs[steps.cell.pipeline]
    asked = list(spec.validate_.thresholds) if spec.validate_ is not None else []
    precision = find_precision(str(steps.cell.facts["precision"]))
    return asked or (list(precision.default_thresholds) if precision is not None else [])


def _first_missed(
    verdicts: Mapping[str, list[Verdict]], steps: CellSteps, samples: int
) -> tuple[str, Verdict]:
    for output, found in verdicts.items():
        for verdict in found:
            if verdict.outcome == "failed" and verdict.value is not None:
                return output, verdict
    fact = f"the engine of {steps.cell.name} is built and no threshold is missed on {samples} samples of its data"
    left_out = "corners of profiles and budgets of searches are not reduced"
    raise SpecError(Problem(Code.NOTHING_FAILS, fact, details=left_out))


def write_accuracy_reduction(steps: CellSteps, reduction: AccuracyReduction, folder: Path) -> None:
    """Writes the part, its inputs and its expected outputs as a directory. Raises SpecError."""
    assert reduction.action is not None
    model = reduction.reduced.candidate.model
    with new_directory(folder) as partial:
        write_model(model, partial / "model.onnx")
        names = [*(one.name for one in model.graph.input), reduction.output]
        _copy_recorded(reduction, names, partial / "recorded")
        failure = (reduction.wanted.words(),)
        write_environment(steps, reduction.action, partial, failure)
        found = json.dumps(reduction.to_json(), indent=1, ensure_ascii=False)
        (partial / "reduction.json").write_text(found + "\n")
        (partial / "run.py").write_text(_RUN)
        words = " ".join([*about(reduction), *about_accuracy(reduction), "The inputs are in `recorded/`."])
        (partial / "README.md").write_text(readme_of(steps, reduction.action, _COMMAND, failure, words))


def about_accuracy(reduction: AccuracyReduction) -> list[str]:
    """The result for the remaining part, in one sentence."""
    if reduction.value is None:
        return []
    batches = "1 batch" if reduction.batches == 1 else f"{reduction.batches} batches"
    what = f"{reduction.threshold['metric']} {reduction.value:.4g} on {batches}"
    return [f"With the source's tensors as inputs, it has {what}."]


def _copy_recorded(reduction: AccuracyReduction, names: list[str], folder: Path) -> None:
    """The recorded tensors of these names, for the batches that are left."""
    index = json.loads((reduction.recorded / "index.json").read_bytes())
    place = {name: number for number, name in enumerate(index["names"])}
    kept = [name for name in dict.fromkeys(names) if name in place]
    for batch in range(reduction.batches):
        source, target = reduction.recorded / str(batch), folder / str(batch)
        target.mkdir(parents=True)
        for number, name in enumerate(kept):
            shutil.copy(source / f"t{place[name]}.npy", target / f"t{number}.npy")
        inputs = json.loads((source / "inputs.json").read_bytes())
        read = [name for name in inputs if name in names and name not in place]
        for number, name in enumerate(read):
            shutil.copy(source / f"in{inputs.index(name)}.npy", target / f"in{number}.npy")
        (target / "inputs.json").write_text(json.dumps(read))
        if (source / "labels.npy").exists():
            shutil.copy(source / "labels.npy", target / "labels.npy")
    (folder / "index.json").write_text(json.dumps({"names": kept, "batches": reduction.batches}))
