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
    """Who calibrates: trtpipe itself, or a library."""
    provider: Literal["auto", "cpu", "cuda"] = "auto"
    """Where trtpipe runs the model: on CUDA when onnxruntime-gpu and a driver are here, else on the CPU. Results
    differ: for scales that are the same on every machine, name one."""
    cache: str | None = None
    """A calibration cache of TensorRT, a calibration table of ONNX Runtime, or JSON: a path inside the project."""
    format: CacheFormat = "auto"
    """The cache's format; told by its content when left out."""
    min_coverage: Annotated[Number, Field(ge=0, le=1)] = 0.9
    """The least share of the tensors to quantize that the cache must have a scale for; the rest stays unquantized."""
    rename: dict[str, str] = Field(default_factory=dict)
    """Names in the cache → names in the model; `*` stands for any text, the same in both."""

    @model_validator(mode="after")
    def _one_source(self) -> CalibrationSpec:
        if (self.data is None) == (self.cache is None):
            raise WrongValue(
                Code.KEY_NEEDED, "give data or cache, one of the two; for example calibration: {data: NAME}"
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
    """The numeric precision of the typed model; `auto` looks for the cheapest types within a budget."""
    budget: BudgetSpec | None = None
    """For `precision: auto`: what the model must keep of its accuracy."""
    try_: Annotated[tuple[str, ...], AsTuple] = Field(default=(), alias="try")
    """For `precision: auto`: the precisions to try, cheapest first; fp32 is always there to fall back to. Left out:
    fp16, and int8 before it where there is a calibration."""
    keep: dict[str, Annotated[tuple[str, ...], AsTuple]] = Field(default_factory=dict)
    """Precision → globs of nodes that stay in it: node names such as `/head/**`, `op:Softmax`, `tensor:GLOB` (the nodes
    that make such a tensor), or `between:A..B` (those on the paths from tensors A to tensors B). The variant's own
    precision holds nodes in it that would compute in float32 by default: normalizations, softmax and sums."""
    io: Borders = Field(default_factory=dict)
    """The types of the graph's float inputs and outputs: `keep` those of the source (also when left out), or `convert`
    them to the type that the variant computes in, so that no cast stands there; or globs of names with one or the
    other, of which the last that matches counts: `{"*": convert, logits: keep}`."""
    base: Literal["fp32", "fp16", "bf16"] | None = None
    """What a quantized variant computes in where nothing is quantized; fp16 when left out."""
    block_size: Literal[16, 32, 64, 128] | None = None
    """For weights that are quantized alone (int4, fp4): how many elements share a scale; 64 or 16 when left out."""
    calibration: Calibration | None = None
    """Where a quantized variant's scales come from: a data set's name, or a mapping. A variant that computes in half
    precision may have one too: it shows which nodes overflow."""
    overflow: Literal["keep", "refuse"] | None = None
    """What becomes of nodes whose tensors leave half precision's range on the calibration set: they are kept in float32
    (also when left out), or refused with the `keep` that would hold them. Of a quantized variant every float tensor
    is looked at only when this is given; when left out, those that have a scale."""
    method: Literal["max", "percentile", "entropy", "mse"] = "entropy"
    """How a tensor's values become its scale."""
    percentile: Annotated[Number, Field(gt=50, le=100)] = 99.99
    """For `method: percentile`: the share of values that is not clipped, in percent."""
    min_low_precision: Annotated[Number, Field(ge=0, le=1)] = 0.1
    """The least share of weight bytes and of typed layers that must have come out in the asked low precision."""

    def candidates(self) -> tuple[str, ...]:
        """The precisions that a search tries, cheapest first."""
        return self.try_ or (("int8", "fp16") if self.calibration is not None else ("fp16",))
