"""The search step of a variant, and what an evaluation's key is made of. Data to data.

An evaluation is an action like any other: what the quantize and validate steps would do with a choice, at once and with
nothing kept of it but the measurements. Its key holds both stages' options, and no budget: whoever asks the same of a
model, a search, `sensitivity` or `debug`, finds it in the store.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from trtpipe.errors import SpecPath
from trtpipe.plan.address import STAGE_VERSIONS, Address
from trtpipe.plan.fingerprint import Fingerprint, Record
from trtpipe.plan.graph import Input, Step
from trtpipe.plan.requirements import PlaceRequirements
from trtpipe.searching.choices import WIDEST, Choice
from trtpipe.spec.budget import AUTO, BudgetSpec

if TYPE_CHECKING:
    from trtpipe.json_values import Json

CHOICE_FILE = "precision.json"
"""What a search yields for the quantize step: the plain choice, and nothing that another search would change."""

SEARCH_FILE = "search.json"
"""What a search yields for people: ranking, front, counts."""

EVALUATION_FILE = "evaluation.json"
UNITS_FILE = "units.json"


def search_step(
    address: Address,
    budget: BudgetSpec,
    candidates: Sequence[str],
    *,
    subject: Record,
    capabilities: Sequence[str],
    tools: Record,
    inputs: Mapping[str, tuple[Input, ...]],
    budget_path: SpecPath,
) -> Step:
    """The step that finds an auto variant's choice.

    `subject` is what `subject_options` gives. A limit in seconds is part of the key, though what it leads to depends
    on the machine: raising it must search on.
    """
    options = {
        "budget": budget.goal(),
        "max_evaluations": budget.max_evaluations,
        "max_seconds": budget.max_seconds,
        "try": list(candidates),
        "compute_capabilities": list(capabilities),
        **subject,
    }
    return Step(address, options, tools, inputs, PlaceRequirements(budget_path))


def subject_options(quantize: Record, measure: Record, samples: int | None = None) -> Record:
    """What is evaluated: `quantize` and `measure` are the options of a variant's quantize and validate steps.

    On the data, not at the corners.
    """
    measured = {**measure, "corners": False}
    if samples is not None:
        measured["samples"] = min(samples, measure["samples"] or samples)
    return {"quantize": dict(quantize), "validate": measured}


def candidates_with(candidates: Sequence[str]) -> list[str]:
    """The candidates, and the widest precision, that a search falls back to."""
    return list(dict.fromkeys((*candidates, WIDEST)))


def quantize_options(template: Record, choice: Choice) -> dict[str, Json]:
    """The options of the quantize step that a choice comes to; `template` are those of the variant."""
    versions = template["precision_version"]
    version = versions[choice.precision] if isinstance(versions, Mapping) else versions
    made = {**template, **choice.to_json(), "precision_version": version}
    return {name: value for name, value in made.items() if value is not None}


def evaluation(search: Fingerprint, options: Record) -> Fingerprint:
    """What an evaluation depends on: `options`, and the tools and inputs of the search."""
    return Fingerprint("evaluate", STAGE_VERSIONS["evaluate"], options, search.tools, search.inputs)


def is_auto(template: Record) -> bool:
    """Whether the variant's precision is searched for."""
    return bool(template["precision"] == AUTO)
