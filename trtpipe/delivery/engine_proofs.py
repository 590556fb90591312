"""An engine's proof from a GPU: `proof.json` beside it, written by `trtpipe validate`, read by every build.

A proof holds measurements; the reader applies the current thresholds. It is valid only for the engine with the BLAKE3
in it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trtpipe.errors import Problem
from trtpipe.files import is_special, write_whole
from trtpipe.json_values import (
    Json,
    JsonObject,
    Malformed,
    integer_in,
    object_in,
    objects_in,
    read_object,
    text_in,
)
from trtpipe.problem_codes import Code

if TYPE_CHECKING:
    from trtpipe.metrics.reports import Report
    from trtpipe.spec.budget import BudgetSpec
    from trtpipe.spec.pipeline import Threshold

PROOF = "proof.json"
SCHEMA = 1
_LARGEST = 64 << 20


@dataclass(frozen=True, slots=True)
class EngineVerdict:
    """The verdict on the measurements of a proof."""

    record: Mapping[str, Any]
    """For the manifest: `gpu`, `tensorrt`, `machine`, `outcome`, `accuracy`, `reference_accuracy`, `verdicts`."""
    problems: tuple[Problem, ...]
    not_run: tuple[str, ...]
    missed: frozenset[str] = frozenset()
    """Places where a threshold was missed."""

    @property
    def outcome(self) -> str:
        """`passed`, `failed` or `not_run`."""
        return str(self.record["outcome"])


def read_proof(folder: Path, engine: str) -> tuple[JsonObject | None, str]:
    """The proof in an engine's directory, if it is of this engine (BLAKE3 in hex); else why not, if there is a file."""
    path = folder / PROOF
    try:
        if not path.exists():
            return None, ""
        if is_special(path) or path.stat().st_size > _LARGEST:
            raise Malformed("it is not a file, or too large")
        record = read_object(path.read_bytes())
        judged_on_gpu(record, {})  # a missing field raises here as well
        of = text_in(record, "engine")
    except (OSError, Malformed):
        return None, f"{path} is damaged and ignored: validate the engine again"
    if record.get("schema") != SCHEMA or of != engine:
        return None, f"{path} belongs to another engine and is ignored: validate the engine again"
    return record, ""


def write_proof(folder: Path, record: Mapping[str, Any]) -> Path:
    """Write a proof beside its engine. Raises OSError."""
    text = json.dumps(record, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False)
    write_whole(folder / PROOF, (text + "\n").encode())
    return folder / PROOF


@dataclass(frozen=True, slots=True)
class Asked:
    """The limits for an engine from a manifest's `validation`."""

    thresholds: tuple[Threshold, ...]
    samples: int | None
    """How many samples the thresholds are about."""
    budget: BudgetSpec | None

    @classmethod
    def from_json(cls, validation: JsonObject) -> Asked:
        """Raises Malformed, or pydantic's ValueError."""
        from trtpipe.spec.budget import BudgetSpec
        from trtpipe.spec.pipeline import Threshold

        thresholds = objects_in(validation, "thresholds") if "thresholds" in validation else []
        recorded = object_in(validation, "recorded") if "recorded" in validation else {}
        budget = object_in(validation, "budget").get("spec") if "budget" in validation else None
        return cls(
            tuple(Threshold.model_validate(one) for one in thresholds),
            None if recorded.get("of") is None else integer_in(recorded, "of"),
            None if budget is None else BudgetSpec.model_validate(budget),
        )


def judged_on_gpu(record: JsonObject, validation: JsonObject) -> EngineVerdict:
    """Judges what was measured with an engine, or with its typed model in its place.

    By the thresholds and the budget that a manifest's `validation` holds. Raises ValueError (Malformed is one) when
    either is not of that form.
    """
    from trtpipe.metrics.reports import read_report
    from trtpipe.metrics.verdicts import failed_places, judge_engine

    report, asked = read_report(record), Asked.from_json(validation)
    judgement = judge_engine(record, asked.thresholds, samples=asked.samples)
    over, not_run = _over_budget(record, report, asked)
    where = f"on {report.gpu.name} ({report.gpu.compute_capability}): " if report.gpu else ""
    problems = tuple(
        Problem(one.code, f"{where}{one.fact}", one.remedy) for one in (*judgement.problems, *over)
    )
    told = {
        "gpu": report.gpu.record if report.gpu else None,
        "tensorrt": report.tensorrt,
        "machine": _texts(record, "machine"),
        "outcome": "failed" if over else judgement.outcome,
        "accuracy": judgement.accuracy,
        "reference_accuracy": judgement.reference_accuracy,
        "verdicts": list(judgement.verdicts),
        "problems": [one.fact for one in problems],
    }
    missed = failed_places(judgement) | ({"data"} if over else set())
    return EngineVerdict(told, problems, (*judgement.not_run, *not_run), frozenset(missed))


def _texts(record: JsonObject, name: str) -> dict[str, Json]:
    """An object of texts that older records lack. Raises Malformed."""
    found = object_in(record, name) if record.get(name) is not None else {}
    return {key: text_in(found, key) for key in found}


def _over_budget(record: JsonObject, report: Report, asked: Asked) -> tuple[list[Problem], list[str]]:
    """The limits of a budget that are missed, and those that were not measured."""
    budget = asked.budget
    if budget is None or not any(place.kind == "data" for place in report.places):
        return [], []
    from trtpipe.metrics.budgets import reached

    if budget.needs_labels and asked.samples is not None and report.recorded < asked.samples:
        recorded = f"{report.recorded} of {asked.samples} samples were recorded"
        return [], [f"its budget, {budget.words()}: {recorded}"]
    found = reached(record, budget)
    return ([] if found.inside else [Problem(Code.OVER_BUDGET, f"over its budget: {found.why}")]), []
