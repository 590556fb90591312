"""A variant: its precision, its calibration and the limits that its typed model must keep."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from trtpipe.errors import WrongValue
from trtpipe.problem_codes import Code
from trtpipe.spec.budget import BudgetSpec
from trtpipe.spec.fields import AsTuple, Borders, NameOr, Number, SpecModel

CacheFormat = Literal["auto", "tensorrt", "onnxruntime", "json", "trtpipe"]
_DATA_FIELDS = ("data", "samples", "backend", "provider")
_CACHE_FIELDS = ("cache", "format", "min_coverage", "rename")


def _calibration(value: object) -> object:
    """A plain name means the data set with that name."""
    return {"data": value} if isinstance(value, str) else value


class CalibrationSpec(SpecModel):
    """Where a quantized variant's scales come from: a data set, or a calibration cache of another tool."""

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [
                {"required": ["data"], "properties": dict.fromkeys(_CACHE_FIELDS, False)},
                {"required": ["cache"], "properties": dict.fromkeys(_DATA_FIELDS, False)},
            ]
        }
    )

    data: str | None = None
    """A data set's name: `calibration/NAME.yaml`."""
    samples: Annotated[int | None, Field(ge=1)] = None
    """At most this many samples of the data set."""
    backend: str = "trtpipe"
    """The calibrator: trtpipe itself, or a library."""
    provider: Literal["auto", "cpu", "cuda"] = "auto"
    """Where trtpipe runs the model: by default on CUDA if onnxruntime-gpu and a driver are present, else on the CPU.
    Results differ slightly, so name one for scales that are equal on all machines."""
    cache: str | None = None
    """A calibration cache of TensorRT, a calibration table of ONNX Runtime, or JSON: a path inside the project."""
    format: CacheFormat = "auto"
    """The cache's format; default: detected from the content."""
    min_coverage: Annotated[Number, Field(ge=0, le=1)] = 0.9
    """The minimum share of the tensors to quantize for which the cache must have a scale; the rest stays
    unquantized."""
    rename: dict[str, str] = Field(default_factory=dict)
    """Names in the cache → names in the model; `*` matches any text, the same in both."""

    @model_validator(mode="after")
    def _one_source(self) -> CalibrationSpec:
        if (self.data is None) == (self.cache is None):
            raise WrongValue(
                Code.KEY_NEEDED, "give either data or cache; for example calibration: {data: NAME}"
            )
        others = _DATA_FIELDS if self.data is None else _CACHE_FIELDS
        wrong = next((name for name in others if name in self.model_fields_set), None)
        if wrong is not None:
            raise WrongValue(
                Code.NO_EFFECT,
                f"{wrong} goes with {'data' if self.data is None else 'a cache'} only; leave it out",
            )
        return self


Calibration = Annotated[
    CalibrationSpec,
    BeforeValidator(_calibration),
    NameOr(),
]


class VariantSpec(SpecModel):
    """One way to make the typed model."""

    precision: str = "fp32"
    """The numeric precision of the typed model; `auto` searches the cheapest types within a budget."""
    budget: BudgetSpec | None = None
    """For `precision: auto`: the accuracy that the model must keep."""
    try_: Annotated[tuple[str, ...], AsTuple] = Field(default=(), alias="try")
    """For `precision: auto`: the precisions to try, cheapest first; fp32 is always the fallback. Default: fp16,
    preceded by int8 if there is a calibration."""
    keep: dict[str, Annotated[tuple[str, ...], AsTuple]] = Field(default_factory=dict)
    """Precision → globs of nodes that stay in it: node names such as `/head/**`, `op:Softmax`, `tensor:GLOB` (the nodes
    that make such a tensor), or `between:A..B` (those on the paths from tensors A to tensors B). Globs for the
    variant's own precision apply to nodes that compute in float32 by default: normalizations, softmax and sums."""
    io: Borders = Field(default_factory=dict)
    """The types of the graph's float inputs and outputs: `keep` the source's types (the default), or `convert` them to
    the type that the variant computes in, which avoids casts; or a mapping from globs of names to one of these, in
    which the last match counts: `{"*": convert, logits: keep}`."""
    base: Literal["fp32", "fp16", "bf16"] | None = None
    """The type in which a quantized variant computes everything that is not quantized; default: fp16."""
    block_size: Literal[16, 32, 64, 128] | None = None
    """For precisions that quantize only weights (int4, fp4): how many elements share a scale; default: 64 or 16."""
    calibration: Calibration | None = None
    """Where a quantized variant's scales come from: a data set's name, or a mapping. A variant that computes in half
    precision may have one too: it shows which nodes overflow."""
    overflow: Literal["keep", "refuse"] | None = None
    """What to do with nodes whose tensors leave half precision's range on the calibration set: keep them in float32
    (the default), or fail and print the `keep` that they need. In a quantized variant all float tensors are checked
    only if this is given; by default, those that have a scale."""
    method: Literal["max", "percentile", "entropy", "mse"] = "entropy"
    """How a tensor's values become its scale."""
    percentile: Annotated[Number, Field(gt=50, le=100)] = 99.99
    """For `method: percentile`: the share of values that is not clipped, in percent."""
    min_low_precision: Annotated[Number, Field(ge=0, le=1)] = 0.1
    """The minimum share of weight bytes and of typed layers that must be in the requested low precision."""

    def candidates(self) -> tuple[str, ...]:
        """The precisions that a search tries, cheapest first."""
        return self.try_ or (("int8", "fp16") if self.calibration is not None else ("fp16",))
