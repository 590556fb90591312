"""How models are packaged: the names of their classes, and how NVIDIA Triton serves them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from trtpipe.errors import WrongValue
from trtpipe.problem_codes import Code
from trtpipe.spec.fields import AsTuple, NameOr, OneOrMany, SpecModel, TrueOr

TritonBackend = Literal["tensorrt", "onnxruntime"]


class DynamicBatchingSpec(SpecModel):
    """How Triton makes one batch of several requests."""

    preferred_sizes: Annotated[tuple[Annotated[int, Field(ge=1)], ...], OneOrMany] = ()
    """Batch sizes that are run as soon as they are reached; default: Triton's, which is `max_batch_size`."""
    max_queue_delay: Annotated[int, Field(ge=0)] = 0
    """Microseconds that a request may wait for others."""


def _batching(value: object) -> object:
    """`true` means Triton's own choices."""
    return {} if value is True else None if value is False else value


class InstanceGroupSpec(SpecModel):
    """How many copies of a model Triton runs, and where."""

    count: Annotated[int, Field(ge=1)] = 1
    """Copies for each of the GPUs, or on the CPU."""
    kind: Literal["gpu", "cpu", "auto"] = "auto"
    """Where they run; engines run on GPUs only."""
    gpus: Annotated[tuple[Annotated[int, Field(ge=0)], ...], OneOrMany] = ()
    """The GPUs' numbers; default: all that the server may use."""

    @model_validator(mode="after")
    def _refuse_gpus_of_a_cpu(self) -> InstanceGroupSpec:
        if self.kind == "cpu" and self.gpus:
            raise WrongValue(Code.KEYS_EXCLUDE, "kind cpu has no gpus; leave out gpus, or write kind: gpu")
        return self


class WarmupSpec(SpecModel):
    """Requests that Triton runs before it says that a model is ready."""

    samples: Annotated[int, Field(ge=1, le=64)] = 1
    """How many samples of the data set."""
    data: str | None = None
    """A data set's name; default: the one of `validate`. Without either, each profile's `opt` is filled with zeros."""
    batch: Annotated[int | None, Field(ge=1)] = None
    """The batch size; default: 1."""


def _warmup(value: object) -> object:
    """`true` means one sample; a name means that data set."""
    if isinstance(value, str):
        return {"data": value}
    return {} if value is True else None if value is False else value


class TritonSpec(SpecModel):
    """The parts of Triton's `config.pbtxt` that a model does not say itself."""

    backend: TritonBackend = "tensorrt"
    """`tensorrt` serves the engines, `onnxruntime` the typed ONNX (Triton's TensorRT backend loads no engines of
    TensorRT-RTX)."""
    max_batch_size: Annotated[int | None, Field(ge=0)] = None
    """The largest batch that Triton makes, 0 for none; default: what every profile allows for the first dimension of
    all inputs and outputs, or 0 where that is not dynamic."""
    version: Annotated[int, Field(ge=1)] = 1
    """The number of the model's version, which is the name of its directory."""
    instance_groups: Annotated[tuple[InstanceGroupSpec, ...], AsTuple] = ()
    """Copies of the model; default: Triton's own choice, one for each GPU."""
    dynamic_batching: Annotated[
        DynamicBatchingSpec | None,
        BeforeValidator(_batching),
        TrueOr(),
    ] = None
    """Whether several requests become one batch, and how long they wait; `true` for Triton's own choices."""
    warmup: Annotated[
        WarmupSpec | None,
        BeforeValidator(_warmup),
        NameOr("boolean"),
    ] = None
    """Requests to run before the model counts as ready: `true`, or the name of a data set."""

    @model_validator(mode="after")
    def _refuse_batches_of_nothing(self) -> TritonSpec:
        batching, most = self.dynamic_batching, self.max_batch_size
        if batching is not None and most == 0:
            raise WrongValue(
                Code.KEYS_EXCLUDE,
                "dynamic_batching needs batches; write a max_batch_size above 0, or leave it out",
            )
        largest = max(batching.preferred_sizes, default=0) if batching is not None else 0
        if most is not None and largest > most:
            raise WrongValue(
                Code.INVALID_VALUE,
                f"preferred size {largest} is above max_batch_size {most}; write sizes up to {most}",
            )
        return self


def _labels(value: object) -> object:
    """A single file names the classes of every output."""
    return {"*": value} if isinstance(value, str) else value


Labels = Annotated[
    dict[str, str],
    BeforeValidator(_labels),
    NameOr(),
]
"""Globs of outputs → a text file in the project with one class name a line."""


class PackageSpec(SpecModel):
    """What a package of the model holds besides engines."""

    labels: Labels = Field(default_factory=dict)
    """A text file in the project with the name of one class on each line: for every output, or by globs of outputs, of
    which the last match counts. In a bundle outputs are written `member.output`."""
    triton: TritonSpec = Field(default_factory=TritonSpec)
    """How NVIDIA Triton serves the model; in a bundle, what its members' own specs leave out."""
