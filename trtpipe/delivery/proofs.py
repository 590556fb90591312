"""A cell's proof: its validation judged by the spec's thresholds, and the audit of its engine's precisions.

Judges only existing measurements, those of the steps and those that `trtpipe validate` made with the engine on a GPU,
so changing a threshold judges again and runs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from trtpipe.delivery.called_nodes import caller_of
from trtpipe.delivery.engine_proofs import judged_on_gpu
from trtpipe.errors import ArtifactDamaged, Problem, ValidationFailed
from trtpipe.json_values import JsonObject, Malformed, read_object
from trtpipe.metrics.reach import Link, source_links
from trtpipe.plan.address import Stage
from trtpipe.plan.graph import Cell
from trtpipe.plan.task import GOLDEN
from trtpipe.plan.trace import Trace
from trtpipe.problem_codes import Code
from trtpipe.provenance.manifest import Proof, precision_of
from trtpipe.spec.budget import AUTO, BudgetSpec
from trtpipe.spec.pipeline import PipelineSpec, ReadbackSpec, ValidateSpec
from trtpipe.spec.variant import VariantSpec
from trtpipe.stores.local import LocalStore
from trtpipe.workspace.target_facts import TargetResolver

if TYPE_CHECKING:
    from trtpipe.metrics.verdicts import Judgement
    from trtpipe.networks.verdicts import NetworkVerdict


WhyNotRun = Callable[[Cell], str]
"""Why a cell's engine has not run on a GPU."""


def prove_cell(
    cell: Cell,
    spec: PipelineSpec,
    traces: Mapping[Stage, Trace],
    store: LocalStore,
    not_run: WhyNotRun,
    found: JsonObject | None = None,
) -> Proof:
    """The cell's proof; `found` is the proof of its engine from a GPU.

    Raises ValidationFailed when a threshold or the audit was missed.
    """
    try:
        return _proof(cell, spec, traces, store, not_run, found)
    except Malformed as error:
        raise ArtifactDamaged(
            Code.ARTIFACT_DAMAGED,
            f"the trace of {cell.name} in the store {store.root} is damaged: {error}",
        ) from error


def _proof(
    cell: Cell,
    spec: PipelineSpec,
    traces: Mapping[Stage, Trace],
    store: LocalStore,
    why_not_run: WhyNotRun,
    found: JsonObject | None,
) -> Proof:
    problems: list[Problem] = []
    precision = precision_of(cell, traces)
    validation: dict[str, Any] = {"outcome": "not_run"}
    not_run = [] if found else [f"the engine on a GPU: {why_not_run(cell)}"]
    on_gpu: Mapping[str, Any] = {}
    if "validate" in traces:
        measured = traces["validate"]
        judgement = _judged(precision, spec, cell.variant, measured.summary)
        validation = {**judgement.as_json(), "recorded": _recorded(measured)}
        problems += judgement.problems
        problems += _by_budget(spec, cell.variant, measured.summary, validation)
        not_run += judgement.not_run
        if found:
            verdict = judged_on_gpu(found, validation)
            problems += verdict.problems
            not_run += verdict.not_run
            on_gpu = verdict.record
    else:
        not_run.append("validation: the spec has no `validate`")
    network = _network_verdict(cell, spec, traces, store)
    problems += network.problems
    not_run += network.not_run
    if network.outcome == "not proved":
        not_run.append(f"TensorRT's network: {network.why}")
    audit = _audited(precision, cell, spec, traces, store, problems)
    if problems:
        raise ValidationFailed(_with_way_out(problems, precision, cell, spec))
    reach = tuple(_links(cell, spec, str(validation["outcome"]), network, on_gpu))
    return Proof(validation, audit, tuple(not_run), on_gpu, network.record, reach)


def _network_verdict(
    cell: Cell, spec: PipelineSpec, traces: Mapping[Stage, Trace], store: LocalStore
) -> NetworkVerdict:
    """The verdict on the network that TensorRT's parser made of the typed model."""
    from trtpipe.networks.verdicts import judge_network

    asked = spec.validate_
    measured = traces["readback"].summary if "readback" in traces else None
    lacking = _why_not_run(cell, asked)
    readback = asked.readback if asked is not None else ReadbackSpec()
    called = caller_of(lambda: store.path(traces["quantize"].outputs["model.onnx"]))
    return judge_network(traces["parse"].summary, measured, readback, lacking, called)


def _why_not_run(cell: Cell, asked: ValidateSpec | None) -> str:
    """Why the network was not run, if it was not."""
    if asked is None:
        return "the spec has no `validate`, so there is no data to run it on"
    if not asked.readback.run:
        return "the spec says `run: false`"
    validate = cell.steps.get("validate")
    # of a bundle's member behind a reshape that cannot be undone; it is validated as its pipeline's own
    if validate is not None and validate.pipeline != cell.pipeline:
        return f"the data of '{validate.pipeline}' are inputs without the bundle's reshape, which cannot be undone"
    return "the spec defines no data to run it on"


def _links(
    cell: Cell, spec: PipelineSpec, outcome: str, network: NetworkVerdict, on_gpu: Mapping[str, Any]
) -> Iterator[Link]:
    """How far the validation of a cell without failures reaches."""
    yield from source_links(spec, cell.variant, outcome)
    yield Link("network", network.outcome, network.why)
    if on_gpu.get("outcome") == "passed":
        yield Link("engine", "proved")
    else:
        yield Link("engine", "not proved", "the engine did not run on a GPU")


def places_missed(cell: Cell, spec: PipelineSpec, traces: Mapping[Stage, Trace]) -> set[str]:
    """Where a cell's typed model missed a threshold; the data set, if it is over its budget."""
    from trtpipe.metrics.verdicts import failed_places

    if "validate" not in traces:
        return set()
    report = traces["validate"].summary
    missed = failed_places(_judged(precision_of(cell, traces), spec, cell.variant, report))
    over = _by_budget(spec, cell.variant, report, {"outcome": "not_run"})
    return missed | ({"data", "golden"} if over else set())


def _recorded(measured: Trace) -> dict[str, Any]:
    """The recorded samples for a machine with a GPU: their number, the number of all samples, and their digest."""
    places = measured.summary.get("places", ())
    samples = next((place["samples"] for place in places if place["kind"] == "data"), None)
    golden = measured.outputs.get(GOLDEN)
    recorded = {"samples": measured.summary.get("recorded", 0), "of": samples}
    return {**recorded, "blake3": golden.hex if golden is not None else None}


def _with_way_out(problems: list[Problem], precision: str, cell: Cell, spec: PipelineSpec) -> list[Problem]:
    """Adds to the first missed output of a low precision how to find the nodes that cause it."""
    from trtpipe.precisions import find_precision

    found = find_precision(precision)
    first = problems[0]
    if found is None or not found.is_low or first.path or first.remedy:
        return problems
    budget = spec.variants[cell.variant].budget
    remedy = _fewer_samples(budget) if budget is not None else ""
    remedy = (
        remedy
        or f"`trtpipe debug {cell.pipeline}/{cell.variant}` finds the nodes whose precision causes this"
    )
    return [replace(first, remedy=remedy), *problems[1:]]


def not_run_here(cell: Cell, targets: TargetResolver) -> str:
    """Why a build on this machine has not run a cell's engine on a GPU."""
    from trtpipe.targets.capabilities import runnable_here
    from trtpipe.targets.compute_capability import ComputeCapability

    wanted = [ComputeCapability.parse(sm) for sm in cell.facts["compute_capabilities"]]
    reason = runnable_here(wanted, [gpu.compute_capability for gpu in targets.here()])
    return reason or "a build validates only the typed model on the CPU"


def _judged(precision: str, spec: PipelineSpec, variant: str, report: Mapping[str, Any]) -> Judgement:
    """Judged by the spec's thresholds, else the precision's defaults, which a variant's budget replaces."""
    from trtpipe.metrics.verdicts import judge_report
    from trtpipe.precisions import find_precision

    found = find_precision(precision)
    assert found is not None, "the loader knows the precisions"
    asked = spec.validate_.thresholds if spec.validate_ else ()
    defaults = () if spec.variants[variant].budget is not None else found.default_thresholds
    return judge_report(report, asked, defaults)


def _by_budget(
    spec: PipelineSpec, variant: str, report: Mapping[str, Any], validation: dict[str, Any]
) -> list[Problem]:
    """Compares an auto variant with its budget, on all validation data; the result is added to `validation`."""
    budget = spec.variants[variant].budget
    if budget is None:
        return []
    from trtpipe.metrics.budgets import reached

    found = reached(report, budget)
    told = {"goal": budget.words(), "value": found.value, "inside": found.inside, "spec": budget.goal()}
    validation["budget"] = told
    if found.inside:
        validation["outcome"] = "failed" if validation["outcome"] == "failed" else "passed"
        return []
    validation["outcome"] = "failed"
    return [
        Problem(
            Code.OVER_BUDGET,
            f"over its budget: {found.why}",
            _fewer_samples(budget),
            path=("variants", variant, "budget"),
        )
    ]


def _fewer_samples(budget: BudgetSpec) -> str:
    """Why a model that met all limits in its search may miss one on the whole of the data."""
    return (
        f"the search measured only {budget.samples} samples: raise budget.samples" if budget.samples else ""
    )


def _least_low(variant: VariantSpec) -> float:
    """The required share in low precision: none for a search's result, however wide, unless the spec sets a limit."""
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
    """The share of the engine in each precision; adds a problem when it is not what the variant asks for."""
    from trtpipe.precisions import find_precision
    from trtpipe.precisions.audit import audit_engine

    precision = find_precision(asked)
    assert precision is not None, "the loader knows the precisions"
    outputs = traces["build_engine"].outputs
    network = read_object(store.path(outputs["network.json"]).read_bytes())
    typed = traces["quantize"].summary
    least = _least_low(spec.variants[cell.variant])
    audit = audit_engine(network, None, typed["audit"], precision.name, least, typed["why_not"])
    problems += audit.problems
    return audit.as_json()
