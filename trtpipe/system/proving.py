"""What a cell proved: its validation judged by the spec's thresholds, its engine's precisions audited.

Pure judgement over what the steps measured: changing a threshold judges again and runs nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from trtpipe.errors import Problem, ValidationFailed
from trtpipe.manifest import Proof
from trtpipe.plan.graph import Cell, Stage
from trtpipe.plan.trace import Trace
from trtpipe.spec.pipeline import PipelineSpec
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
    validation: dict[str, Any] = {"outcome": "not_run"}
    not_run = [_not_run_on_gpu(cell, targets)]
    if "validate" in traces:
        judgement = _judged(cell, spec, traces["validate"].summary)
        validation = judgement.as_json()
        problems += judgement.problems
        not_run += judgement.not_run
    else:
        not_run.append("validation: the spec has no `validate`")
    audit = _audited(cell, spec, traces, store, problems)
    if problems:
        raise ValidationFailed(problems)
    return Proof(validation, audit, tuple(not_run))


def _not_run_on_gpu(cell: Cell, targets: TargetResolver) -> str:
    from trtpipe.targets.capabilities import runnable_here
    from trtpipe.targets.compute_capability import ComputeCapability

    wanted = [ComputeCapability.parse(sm) for sm in cell.facts["compute_capabilities"]]
    reason = runnable_here(wanted, [gpu.compute_capability for gpu in targets.here()])
    return f"the engine on a GPU: {reason or 'a build proves the typed model on the CPU only'}"


def _judged(cell: Cell, spec: PipelineSpec, report: Mapping[str, Any]) -> Judgement:
    from trtpipe.comparing.judging import judge_report
    from trtpipe.precisions import find_precision

    precision = find_precision(cell.facts["precision"])
    assert precision is not None, "the loader knows the precisions"
    asked = spec.validate_.thresholds if spec.validate_ else ()
    return judge_report(report, asked, precision.default_thresholds)


def _audited(
    cell: Cell,
    spec: PipelineSpec,
    traces: Mapping[Stage, Trace],
    store: LocalStore,
    problems: list[Problem],
) -> dict[str, Any]:
    """How much of the engine came out in which precision; a problem when that is not what was asked for."""
    from trtpipe.precisions import find_precision
    from trtpipe.precisions.audit import audit_engine

    precision = find_precision(cell.facts["precision"])
    assert precision is not None, "the loader knows the precisions"
    outputs = traces["build_engine"].outputs
    network = json.loads(store.path(outputs["network.json"]).read_bytes())
    typed = traces["quantize"].summary
    least = spec.variants[cell.variant].min_low_precision
    audit = audit_engine(network, None, typed["audit"], precision.name, least, typed["why_not"])
    problems += audit.problems
    return audit.as_json()
