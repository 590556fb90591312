"""`trtpipe validate --propose`: thresholds for a cell, derived from the noise of its precision's rounding.

The typed model is not used for them; its results relative to the proposal are reported as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trtpipe.building.on_fleet import jobs_of
from trtpipe.building.performer import Terms
from trtpipe.building.planned import FleetFor, on_this_machine
from trtpipe.checks.proved_cell import planned_variant, step_of
from trtpipe.errors import Problem, SpecError
from trtpipe.plan.control import Control
from trtpipe.plan.graph import Cell
from trtpipe.plan.ports import Observer
from trtpipe.plan.task import Task
from trtpipe.problem_codes import Code
from trtpipe.processes.stage_runs import run_in_child
from trtpipe.spec.budget import AUTO
from trtpipe.spec.pipeline import PipelineSpec, Threshold
from trtpipe.spec.variant import VariantSpec

if TYPE_CHECKING:
    from trtpipe.metrics.verdicts import Judgement

_BASES = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16"}


@dataclass(frozen=True, slots=True)
class Proposal:
    """Thresholds, and the cell's results relative to them."""

    cell: str
    precision: str
    thresholds: tuple[Threshold, ...]
    judgement: Judgement


@dataclass(frozen=True, slots=True)
class Noise:
    """How often the noise of rounding is drawn, from which seed on, and how much worse than any seen may be."""

    seeds: int
    first: int
    margin: float


def propose_thresholds(
    name: str,
    observer: Observer,
    noise: Noise,
    fleet_for: FleetFor = on_this_machine,
    *,
    offline: bool = False,
) -> Proposal:
    """Thresholds for a cell, from several runs. Raises SpecError when there is nothing to propose for, StepFailed."""
    from trtpipe.metrics.proposals import proposed_thresholds
    from trtpipe.metrics.verdicts import judge_report

    planned, cell = planned_variant(name, observer, offline=offline)
    variant = _measurable(planned.specs[cell.pipeline], cell)
    with (
        fleet_for(planned) as fleet,
        planned.steps(observer, Terms(offline=offline, fleet=fleet, jobs=jobs_of(fleet))) as steps,
        planned.site.store.scratch() as scratch,
    ):
        address = step_of(cell, "validate")
        steps.bring([address])
        validate, quantize = steps.action(address), steps.action(cell.steps["quantize"])
        inputs = steps.inputs_of(validate, scratch / "in")
        inputs["typed"] = steps.inputs_of(quantize, scratch / "model")["model"]
        options = {**validate.fingerprint.options, "propose": _asked(variant, noise)}
        (scratch / "out").mkdir()
        task = Task("propose", options, inputs, scratch / "out", steps.performer.local_of(validate))
        reports: list[Any] = run_in_child(task, scratch, Control()).summary["reports"]
        measured = steps.trace(address).summary
    thresholds = proposed_thresholds(reports, noise.margin)
    if not thresholds:
        why = [f"{one['name']}: {one['why']}" for one in reports[0]["not_run"]]
        fact = f"nothing was measured of {cell.name}"
        raise SpecError(Problem(Code.NOTHING_TO_MEASURE, fact, details="\n".join(why)))
    judgement = judge_report(measured, thresholds)
    return Proposal(cell.name, variant.precision, tuple(thresholds), judgement)


def _asked(variant: VariantSpec, noise: Noise) -> dict[str, Any]:
    """What the child is asked for, besides the options of the validation."""
    seeds = list(range(noise.first, noise.first + noise.seeds))
    return {
        "precision": variant.precision,
        "base": variant.base or _base_of(variant.precision),
        "seeds": seeds,
    }


def _measurable(spec: PipelineSpec, cell: Cell) -> VariantSpec:
    """The variant of a cell that has thresholds to propose. Raises SpecError."""
    if spec.validate_ is None:
        remedy = "give the spec a `validate` with data: it defines what is measured on which data"
        raise SpecError(
            Code.VALIDATES_NOTHING,
            f"{cell.name} has no `validate` in its spec, so there is nothing to measure",
            remedy,
        )
    variant = spec.variants[cell.variant]
    if variant.precision == AUTO:
        raise SpecError(
            Code.NOTHING_TO_MEASURE,
            f"{cell.name} is judged by the budget of its search, not by thresholds",
            "name another cell",
        )
    return variant


def _base_of(precision: str) -> str:
    """The precision that a quantized one computes in when the spec does not set it."""
    from trtpipe.precisions import find_precision

    found = find_precision(precision)
    assert found is not None, "the loader knows the precisions"
    return _BASES[found.dtype]
