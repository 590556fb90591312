"""`debug compare`: compares every tensor of a cell's typed model with its source or with TensorRT's parsed network.

The steps before are brought up to date as a build would do it; the comparison itself is not stored.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from trtpipe.checks.cell_steps import CellSteps
from trtpipe.checks.parsed_networks import NotParsedHere, parse_cell
from trtpipe.errors import SpecError
from trtpipe.json_values import JsonObject, integer_in
from trtpipe.plan.control import Control
from trtpipe.plan.events import ComparisonProgress
from trtpipe.plan.options import NO_TRANSFORM, ValidateOptions
from trtpipe.plan.task import Task
from trtpipe.problem_codes import Code
from trtpipe.processes.stage_runs import Telling, run_in_child


def compare_cell(steps: CellSteps, samples: int | None = None) -> Mapping[str, Any]:
    """The comparison, see `runners.comparison.compare_all`.

    Raises SpecError, and what the steps or the comparison raise.
    """
    folder = steps.scratch / "compared"
    task = comparison_task(steps, "compare_all", folder, samples)
    events = Path(task.local["events"])
    return run_in_child(task, folder, Control(), Telling(events, lambda report: _tell(steps, report))).summary


def compare_cell_with_network(steps: CellSteps, samples: int | None = None) -> Mapping[str, Any]:
    """The cell's typed model beside the network that its toolchain makes of it, see `comparison.compare_network`.

    Where the toolchain cannot parse here, `not_run` says why. Raises SpecError, and what the steps, the parser or the
    comparison raise.
    """
    folder = steps.scratch / "compared"
    task = comparison_task(steps, "compare_network", folder, samples)
    try:
        parsed = parse_cell(steps)
    except NotParsedHere as error:
        return {"equal": False, "not_run": [{"name": "the network", "why": str(error)}]}
    inputs = {**task.inputs, "parsed": {one.name: one for one in (parsed.network, parsed.weights)}}
    told = Telling(Path(task.local["events"]), lambda report: _tell(steps, report))
    return run_in_child(replace(task, inputs=inputs), folder, Control(), told).summary


def comparison_task(steps: CellSteps, stage: str, folder: Path, samples: int | None = None) -> Task:
    """The task for a child process that compares a cell's typed model with the model that it was made from.

    Raises SpecError, and what the steps before raise.
    """
    if "validate" not in steps.cell.steps:
        remedy = "give the spec a `validate` with data: it defines the data for the comparison"
        raise SpecError(
            Code.VALIDATES_NOTHING,
            f"{steps.cell.name} has no `validate` in its spec, so there is no data to compare on",
            remedy,
        )
    failing = steps.run("quantize")
    if failing is not None:
        raise failing.error
    quantize, validate = steps.action("quantize"), steps.action("validate")
    assert quantize is not None and validate is not None, "what they need has run"
    found = steps.steps.inputs_of(validate, steps.scratch / "validate")
    source = steps.steps.inputs_of(quantize, steps.scratch / "source")["model"]
    inputs = {**found, "reference": source}
    options = ValidateOptions.from_record(validate.fingerprint.options)
    if options.reference == "golden":
        inputs["golden"] = found["reference"]
    samples = samples if samples is not None else options.samples
    options = replace(options, transform=NO_TRANSFORM, corners=False, samples=samples)
    (folder / "out").mkdir(parents=True)
    events = folder.absolute() / "events"
    local = {**steps.steps.performer.local_of(validate), "events": str(events)}
    return Task(stage, options.record(), inputs, (folder / "out").absolute(), local)


def _tell(steps: CellSteps, report: JsonObject) -> None:
    steps.observer.emit(ComparisonProgress(steps.cell.name, integer_in(report, "done")))
