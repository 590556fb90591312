"""The accuracy budget of a variant, and how long a search may look for the cheapest types within it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import ConfigDict, Field, model_validator

from trtpipe.errors import WrongValue
from trtpipe.figures import exact_figure
from trtpipe.problem_codes import Code
from trtpipe.spec.fields import Number, SpecModel

if TYPE_CHECKING:
    from trtpipe.json_values import Json

MetricName = Literal[
    "max_abs", "max_rel", "mean_abs", "rmse", "cosine", "psnr", "snr",
    "top1_agreement", "top5_agreement", "accuracy",
]  # fmt: skip

AUTO = "auto"
"""The precision of a variant whose types are searched for."""

FEWEST_EVALUATIONS = 4
"""The lowest possible limit: the cheapest model, one in each of two wider types, and one step between them."""


class BudgetSpec(SpecModel):
    """How much of the reference's accuracy a searched variant must keep, and the limits of the search."""

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [
                {"required": ["metric"], "anyOf": [{"required": ["min"]}, {"required": ["max"]}]},
                {"required": ["accuracy_drop"]},
            ],
            "dependentRequired": {"min": ["metric"], "max": ["metric"], "output": ["metric"]},
        }
    )

    metric: MetricName | None = None
    """The metric for comparing outputs with the reference on the validation data; needs `min` or `max`."""
    output: str = "*"
    """A glob of output names; the worst output decides."""
    min: Number | None = None
    """The metric must be at least this."""
    max: Number | None = None
    """The metric must be at most this."""
    accuracy_drop: Annotated[Number, Field(ge=0, lt=1)] | None = None
    """Instead of a metric: the allowed loss of accuracy against the reference, as a share of the labelled samples."""
    samples: Annotated[int | None, Field(ge=1)] = None
    """At most this many samples of the validation data are used by the search; validation itself uses all."""
    max_evaluations: Annotated[int, Field(ge=FEWEST_EVALUATIONS)] = 1000
    """The maximum number of typed models that the search may evaluate, including ones with known results."""
    max_seconds: Annotated[Number, Field(gt=0)] | None = None
    """Seconds after which the search ends with its best result; that result depends on the machine."""

    @model_validator(mode="after")
    def _one_goal(self) -> BudgetSpec:
        if (self.metric is None) == (self.accuracy_drop is None):
            raise WrongValue(
                Code.KEY_NEEDED,
                "a budget needs either a metric or an accuracy_drop; for example {metric: cosine, min: 0.999}",
            )
        bounds = self.min is not None or self.max is not None
        if self.metric is not None and not bounds:
            raise WrongValue(
                Code.KEY_NEEDED,
                "a budget's metric needs min or max; for example {metric: cosine, min: 0.999}",
            )
        if self.min is not None and self.max is not None and self.min > self.max:
            raise WrongValue(
                Code.OUT_OF_RANGE,
                f"nothing is at least {exact_figure(self.min)} and at most {exact_figure(self.max)}; "
                "leave out min or max",
            )
        if self.metric is None and (bounds or self.output != "*"):
            raise WrongValue(
                Code.KEYS_EXCLUDE, "min, max and output do not apply to accuracy_drop; leave them out"
            )
        return self

    def goal(self) -> dict[str, Json]:
        """The required accuracy, without the options of the search."""
        given = self.model_dump(exclude={"samples", "max_evaluations", "max_seconds"})
        return {name: value for name, value in given.items() if value is not None}

    @property
    def needs_labels(self) -> bool:
        """Whether it needs labels, because it is about correct answers."""
        return self.accuracy_drop is not None or self.metric == "accuracy"

    def words(self) -> str:
        """The required accuracy as text."""
        if self.accuracy_drop is not None:
            return f"accuracy at most {self.accuracy_drop:g} below the reference's"
        bounds = [f"at least {exact_figure(self.min)}"] if self.min is not None else []
        bounds += [f"at most {exact_figure(self.max)}"] if self.max is not None else []
        where = "" if self.output == "*" else f" of {self.output}"
        return f"{self.metric}{where} {' and '.join(bounds)}"
