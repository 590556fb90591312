"""What an engine proved on a GPU: `proof.json` beside it, written by `trtpipe validate`, read by every build.

A proof holds measurements; thresholds are those of whoever reads it. It counts for the engine whose BLAKE3 it carries
and for no other.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trtpipe.errors import Problem
from trtpipe.files import write_whole

PROOF = "proof.json"
SCHEMA = 1
_LARGEST = 64 << 20


@dataclass(frozen=True, slots=True)
class EngineVerdict:
    """What the measurements of a proof come to."""

    record: Mapping[str, Any]
    """For the manifest: `gpu`, `tensorrt`, `outcome`, `accuracy`, `reference_accuracy`, `verdicts`."""
    problems: tuple[Problem, ...]
    not_run: tuple[str, ...]
    missed: frozenset[str] = frozenset()
    """Places where a threshold was missed."""

    @property
    def outcome(self) -> str:
        """`passed`, `failed` or `not_run`."""
        return str(self.record["outcome"])


def read_proof(folder: Path, engine: str) -> tuple[dict[str, Any] | None, str]:
    """The proof in an engine's directory, if it is of this engine (BLAKE3 in hex); else why not, if there is one."""
    path = folder / PROOF
    try:
        if not path.exists():
            return None, ""
        if path.stat().st_size > _LARGEST:
            raise ValueError("it is too large")
        record = json.loads(path.read_bytes())
        judged_on_gpu(record, {})  # whatever it lacks shows
        of = record["engine"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None, f"{path} is damaged and is left out: validate the engine again"
    if record.get("schema") != SCHEMA or of != engine:
        return None, f"{path} is of another engine and is left out: validate the engine again"
    return record, ""


def write_proof(folder: Path, record: Mapping[str, Any]) -> Path:
    """Leave a proof beside its engine. Raises OSError."""
    text = json.dumps(record, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False)
    write_whole(folder / PROOF, (text + "\n").encode())
    return folder / PROOF


def judged_on_gpu(report: Mapping[str, Any], validation: Mapping[str, Any]) -> EngineVerdict:
    """Judges what was measured with an engine, or with its typed model in its place.

    By the thresholds and the budget that a manifest's `validation` holds. Raises KeyError, TypeError or ValueError when
    either is not of that form.
    """
    from trtpipe.comparing.judging import failed_places, judge_engine
    from trtpipe.spec.pipeline import Threshold

    thresholds = [Threshold.model_validate(one) for one in validation.get("thresholds", ())]
    samples = validation.get("recorded", {}).get("of")
    judgement = judge_engine(report, thresholds, samples=samples)
    over, not_run = _over_budget(report, validation, samples)
    gpu = report.get("gpu")
    where = f"on {gpu['name']} ({gpu['compute_capability']}): " if gpu else ""
    problems = tuple(Problem(f"{where}{one.fact}", one.remedy) for one in (*judgement.problems, *over))
    record = {
        "gpu": gpu,
        "tensorrt": report.get("tensorrt"),
        "outcome": "failed" if over else judgement.outcome,
        "accuracy": judgement.accuracy,
        "reference_accuracy": judgement.reference_accuracy,
        "verdicts": list(judgement.verdicts),
        "problems": [one.fact for one in problems],
    }
    missed = failed_places(judgement) | ({"data"} if over else set())
    return EngineVerdict(record, problems, (*judgement.not_run, *not_run), frozenset(missed))


def _over_budget(
    report: Mapping[str, Any], validation: Mapping[str, Any], samples: int | None
) -> tuple[list[Problem], list[str]]:
    """What of a budget is missed, and what of it was not looked at."""
    spec = validation.get("budget", {}).get("spec")
    if spec is None or not any(place["kind"] == "data" for place in report["places"]):
        return [], []
    from trtpipe.comparing.budgets import reached
    from trtpipe.spec.budget import BudgetSpec

    budget = BudgetSpec.model_validate(spec)
    recorded = report.get("recorded", 0)
    if budget.needs_labels and samples is not None and recorded < samples:
        return [], [f"its budget, {budget.words()}: {recorded} of {samples} samples were recorded"]
    found = reached(report, budget)
    return ([] if found.inside else [Problem(f"over its budget: {found.why}")]), []
