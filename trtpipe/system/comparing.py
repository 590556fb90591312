"""`debug compare`: every tensor of a cell's typed model against the model that it was typed from.

The steps before are brought up to date as a build would do it; the comparison itself is kept nowhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trtpipe.errors import SpecError
from trtpipe.executors.local import Control
from trtpipe.stages.task import Task
from trtpipe.system.failing import CellSteps
from trtpipe.system.processes import Telling, run_in_child


def compare_cell(steps: CellSteps, samples: int | None = None) -> Mapping[str, Any]:
    """The comparison, see `runners.compare_all`. Raises SpecError, and what the steps or the comparison raise."""
    if "validate" not in steps.cell.steps:
        remedy = "give the spec a `validate` with data: it says on what the tensors are compared"
        raise SpecError(f"{steps.cell.name} validates nothing, so there are no data to compare on", remedy)
    failing = steps.run("quantize")
    if failing is not None:
        raise failing.error
    quantize, validate = steps.action("quantize"), steps.action("validate")
    assert quantize is not None and validate is not None, "what they need has run"
    found = steps.performer.inputs_of(validate, steps.scratch / "validate")
    source = steps.performer.inputs_of(quantize, steps.scratch / "source")["model"]
    inputs = {**found, "reference": source}
    options = {**validate.fingerprint.options, "transform": {}, "corners": False}
    if options["reference"] == "golden":
        inputs["golden"] = found["reference"]
    if samples is not None:
        options["samples"] = samples
    folder = steps.scratch / "compared"
    (folder / "out").mkdir(parents=True)
    events = folder.absolute() / "events"
    local = {name: value for name, value in validate.step.local.items() if name in ("root", "threads")}
    task = Task("compare_all", options, inputs, folder / "out", {**local, "events": str(events)})
    return run_in_child(task, folder, Control(), Telling(events, lambda event: _tell(steps, event))).summary


def _tell(steps: CellSteps, event: Mapping[str, Any]) -> None:
    done = {"event": "evaluated", "address": f"{steps.cell.name}:compare", "asked": event["done"]}
    steps.observer.emit({**done, "phase": "tensors", "ran": event["done"], "begins": event["done"] == 1})
