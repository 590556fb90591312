"""The pipeline spec: a model with its variants, targets and checks."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

from trtpipe.errors import WrongValue
from trtpipe.problem_codes import Code
from trtpipe.spec.budget import MetricName
from trtpipe.spec.fields import (
    AsTuple,
    DynamicShape,
    Name,
    Number,
    OneOrMany,
    OneShapeOr,
    SchemaVersion,
    Sha256,
    Size,
    SpecModel,
    StaticShape,
)
from trtpipe.spec.variant import VariantSpec

Flavour = Literal["tensorrt", "tensorrt_rtx"]
HardwareCompatibility = Literal["none", "ampere_plus", "same_compute_capability"]


class ModelSpec(SpecModel):
    """The model's source and how it is read."""

    source: str | None = None
    """A path inside the project, or `pkg://PACKAGE/PATH` for a file in an installed Python package; or a remote
    file: `https://…`, `s3://BUCKET/KEY`, `gs://BUCKET/KEY`, `hf://ORG/REPO@COMMIT/PATH`.

    Required for every parser except `network`, whose layers are declared in its options.
    """
    sha256: Annotated[str | None, Field(pattern=r"^[0-9a-fA-F]{64}$")] = None
    """Optional pin: the SHA-256 of the model file, verified before it is read."""
    files: dict[str, Sha256] = Field(default_factory=dict)
    """Optional pins of a remote ONNX model's external data files, by relative name."""
    parser: str = "onnx"
    """The frontend that converts the source to canonical ONNX."""
    options: dict[str, Any] = Field(default_factory=dict)
    """The parser's own options."""


def _constant(value: object) -> object:
    items = value if isinstance(value, list) else [value]
    if isinstance(value, list) and any(isinstance(item, list) for item in value):
        return [_constant(item) for item in value]
    if not all(isinstance(item, (bool, int, float)) for item in items):
        raise WrongValue(
            Code.WRONG_FORM,
            "not a constant; write a number, true or false, or a (nested) list of them, for example [1, 2]",
        )
    return value


Bound = Annotated[Any, BeforeValidator(_constant), WithJsonSchema({"type": ["number", "boolean", "array"]})]
"""The value of a graph input that becomes a constant."""


class TransformSpec(SpecModel):
    """Changes to the imported graph, applied in the order of the fields."""

    bind: dict[str, Bound] = Field(default_factory=dict)
    """Graph inputs to turn into constants: a number, a boolean or a (nested) list, e.g. `{sr: 16000}`."""
    outputs: Annotated[tuple[str, ...], AsTuple] = ()
    """Cut the graph: these tensors become its only outputs."""
    set_shapes: dict[str, DynamicShape] = Field(default_factory=dict)
    """New input shapes; -1 is a dynamic dimension."""
    simplify: bool = False
    """Run further graph simplifications (common subexpressions, constant arithmetic)."""
    graft: dict[str, Any] | None = None
    """Declared layers before or after the model's own, inserted last; see `parser: network` for the layers."""


class ShapeValues(SpecModel):
    """The values that a shape-tensor input takes: integers, in the tensor's order."""

    min: Annotated[tuple[int, ...], OneOrMany]
    """The smallest values."""
    opt: Annotated[tuple[int, ...], OneOrMany]
    """The values to optimize for."""
    max: Annotated[tuple[int, ...], OneOrMany]
    """The largest values."""


class ProfileInput(SpecModel):
    """The range of shapes of one input, or of values when it is a shape tensor."""

    model_config = ConfigDict(
        json_schema_extra={
            "dependentRequired": {"min": ["opt", "max"], "opt": ["min", "max"], "max": ["min", "opt"]},
            "anyOf": [{"required": ["min"]}, {"required": ["values"]}],
        }
    )

    min: StaticShape | None = None
    """The smallest shape."""
    opt: StaticShape | None = None
    """The shape to optimize for."""
    max: StaticShape | None = None
    """The largest shape."""
    values: ShapeValues | None = None
    """The values of a shape tensor."""

    @model_validator(mode="after")
    def _all_or_values(self) -> ProfileInput:
        given = [name for name in ("min", "opt", "max") if getattr(self, name) is not None]
        if given and len(given) < 3:
            lacking = " and ".join(name for name in ("min", "opt", "max") if name not in given)
            raise WrongValue(
                Code.KEY_NEEDED,
                f"{' and '.join(given)} without {lacking}; give min, opt and max, or one shape for all three",
            )
        if not given and self.values is None:
            raise WrongValue(
                Code.KEY_NEEDED, "no shapes are given; give min, opt and max, or values for a shape tensor"
            )
        return self


def _profile_input(value: object) -> object:
    """A single shape means equal min, opt and max."""
    if isinstance(value, (str, int, list)):
        return {"min": value, "opt": value, "max": value}
    return value


ProfileEntry = Annotated[ProfileInput, BeforeValidator(_profile_input), OneShapeOr()]
Profile = dict[str, ProfileEntry]


def _gpu_text(value: object) -> object:
    """A GPU as text, because YAML reads 8.9 and 89 as numbers."""
    values = value if isinstance(value, (list, tuple)) else (value,)
    return tuple(
        str(item) if isinstance(item, (int, float)) and not isinstance(item, bool) else item
        for item in values
    )


Gpus = Annotated[
    tuple[str, ...],
    BeforeValidator(_gpu_text),
    Field(min_length=1),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": ["string", "number"]},
                {"type": "array", "items": {"type": ["string", "number"]}, "minItems": 1},
            ],
            "examples": ["rtx4090", "sm89", ["sm86", "sm89", "sm120"]],
        }
    ),
]


class TargetSpec(SpecModel):
    """One build target: GPUs, a toolchain, and how portable the engine must be."""

    gpu: Gpus
    """A GPU's name (`rtx4090`, `NVIDIA L4`), `sm89`, `8.9`, `this`, or a list, for one engine that runs on all of
    them."""
    toolchain: str | None = None
    """A name from `toolchains`; default: the installed TensorRT-RTX."""
    hardware_compatibility: HardwareCompatibility = "none"
    """Flavour tensorrt only: on which other GPUs the engine must run."""
    version_compatible: bool = False
    """Flavour tensorrt only: an engine that later TensorRT versions can load."""


class ToolchainSpec(SpecModel):
    """The TensorRT that builds the engine."""

    flavour: Flavour
    """`tensorrt_rtx` (TensorRT for RTX: engines build on any machine) or `tensorrt` (on the target's GPU)."""
    version: Annotated[str | None, Field(pattern=r"^\d+(\.\d+)*(\.\*)?(\.post\d+)?$")] = None
    """An exact version (`1.6.1.120`) or a prefix (`11.4.*`); default: the installed version."""
    python: str | None = None
    """An interpreter that already has this TensorRT (a Jetson's, a container's)."""


class BuilderSpec(SpecModel):
    """TensorRT's builder configuration. All of it is part of the key."""

    optimization_level: Annotated[int, Field(ge=0, le=5)] = 3
    """IBuilderConfig.builder_optimization_level (TensorRT-RTX has one level only and ignores it)."""
    workspace: Size = 1 << 31
    """The workspace memory pool, always set: TensorRT's own default depends on the machine."""
    tactic_shared_memory: Size | None = None
    """The tactic shared-memory pool; default: 1 GiB for TensorRT-RTX, the GPU's own for tensorrt."""
    tf32: bool = False
    """Allow TF32 arithmetic for FP32 tensors. Off by default, so that fp32 means fp32."""
    profiling_verbosity: Literal["layer_names_only", "none", "detailed"] = "layer_names_only"
    """How detailed the engine's description of its layers is."""
    weight_streaming: bool = False
    """Keep weights in host memory and stream them to the GPU."""
    sparse_weights: bool = False
    """Let TensorRT use 2:4 sparse weights (TensorRT-RTX ignores it)."""
    max_aux_streams: Annotated[int | None, Field(ge=0, le=16)] = None
    """IBuilderConfig.max_aux_streams."""
    avg_timing_iterations: Annotated[int | None, Field(ge=1, le=64)] = None
    """IBuilderConfig.avg_timing_iterations (flavour tensorrt only)."""
    time_limit: Annotated[Number, Field(gt=0)] | None = None
    """Seconds after which an engine build is stopped; not in the key."""
    memory_limit: Size | None = None
    """Resident memory above which an engine build is stopped; not in the key."""


class PluginSpec(SpecModel):
    """A plugin library that TensorRT loads before parsing (flavour tensorrt only)."""

    library: str
    """A path inside the project."""


class RandomData(SpecModel):
    """Random inputs, requested explicitly."""

    seed: Annotated[int, Field(ge=0)] = 0
    """The same seed gives the same inputs everywhere."""
    samples: Annotated[int, Field(ge=1, le=100_000)] = 8
    """The number of samples, each a batch of its own."""


class Threshold(SpecModel):
    """The bound that a metric of one output must meet."""

    model_config = ConfigDict(json_schema_extra={"anyOf": [{"required": ["min"]}, {"required": ["max"]}]})

    output: str = "*"
    """A glob of output names."""
    metric: MetricName
    """The metric by which outputs are compared."""
    min: Number | None = None
    """The metric must be at least this."""
    max: Number | None = None
    """The metric must be at most this."""

    @model_validator(mode="after")
    def _one_bound(self) -> Threshold:
        if self.min is None and self.max is None:
            raise WrongValue(Code.KEY_NEEDED, "a threshold needs min or max; for example min: 0.999")
        return self


class OtherReference(SpecModel):
    """A reference other than the source: recorded outputs, or another variant."""

    model_config = ConfigDict(
        json_schema_extra={"oneOf": [{"required": ["golden"]}, {"required": ["variant"]}]}
    )

    golden: str | None = None
    """An .npz file inside the project with inputs as `in:NAME` and outputs as `out:NAME`, as recorded by `trtpipe
    golden`."""
    variant: Name | None = None
    """Another variant of this pipeline, whose typed model is the reference; its own reference is the source."""

    @model_validator(mode="after")
    def _one_of_both(self) -> OtherReference:
        if (self.golden is None) == (self.variant is None):
            raise WrongValue(
                Code.KEY_NEEDED,
                "a reference needs either golden or variant; for example {golden: golden/net.npz}",
            )
        return self


class ReadbackSpec(SpecModel):
    """How the network that TensorRT's parser makes of a typed model is compared with that model."""

    run: bool = True
    """Whether the network is run and compared with the typed model; its types and shapes are always compared."""
    thresholds: Annotated[tuple[Threshold, ...], AsTuple] = ()
    """Thresholds for outputs, which replace the bound for rounding in the variant's types."""
    accept: Annotated[tuple[str, ...], AsTuple] = ()
    """Problems that should not fail the build: the name of a warning of TensorRT's parser, or `tensor:GLOB` for tensors
    whose type or shape differs from the model's."""


class ValidateSpec(SpecModel):
    """How variants are validated."""

    model_config = ConfigDict(json_schema_extra={"not": {"required": ["data", "random"]}})

    data: str | None = None
    """A data set's name: `calibration/NAME.yaml`."""
    random: RandomData | None = None
    """Random inputs instead of a data set."""
    samples: Annotated[int | None, Field(ge=1)] = None
    """At most this many samples of the data set."""
    corners: bool = True
    """Also run every profile at min, opt and max."""
    reference: Literal["onnxruntime", "float64"] | OtherReference = "onnxruntime"
    """The reference: the source in float32 in ONNX Runtime, in `float64` if possible, recorded outputs
    (`{golden: FILE}`) or another variant (`{variant: NAME}`)."""
    thresholds: Annotated[tuple[Threshold, ...], AsTuple] = ()
    """Thresholds for the outputs; by default each precision's own, which the report names."""
    readback: ReadbackSpec = Field(default_factory=ReadbackSpec)
    """How the network that TensorRT's parser makes of the typed model is compared with it."""

    @model_validator(mode="after")
    def _one_source(self) -> ValidateSpec:
        if self.data is not None and self.random is not None:
            raise WrongValue(
                Code.KEYS_EXCLUDE, "data and random exclude each other; leave out data or random"
            )
        return self

    @property
    def golden(self) -> str | None:
        """The recording that is the reference, if it is one."""
        return self.reference.golden if isinstance(self.reference, OtherReference) else None

    def reference_of(self, variant: str) -> str | None:
        """The variant that another one is compared with; None for that variant itself."""
        other = self.reference.variant if isinstance(self.reference, OtherReference) else None
        return other if other != variant else None


class PipelineSpec(SpecModel):
    """One pipeline file."""

    schema_: SchemaVersion = Field(alias="schema")
    """The version of the spec language."""
    pipeline: Name
    """The pipeline's name, the first part of its cells' names."""
    model: ModelSpec
    """The model to build engines from."""
    transform: TransformSpec | None = None
    """Changes to the model before it is built."""
    variants: dict[Name, VariantSpec] = Field(default_factory=lambda: {"fp32": VariantSpec()}, min_length=1)
    """The ways in which the model is built, by name; default: one fp32 variant."""
    profiles: Annotated[tuple[Profile, ...], AsTuple] = ()
    """Optimization profiles; each names every dynamic input."""
    targets: dict[Name, TargetSpec] = Field(min_length=1)
    """The build targets by name; a name without a description, or no targets at all, means the project's targets."""
    toolchains: dict[Name, ToolchainSpec] = Field(default_factory=dict)
    """TensorRT versions by name, in addition to the project's."""
    builder: BuilderSpec = Field(default_factory=BuilderSpec)
    """TensorRT's builder options; default: the project's."""
    plugins: Annotated[tuple[PluginSpec, ...], AsTuple] = ()
    """Plugin libraries that the model needs."""
    validate_: ValidateSpec | None = Field(default=None, alias="validate")
    """How every variant is validated."""
    package: dict[str, Any] | None = None
    """What a package of the model holds besides engines: the names of its classes, options of NVIDIA Triton."""
