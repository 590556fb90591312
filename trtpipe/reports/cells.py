"""The record of a cell: what a table of cells shows, from its manifest and the measurements beside its engine.

A cell that this build could not deliver has a record without an engine: any engine still in its directory is from an
earlier build.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from trtpipe.plan.address import Place
from trtpipe.reports.models import CellRecord, Engine, OnGpu, State, Validation
from trtpipe.reports.part_models import Bench, Outcome, Proof, Verdict
from trtpipe.reports.reach import reach_of
from trtpipe.reports.values import (
    count_of,
    mapping_of,
    number_of,
    objects_of,
    reading_of,
    text_of,
    texts_of,
)
from trtpipe.reports.words import GPU_CHECK

_MOST_VERDICTS = 2000

Manifest = Mapping[str, object]
"""A manifest as it was read, of which anything may be missing or odd."""


def delivered_cell(
    manifest: Manifest, state: State, bench: Bench | None = None, proof: Proof | None = None
) -> CellRecord:
    """The record of a cell whose files are in place."""
    pipeline, variant, target = (text_of(manifest.get(name)) for name in ("pipeline", "variant", "target"))
    return CellRecord(
        cell=text_of(manifest.get("cell")),
        pipeline=pipeline,
        variant=variant,
        target=target,
        state=state,
        directory=f"{pipeline}/{variant}@{target}",
        engine=_engine(manifest),
        gpu=texts_of(manifest.get("gpu")),
        compute_capabilities=texts_of(manifest.get("compute_capabilities")),
        toolchain=_toolchain(manifest.get("toolchain")),
        precision=text_of(manifest.get("precision")) or None,
        layers=_counts(mapping_of(manifest.get("audit")).get("layers")),
        validation=_validation(manifest.get("validation")),
        reach=reach_of(manifest.get("reach")),
        on_gpu=gpu_proof(manifest, proof),
        seconds=_numbers(mapping_of(manifest.get("timings")).get("seconds")),
        latency_us=_median(bench),
        latency_of=bench.subject if bench else None,
        not_run=tuple(_not_run(manifest, proof)),
        problems=(),
    )


def undelivered_cell(name: str, state: State, facts: Mapping[str, object], why: Sequence[str]) -> CellRecord:
    """The record of a cell that failed or was not reached, with the reasons."""
    place = Place.parse(name)
    return CellRecord(
        cell=text_of(name),
        pipeline=text_of(place.pipeline),
        variant=text_of(place.variant),
        target=text_of(place.target),
        state=state,
        directory=text_of(f"{place.pipeline}/{place.variant}@{place.target}"),
        engine=None,
        gpu=_listed(facts.get("gpu")),
        compute_capabilities=_listed(facts.get("compute_capabilities")),
        toolchain=_toolchain(facts.get("toolchain")),
        precision=text_of(facts.get("precision")) or None,
        layers={},
        validation=_validation(None),
        reach=(),
        on_gpu=OnGpu(outcome="not run", gpu=None, why="the cell has no engine"),
        seconds={},
        latency_us=None,
        latency_of=None,
        not_run=(),
        problems=tuple(why),
    )


def worst_verdict(cell: CellRecord) -> Verdict | None:
    """The most significant verdict of a cell: the first metric's, at its worst place."""
    verdicts = [(one.value, one) for one in cell.validation.verdicts if isinstance(one.value, (int, float))]
    failed = [(value, one) for value, one in verdicts if one.outcome == "failed"]
    chosen = failed or verdicts
    same = [(value, one) for value, one in chosen if one.metric == chosen[0][1].metric]
    if not same:
        return None
    sign = 1 if same[0][1].min is not None else -1
    return min(same, key=lambda pair: sign * pair[0])[1]


def gpu_proof(manifest: Manifest, proof: Proof | None) -> OnGpu:
    """The proof of the engine on a GPU."""
    if proof is not None:
        return OnGpu(outcome=proof.outcome, gpu=proof.gpu, why="")
    return OnGpu(outcome="not run", gpu=None, why=_why_not_on_gpu(manifest))


def _why_not_on_gpu(manifest: Manifest) -> str:
    for one in texts_of(manifest.get("not_run")):
        if one.startswith(f"{GPU_CHECK}: "):
            return one.removeprefix(f"{GPU_CHECK}: ")
    sms = " or ".join(texts_of(manifest.get("compute_capabilities")))
    return f"needs {sms}" if sms else "no run is recorded"


def _not_run(manifest: Manifest, proof: Proof | None) -> Sequence[str]:
    listed = texts_of(manifest.get("not_run"))
    if proof is None:
        return listed if any(one.startswith(GPU_CHECK) for one in listed) else [*listed, _unproven(manifest)]
    return [*(one for one in listed if not one.startswith(GPU_CHECK)), *proof.not_run]


def _unproven(manifest: Manifest) -> str:
    return f"{GPU_CHECK}: {_why_not_on_gpu(manifest)}"


def _engine(manifest: Manifest) -> Engine:
    engine = mapping_of(manifest.get("engine"))
    return Engine(
        bytes=count_of(engine.get("bytes")),
        blake3=text_of(engine.get("blake3")),
        normalised=text_of(engine.get("normalised")),
    )


def _toolchain(value: object) -> str:
    found = mapping_of(value)
    return f"{text_of(found.get('flavour'))} {text_of(found.get('version'))}".strip()


def _listed(value: object) -> tuple[str, ...]:
    """The texts of a plan's fact, which may be a list or a tuple."""
    return texts_of(list(value)) if isinstance(value, Sequence) else ()


def _numbers(value: object) -> dict[str, float]:
    found = {text_of(name): number_of(one) for name, one in mapping_of(value).items()}
    return {name: one for name, one in found.items() if one is not None}


def _counts(value: object) -> dict[str, int]:
    found = {text_of(name): count_of(one) for name, one in mapping_of(value).items()}
    return {name: one for name, one in sorted(found.items()) if one is not None}


def _validation(value: object) -> Validation:
    found = mapping_of(value)
    return Validation(
        outcome=outcome_of(found.get("outcome")),
        accuracy=number_of(found.get("accuracy")),
        reference_accuracy=number_of(found.get("reference_accuracy")),
        twins={name: text_of(one) for name, one in mapping_of(found.get("twins")).items()},
        nonfinite=texts_of(found.get("nonfinite"), 50),
        verdicts=verdicts_of(found.get("verdicts")),
    )


def outcome_of(value: object) -> Outcome:
    """`passed`, `failed` or `not run`; any other text counts as not run."""
    match value:
        case "passed" | "failed":
            return value
    return "not run"


def verdicts_of(value: object) -> tuple[Verdict, ...]:
    """Verdicts in the form that `metrics.verdicts` writes."""
    return tuple(
        Verdict(
            place=text_of(one.get("place")),
            output=text_of(one.get("output")),
            metric=text_of(one.get("metric")),
            outcome=outcome_of(one.get("outcome")),
            value=reading_of(one.get("value")),
            min=number_of(one.get("min")),
            max=number_of(one.get("max")),
            why=text_of(one.get("why")),
        )
        for one in objects_of(value, _MOST_VERDICTS)
    )


def _median(bench: Bench | None) -> float | None:
    if bench is None:
        return None
    for part in ("compute", "total", "host"):
        found = next((one for one in bench.latency if one.part == part), None)
        if found is not None and found.p50_us is not None:
            return float(found.p50_us)
    return None
