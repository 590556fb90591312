"""A cell as one record: what a table of cells shows, from its manifest and what was measured beside its engine.

A cell that this build could not bring into place has a record without an engine: what may still stand in its directory
is an earlier one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trtpipe.reporting.values import (
    count_of,
    items_of,
    mapping_of,
    number_of,
    objects_of,
    reading_of,
    text_of,
    texts_of,
)
from trtpipe.reporting.words import GPU_CHECK

STATES = ("built", "restored", "up to date", "failed", "not built", "delivered")
OUTCOMES = ("passed", "failed", "not run")
_MOST_VERDICTS = 2000


def delivered_cell(
    manifest: Mapping[str, Any],
    state: str,
    bench: Mapping[str, Any] | None = None,
    proof: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The record of a cell whose files are in place; `bench` and `proof` as `details` reads them."""
    timings = mapping_of(manifest.get("timings"))
    seconds = _numbers(timings.get("seconds"))
    audit = mapping_of(manifest.get("audit"))
    gpu = gpu_proof(manifest, proof)
    return {
        **_names(manifest, state),
        "engine": _engine(manifest),
        "gpu": texts_of(manifest.get("gpu")),
        "compute_capabilities": texts_of(manifest.get("compute_capabilities")),
        "toolchain": _toolchain(manifest),
        "precision": text_of(manifest.get("precision")) or None,
        "layers": _counts(audit.get("layers")),
        "validation": _validation(manifest),
        "on_gpu": gpu,
        "seconds": seconds,
        "latency_us": _median(bench),
        "latency_of": bench["subject"] if bench else None,
        "not_run": _not_run(manifest, proof),
        "problems": [],
        "changes": [],
        "new": False,
    }


def undelivered_cell(name: str, state: str, facts: Mapping[str, Any], why: list[str]) -> dict[str, Any]:
    """The record of a cell that failed or was not reached, with the sentences that say why."""
    pipeline, _, rest = name.partition("/")
    variant, _, target = rest.partition("@")
    named = {"cell": name, "pipeline": pipeline, "variant": variant, "target": target}
    shown = {"toolchain": facts.get("toolchain"), "gpu": list(facts.get("gpu", ()))}
    return {
        **_names(named, state),
        "engine": None,
        "gpu": texts_of(shown["gpu"]),
        "compute_capabilities": texts_of(list(facts.get("compute_capabilities", ()))),
        "toolchain": _toolchain(shown),
        "precision": text_of(facts.get("precision")) or None,
        "layers": {},
        "validation": _validation({}),
        "on_gpu": {"outcome": "not run", "gpu": None, "why": "the cell has no engine"},
        "seconds": {},
        "latency_us": None,
        "latency_of": None,
        "not_run": [],
        "problems": why,
        "changes": [],
        "new": False,
    }


def worst_verdict(cell: Mapping[str, Any]) -> dict[str, Any] | None:
    """The verdict that says most about a cell: the first metric's, at the place where it is worst."""
    verdicts = [one for one in cell["validation"]["verdicts"] if isinstance(one["value"], (int, float))]
    failed = [one for one in verdicts if one["outcome"] == "failed"]
    chosen = failed or verdicts
    same = [one for one in chosen if one["metric"] == chosen[0]["metric"]]
    if not same:
        return None
    grows = same[0]["min"] is not None
    worst: dict[str, Any] = min(same, key=lambda one: one["value"] if grows else -one["value"])
    return worst


def gpu_proof(manifest: Mapping[str, Any], proof: Mapping[str, Any] | None) -> dict[str, Any]:
    """What is known of the engine itself on a GPU: `outcome`, the `gpu`, and `why` it was not run."""
    if proof is not None:
        return {"outcome": proof["outcome"], "gpu": proof["gpu"], "why": ""}
    return {"outcome": "not run", "gpu": None, "why": _why_not_on_gpu(manifest)}


def _why_not_on_gpu(manifest: Mapping[str, Any]) -> str:
    for one in texts_of(manifest.get("not_run")):
        if one.startswith(f"{GPU_CHECK}: "):
            return one.removeprefix(f"{GPU_CHECK}: ")
    sms = " or ".join(texts_of(manifest.get("compute_capabilities")))
    return f"needs {sms}" if sms else "no run is recorded"


def _not_run(manifest: Mapping[str, Any], proof: Mapping[str, Any] | None) -> list[str]:
    listed = texts_of(manifest.get("not_run"))
    if proof is None:
        return listed if any(one.startswith(GPU_CHECK) for one in listed) else [*listed, _unproven(manifest)]
    return [*(one for one in listed if not one.startswith(GPU_CHECK)), *proof["not_run"]]


def _unproven(manifest: Mapping[str, Any]) -> str:
    return f"{GPU_CHECK}: {_why_not_on_gpu(manifest)}"


def _names(manifest: Mapping[str, Any], state: str) -> dict[str, Any]:
    pipeline, variant, target = (text_of(manifest.get(name)) for name in ("pipeline", "variant", "target"))
    return {
        "cell": text_of(manifest.get("cell")),
        "pipeline": pipeline,
        "variant": variant,
        "target": target,
        "state": state,
        "directory": f"{pipeline}/{variant}@{target}",
    }


def _engine(manifest: Mapping[str, Any]) -> dict[str, Any]:
    engine = mapping_of(manifest.get("engine"))
    return {
        "bytes": count_of(engine.get("bytes")),
        "blake3": text_of(engine.get("blake3")),
        "normalised": text_of(engine.get("normalised")),
    }


def _toolchain(manifest: Mapping[str, Any]) -> str:
    found = mapping_of(manifest.get("toolchain"))
    return f"{text_of(found.get('flavour'))} {text_of(found.get('version'))}".strip()


def _numbers(value: Any) -> dict[str, float]:
    found = {text_of(name): number_of(one) for name, one in mapping_of(value).items()}
    return {name: one for name, one in found.items() if one is not None}


def _counts(value: Any) -> dict[str, int]:
    found = {text_of(name): count_of(one) for name, one in mapping_of(value).items()}
    return {name: one for name, one in sorted(found.items()) if one is not None}


def _validation(manifest: Mapping[str, Any]) -> dict[str, Any]:
    found = mapping_of(manifest.get("validation"))
    return {
        "outcome": outcome_of(found.get("outcome")),
        "accuracy": number_of(found.get("accuracy")),
        "reference_accuracy": number_of(found.get("reference_accuracy")),
        "twins": {name: text_of(one) for name, one in mapping_of(found.get("twins")).items()},
        "nonfinite": texts_of(found.get("nonfinite"), 50),
        "verdicts": verdicts_of(found.get("verdicts")),
    }


def outcome_of(value: Any) -> str:
    """`passed`, `failed` or `not run`; whatever else is written there proves nothing."""
    words = text_of(value).replace("_", " ")
    return words if words in OUTCOMES else "not run"


def verdicts_of(value: Any) -> list[dict[str, Any]]:
    """Verdicts as `comparing.judging` writes them."""
    return [
        {
            "place": text_of(one.get("place")),
            "output": text_of(one.get("output")),
            "metric": text_of(one.get("metric")),
            "outcome": outcome_of(one.get("outcome")),
            "value": reading_of(one.get("value")),
            "min": number_of(one.get("min")),
            "max": number_of(one.get("max")),
            "why": text_of(one.get("why")),
        }
        for one in objects_of(value, _MOST_VERDICTS)
    ]


def _median(bench: Mapping[str, Any] | None) -> float | None:
    if bench is None:
        return None
    for part in ("compute", "total", "host"):
        found = next((one for one in items_of(bench["latency"]) if one["part"] == part), None)
        if found is not None and found["p50_us"] is not None:
            return float(found["p50_us"])
    return None
