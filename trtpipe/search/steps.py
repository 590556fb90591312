"""The search step of a variant, and the contents of an evaluation's key. Pure functions, no I/O.

An evaluation is an ordinary action: it does in one go what the quantize and validate steps would do with a choice, and
keeps only the measurements. Its key holds both stages' options but no budget, so that a search, `sensitivity` and
`debug` all find the same evaluation in the store.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from trtpipe.plan.address import STAGE_VERSIONS, Address
from trtpipe.plan.fingerprint import Fingerprint, Record
from trtpipe.plan.graph import Input, Step
from trtpipe.plan.options import (
    UNPLACED,
    EvaluateOptions,
    QuantizeOptions,
    SearchOptions,
    UnitsOptions,
    ValidateOptions,
)
from trtpipe.plan.origins import InSpec, Nowhere
from trtpipe.plan.requirements import PlaceRequirements
from trtpipe.search.choices import WIDEST, Choice
from trtpipe.spec.budget import AUTO

if TYPE_CHECKING:
    from trtpipe.spec.limits import Limits

CHOICE_FILE = "precision.json"
"""What a search yields for the quantize step: the plain choice, and nothing that another search would change."""

SEARCH_FILE = "search.json"
"""What a search yields for people: ranking, front, counts."""

EVALUATION_FILE = "evaluation.json"
UNITS_FILE = "units.json"


_NO_CORNERS = Nowhere("units are ranked on the data, not at the corners of profiles")


@dataclass(frozen=True, slots=True)
class Scope:
    """What a search may choose from, and what the choice must keep to."""

    limits: Limits
    candidates: Sequence[str]
    """Precisions."""
    capabilities: Sequence[str]
    """The compute capabilities of the targets."""


def search_step(
    address: Address,
    scope: Scope,
    *,
    subject: EvaluateOptions,
    tools: Record,
    inputs: Mapping[str, tuple[Input, ...]],
    place: InSpec,
) -> Step:
    """The step that finds an auto variant's choice; `place` is where the spec holds the variant.

    `subject` is what `subject_options` gives. Thresholds are part of the key, because they decide what may be chosen.
    Measurements are in the store whatever the limits, so a search for another threshold measures little or nothing.
    A limit in seconds is part of the key although its effect depends on the machine: raising it must continue.
    """
    budget = scope.limits.budget
    asked = place.at("budget")
    options = SearchOptions(
        budget=budget.goal(),
        max_evaluations=budget.max_evaluations,
        max_seconds=budget.max_seconds,
        try_=scope.candidates,
        compute_capabilities=scope.capabilities,
        quantize=subject.quantize,
        validate=subject.validate,
        thresholds=[one.model_dump(exclude_none=True) for one in scope.limits.thresholds],
        origins={
            **asked.each("max_evaluations", "max_seconds"),
            "budget": asked,
            "try_": place.at("try"),
            "compute_capabilities": InSpec(("targets",)),
            "quantize": place,
            "validate": InSpec(("validate",)),
            "thresholds": InSpec(("validate", "thresholds")),
        },
    )
    return Step(address, options, tools, inputs, PlaceRequirements(asked.path))


def subject_options(
    quantize: QuantizeOptions,
    measure: ValidateOptions,
    samples: int | None,
    fewer: InSpec | Nowhere,
    *,
    corners: bool = False,
) -> EvaluateOptions:
    """The subject of evaluations, from a variant's quantize and validate options: on the data and, with `corners`, also
    at profile corners if the spec requests them.

    At most `samples` of the data are used; `fewer` is the origin of that limit.
    """
    origins = measure.origins if corners else {**measure.origins, "corners": _NO_CORNERS}
    if samples is not None and (measure.samples or samples) >= samples:
        measure, origins = replace(measure, samples=samples), {**origins, "samples": fewer}
    validate = replace(measure, corners=corners and measure.corners, origins=origins)
    return EvaluateOptions(quantize=quantize, validate=validate, origins=UNPLACED)


def candidates_with(candidates: Sequence[str]) -> list[str]:
    """The candidates, and the widest precision, that a search falls back to."""
    return list(dict.fromkeys((*candidates, WIDEST)))


def precisions_of(template: QuantizeOptions) -> tuple[str, ...]:
    """The precisions that a variant's choice may contain."""
    versions = template.precision_version
    return tuple(versions) if isinstance(versions, Mapping) else (template.precision,)


def quantize_options(template: QuantizeOptions, choice: Choice) -> QuantizeOptions:
    """The quantize step's options for a choice, based on those of the variant, `template`."""
    return replace(
        template,
        precision=choice.precision,
        precision_version=template.version_of(choice.precision),
        keep={name: globs for name, globs in sorted(choice.keep.items()) if globs},
        base=choice.base,
    )


def evaluation(search: Fingerprint, options: EvaluateOptions | UnitsOptions) -> Fingerprint:
    """The inputs of an evaluation: `options`, and the tools and inputs of the search."""
    record = options.record()
    return Fingerprint("evaluate", STAGE_VERSIONS["evaluate"], record, search.tools, search.inputs)


def is_auto(template: QuantizeOptions) -> bool:
    """Whether the variant's precision is searched for."""
    return template.precision == AUTO
