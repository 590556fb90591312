"""The effect of a precision's rounding on a model's outputs: a noisy model against its reference, for some seeds.

It is run on the same inputs as a validation: on the data, and at every corner of the profiles.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from trtpipe.canonical.summary import summarize
from trtpipe.errors import StepFailed
from trtpipe.plan.task import Task
from trtpipe.problem_codes import Code
from trtpipe.runners.cpu.graphs import runnable_model
from trtpipe.runners.cpu.onnxruntime import open_runner
from trtpipe.runners.rounding.perturbations import noise_of, perturbed
from trtpipe.runners.validation.references import open_source
from trtpipe.runners.validation.requests import request_of
from trtpipe.runners.validation.validate import Run

if TYPE_CHECKING:
    from trtpipe.json_values import Json, JsonObject


def run_proposing(task: Task) -> dict[str, Json]:
    """Reports of the model with noise, one for each seed. Raises ModelError, SpecError (the data set) or StepFailed.

    The options are those of a validation, and `propose`: `precision`, `base` and `seeds`. The input `typed` is the
    float32 model that a precision would rewrite.
    """
    asked = task.options["propose"]
    noise = noise_of(asked["precision"], asked["base"])
    if noise is None:
        raise StepFailed(
            Code.PRECISION_OPTION, f"no noise level is known for precision '{asked['precision']}'"
        )
    request = request_of(task)
    model = runnable_model(request.typed)
    inputs = summarize(model.proto).inputs
    reports: list[JsonObject] = []
    with ExitStack() as stack:
        reference = None
        if not request.golden:
            opened = open_source(
                request.reference,
                model.outputs(),
                request.bound,
                threads=request.threads,
                reshaped=request.reshaped,
                wide=request.wide,
            )
            reference = stack.enter_context(opened)
        for seed in asked["seeds"]:
            with open_runner(perturbed(model, noise, seed), threads=request.threads) as runner:
                run = Run(request, model, runner, inputs, None)
                if reference is None:
                    run.golden()
                else:
                    run.source(reference)
            reports.append(run.report())
    return {"reports": [{name: one[name] for name in ("places", "not_run")} for one in reports]}
