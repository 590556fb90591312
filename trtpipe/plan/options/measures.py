"""The options of the stages that measure typed models: validate, evaluate and search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from trtpipe.json_values import (
    Json,
    JsonObject,
    integer_in,
    number_in,
    object_in,
    objects_in,
    text_in,
    texts_in,
)
from trtpipe.plan.options.data import DataOptions, data_in
from trtpipe.plan.options.model import TransformOptions
from trtpipe.plan.options.precision import QuantizeOptions
from trtpipe.plan.options.stage_options import UNPLACED, StageOptions, if_given


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidateOptions(DataOptions):
    """The data and the reference of a validation. Thresholds are not included: they are applied later."""

    reference: str
    """`onnxruntime`, `float64` or `golden`."""
    transform: TransformOptions
    """What the source goes through before it is the reference; nothing where the reference has gone through it."""

    def record(self) -> dict[str, Json]:
        """The options as recorded in a fingerprint."""
        return {
            **self.data_record(),
            "reference": self.reference,
            "transform": self.transform.record(),
        }

    @classmethod
    def from_record(cls, record: JsonObject) -> ValidateOptions:
        """The options read back. Raises Malformed."""
        return cls(
            **data_in(record),
            reference=text_in(record, "reference"),
            transform=TransformOptions.from_record(object_in(record, "transform")),
            origins=UNPLACED,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateOptions(StageOptions):
    """A typed model that is built and measured in one go; `quantize` holds what a search varies."""

    quantize: QuantizeOptions
    validate: ValidateOptions

    def record(self) -> dict[str, Json]:
        """The options as recorded in a fingerprint."""
        return {"quantize": self.quantize.record(), "validate": self.validate.record()}

    @classmethod
    def from_record(cls, record: JsonObject) -> EvaluateOptions:
        """The options read back, also from those of a search. Raises Malformed."""
        return cls(
            quantize=QuantizeOptions.from_record(object_in(record, "quantize")),
            validate=ValidateOptions.from_record(object_in(record, "validate")),
            origins=UNPLACED,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitsOptions(StageOptions):
    """The evaluator's other task: listing the units of a model that can be lowered independently."""

    units: QuantizeOptions
    profiles: Sequence[JsonObject]

    def record(self) -> dict[str, Json]:
        """The options as recorded in a fingerprint."""
        return {"units": self.units.record(), "profiles": list(self.profiles)}

    @classmethod
    def from_record(cls, record: JsonObject) -> UnitsOptions:
        """The options read back. Raises Malformed."""
        units = QuantizeOptions.from_record(object_in(record, "units"))
        return cls(units=units, profiles=objects_in(record, "profiles"), origins=UNPLACED)


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchOptions(StageOptions):
    """The goal, the candidates and the limits of a search; `quantize` and `validate` are those of its evaluations."""

    budget: Mapping[str, Json]
    """The goal, as `BudgetSpec.goal` has it."""
    max_evaluations: int
    max_seconds: float | None
    try_: Sequence[str]
    """The precisions to try, cheapest first."""
    compute_capabilities: Sequence[str]
    quantize: QuantizeOptions
    validate: ValidateOptions
    thresholds: Sequence[JsonObject] = ()
    """What else must be kept, at corners too where `validate` has them: the thresholds of the spec, in its order."""

    def record(self) -> dict[str, Json]:
        """The options as recorded in a fingerprint."""
        return {
            **({"thresholds": [dict(one) for one in self.thresholds]} if self.thresholds else {}),
            "budget": dict(self.budget),
            "max_evaluations": self.max_evaluations,
            "max_seconds": self.max_seconds,
            "try": list(self.try_),
            "compute_capabilities": list(self.compute_capabilities),
            "quantize": self.quantize.record(),
            "validate": self.validate.record(),
        }

    @classmethod
    def from_record(cls, record: JsonObject) -> SearchOptions:
        """The options read back. Raises Malformed."""
        return cls(
            budget=object_in(record, "budget"),
            max_evaluations=integer_in(record, "max_evaluations"),
            max_seconds=if_given(number_in, record, "max_seconds"),
            try_=texts_in(record, "try"),
            compute_capabilities=texts_in(record, "compute_capabilities"),
            thresholds=if_given(objects_in, record, "thresholds") or (),
            quantize=QuantizeOptions.from_record(object_in(record, "quantize")),
            validate=ValidateOptions.from_record(object_in(record, "validate")),
            origins=UNPLACED,
        )
