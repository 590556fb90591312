"""The process that evaluates choices of a search: `python -m trtpipe.processes.evaluator DIRECTORY`.

Reads `task.json` there, then one JSON request per line from standard input, and answers each with one line on standard
output: `{"answer": …}` or `{"error": …}`. It runs for as long as a search, because loading the libraries and running
the reference takes longer than one evaluation of a small model. It ends when its input does, or with its parent.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trtpipe.errors import TrtpipeError
from trtpipe.json_values import JsonObject
from trtpipe.plan.options import EvaluateOptions, UnitsOptions
from trtpipe.plan.task import MODEL, Task
from trtpipe.processes.child import error_json, obey_parent, of_os_error

if TYPE_CHECKING:
    from trtpipe.spec.pipeline import Profile

_SMALL = 1 << 30
"""Operations at a profile's opt below which a model runs on one thread."""


@dataclass(frozen=True, slots=True)
class Evaluator:
    """Answers requests about one task's model."""

    task: Task
    measure: Callable[..., dict[str, Any]]

    def answer(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """The units of a model, or the measurements of a choice. Raises TrtpipeError."""
        if "units" in request:
            return {"units": self._units(UnitsOptions.from_record(request))}
        return self._evaluated(EvaluateOptions.from_record(request))

    def _evaluated(self, asked: EvaluateOptions) -> dict[str, Any]:
        from trtpipe.runners.validation.requests import request_of
        from trtpipe.stages.plan_stages import quantize_model

        with tempfile.TemporaryDirectory(prefix="typed-", dir=self.task.out) as name:
            folder = Path(name)
            task = replace(self.task, stage="quantize", options=asked.quantize.record(), out=folder)
            made = quantize_model(task)
            inputs = {**self.task.inputs, "typed": {MODEL: made.files[MODEL]}}
            validate = asked.validate.record()
            measured = replace(self.task, stage="validate", options=validate, inputs=inputs, out=folder)
            report = self.measure(request_of(measured), validate)
        weights = made.summary["audit"]["weight_bytes"]
        return {**report, "weight_bytes": sum(weights.values()), "warnings": made.summary["warnings"]}

    def _units(self, asked: UnitsOptions) -> list[dict[str, Any]]:
        from trtpipe.calibration.scales import read_scales
        from trtpipe.precisions import Choices, find_precision
        from trtpipe.precisions.casts.overflow import measured_of
        from trtpipe.precisions.groups.units import find_units

        scales = read_scales(self.task.input("scales")) if "scales" in self.task.inputs else None
        quantize = asked.units
        precision = find_precision(quantize.precision)
        assert precision is not None, "the loader knows the precisions"
        units = find_units(
            precision,
            self.task.input("model"),
            keep=quantize.keep,
            choices=Choices(
                measured_of(scales) if scales else None,
                base=quantize.base,
                amax={name: one.amax for name, one in scales.tensors.items()} if scales else None,
                block=quantize.block_size,
            ),
            profile=_first_profile(asked.profiles),
        )
        return [unit.to_json() for unit in units]


def threads_for(task: Task) -> int:
    """The number of threads: 0 (all cores), or 1 for a model so small that threads would mostly wait for each other.

    ONNX Runtime's results do not depend on it.
    """
    from trtpipe.canonical.inference import infer_at
    from trtpipe.canonical.reader import read_skeleton
    from trtpipe.canonical.summary import summarize
    from trtpipe.inspection.costs import costs_of
    from trtpipe.proofs.corners import shapes_at, values_at

    proto = read_skeleton(task.input("model")).proto
    profile = _first_profile(_profiles_in(task.options))
    shapes = shapes_at(summarize(proto).inputs, profile, "opt")
    costs = costs_of(proto, infer_at(proto, shapes, values_at(profile, "opt")))
    return 1 if not costs.uncounted and costs.flops < _SMALL else 0


def _profiles_in(options: JsonObject) -> Sequence[JsonObject]:
    """The profiles in the options of either kind of request."""
    if "units" in options:
        return UnitsOptions.from_record(options).profiles
    return EvaluateOptions.from_record(options).validate.profiles


def _first_profile(profiles: Sequence[JsonObject]) -> Profile:
    from trtpipe.spec.pipeline import ProfileInput

    first = profiles[0] if profiles else {}
    return {name: ProfileInput.model_validate_json(json.dumps(entry)) for name, entry in first.items()}


def main(folder: str) -> int:
    """Answer requests until the input ends."""
    obey_parent()
    place = Path(folder)
    # Output of libraries must go to the log, because stdout carries the answers.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    task = Task.from_json(json.loads((place / "task.json").read_bytes()))
    from trtpipe.runners.validation.evaluate import Measuring

    task = replace(task, local={"threads": threads_for(task), **task.local})
    with Measuring(place / "reference") as measuring:
        evaluator = Evaluator(task, measuring.measure)
        for line in sys.stdin:
            print(json.dumps(_answered(evaluator, json.loads(line), place)), file=answers, flush=True)
    return 0


def _answered(evaluator: Evaluator, request: Mapping[str, Any], place: Path) -> dict[str, Any]:
    try:
        return {"answer": evaluator.answer(request)}
    except TrtpipeError as error:
        return {"error": error_json(error)}
    except OSError as error:
        return {"error": error_json(of_os_error(error, place))}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
