"""What a cell proved: its validation judged by the spec's thresholds, its engine's precisions audited.

Pure judgement over what the steps measured: changing a threshold judges again and runs nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from trtpipe.errors import Problem, ValidationFailed
from trtpipe.manifest import Proof, precision_of
from trtpipe.plan.graph import Cell, Stage
from trtpipe.plan.trace import Trace
from trtpipe.spec.budget import AUTO
from trtpipe.spec.pipeline import PipelineSpec
from trtpipe.spec.variant import VariantSpec
from trtpipe.stores.local import LocalStore
from trtpipe.system.targets import TargetResolver

if TYPE_CHECKING:
    from trtpipe.comparing.judging import Judgement


def prove_cell(
    cell: Cell,
    spec: PipelineSpec,
    traces: Mapping[Stage, Trace],
    store: LocalStore,
    targets: TargetResolver,
) -> Proof:
    """The cell's proof. Raises ValidationFailed when a threshold or the audit was missed."""
    problems: list[Problem] = []
    precision = precision_of(cell, traces)
    validation: dict[str, Any] = {"outcome": "not_run"}
    not_run = [_not_run_on_gpu(cell, targets)]
    if "validate" in traces:
        judgement = _judged(precision, spec, cell.variant, traces["validate"].summary)
        validation = judgement.as_json()
        problems += judgement.problems
        problems += _by_budget(spec, cell.variant, traces["validate"].summary, validation)
        not_run += judgement.not_run
    else:
        not_run.append("validation: the spec has no `validate`")
    audit = _audited(precision, cell, spec, traces, store, problems)
    if problems:
        raise ValidationFailed(_with_way_out(problems, precision, cell))
    return Proof(validation, audit, tuple(not_run))


def _with_way_out(problems: list[Problem], precision: str, cell: Cell) -> list[Problem]:
    """The first output that missed a threshold in a low precision tells how to find the nodes that do it."""
    from trtpipe.precisions import find_precision

    found = find_precision(precision)
    first = problems[0]
    if found is None or not found.is_low or first.path or first.remedy:
        return problems
    remedy = f"`trtpipe debug {cell.pipeline}/{cell.variant}` finds the nodes whose precision does it"
    return [replace(first, remedy=remedy), *problems[1:]]


def _not_run_on_gpu(cell: Cell, targets: TargetResolver) -> str:
    from trtpipe.targets.capabilities import runnable_here
    from trtpipe.targets.compute_capability import ComputeCapability

    wanted = [ComputeCapability.parse(sm) for sm in cell.facts["compute_capabilities"]]
    reason = runnable_here(wanted, [gpu.compute_capability for gpu in targets.here()])
    return f"the engine on a GPU: {reason or 'a build proves the typed model on the CPU only'}"


def _judged(precision: str, spec: PipelineSpec, variant: str, report: Mapping[str, Any]) -> Judgement:
    """By the spec's thresholds, else the precision's own; a variant with a budget has that instead of the latter."""
    from trtpipe.comparing.judging import judge_report
    from trtpipe.precisions import find_precision

    found = find_precision(precision)
    assert found is not None, "the loader knows the precisions"
    asked = spec.validate_.thresholds if spec.validate_ else ()
    defaults = () if spec.variants[variant].budget is not None else found.default_thresholds
    return judge_report(report, asked, defaults)


def _by_budget(
    spec: PipelineSpec, variant: str, report: Mapping[str, Any], validation: dict[str, Any]
) -> list[Problem]:
    """Holds an auto variant's model against its budget, on the whole of the validation data; noted in `validation`."""
    budget = spec.variants[variant].budget
    if budget is None:
        return []
    from trtpipe.comparing.budgets import reached

    found = reached(report, budget)
    validation["budget"] = {"goal": budget.words(), "value": found.value, "inside": found.inside}
    if found.inside:
        validation["outcome"] = "failed" if validation["outcome"] == "failed" else "passed"
        return []
    validation["outcome"] = "failed"
    fewer = f"its types were searched for on {budget.samples} samples: take more" if budget.samples else ""
    return [Problem(f"over its budget: {found.why}", fewer, path=("variants", variant, "budget"))]


def _least_low(variant: VariantSpec) -> float:
    """What a search found is what was asked for, however little of it is narrow, unless the spec sets a bound."""
    bounded = variant.precision != AUTO or "min_low_precision" in variant.model_fields_set
    return variant.min_low_precision if bounded else 0.0


def _audited(
    asked: str,
    cell: Cell,
    spec: PipelineSpec,
    traces: Mapping[Stage, Trace],
    store: LocalStore,
    problems: list[Problem],
) -> dict[str, Any]:
    """How much of the engine came out in which precision; a problem when that is not what was asked for."""
    from trtpipe.precisions import find_precision
    from trtpipe.precisions.audit import audit_engine

    precision = find_precision(asked)
    assert precision is not None, "the loader knows the precisions"
    outputs = traces["build_engine"].outputs
    network = json.loads(store.path(outputs["network.json"]).read_bytes())
    typed = traces["quantize"].summary
    least = _least_low(spec.variants[cell.variant])
    audit = audit_engine(network, None, typed["audit"], precision.name, least, typed["why_not"])
    problems += audit.problems
    return audit.as_json()
