"""`config.pbtxt` of one model, from plain data: reads no file and looks at no GPU.

Follows Triton's ModelConfig field by field. There is never a default model file for engines: a GPU of a compute
capability that nobody built for is refused by Triton, instead of being given another GPU's engine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from trtpipe.errors import PackageError
from trtpipe.packages.index import Tensor
from trtpipe.packages.triton.pbtxt import Field, Message, Word, render
from trtpipe.packages.triton.tensors import refuse_unfit, tensor_message
from trtpipe.packages.triton.warmup import Warmup, warmup_message
from trtpipe.problem_codes import Code
from trtpipe.spec.packaging import DynamicBatchingSpec, InstanceGroupSpec, TritonBackend, TritonSpec

CONFIG = "config.pbtxt"
PLATFORMS: Mapping[TritonBackend, str] = {"tensorrt": "tensorrt_plan", "onnxruntime": "onnxruntime_onnx"}


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """What Triton must know of one model."""

    name: str
    """The model's directory in the repository, too."""
    backend: TritonBackend
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    max_batch_size: int
    files: Mapping[str, str] = field(default_factory=dict)
    """Compute capability, `8.9` → the engine's file in the version's directory."""
    default_file: str = ""
    """The file for every GPU; typed ONNX only."""
    profiles: int = 1
    """How many optimization profiles the engines have."""
    instance_groups: Sequence[InstanceGroupSpec] = ()
    dynamic_batching: DynamicBatchingSpec | None = None
    warmup: Sequence[Warmup] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    """Output → the file in the model's directory with the names of its classes."""


def config_text(config: ModelConfig) -> str:
    """The text of `config.pbtxt`. Raises PackageError for tensors and settings that Triton has no way to serve."""
    batching = config.max_batch_size > 0
    tensors = (*config.inputs, *config.outputs)
    problems = refuse_unfit(config.name, config.backend, tensors, batching=batching)
    if problems:
        raise PackageError(problems)
    _refuse_settings(config)
    fields: list[Field] = [
        ("name", config.name),
        ("platform", PLATFORMS[config.backend]),
        ("backend", config.backend),
        ("max_batch_size", config.max_batch_size),
    ]
    fields += [("input", tensor_message(one, config.backend, batching=batching)) for one in config.inputs]
    for one in config.outputs:
        labels = config.labels.get(one.name, "")
        fields.append(("output", tensor_message(one, config.backend, batching=batching, labels=labels)))
    if config.dynamic_batching is not None:
        fields.append(("dynamic_batching", _dynamic_batching(config.dynamic_batching)))
    fields += [("instance_group", one) for one in _instance_groups(config)]
    if config.default_file:
        fields.append(("default_model_filename", config.default_file))
    fields += [("cc_model_filenames", _entry(*one)) for one in sorted(config.files.items(), key=_capability)]
    fields += [("model_warmup", warmup_message(one, config.backend)) for one in config.warmup]
    return render(fields)


def config_of(
    spec: TritonSpec, name: str, tensors: tuple[tuple[Tensor, ...], tuple[Tensor, ...]], max_batch_size: int
) -> ModelConfig:
    """The configuration that a spec asks for, without files."""
    return ModelConfig(
        name,
        spec.backend,
        *tensors,
        max_batch_size,
        instance_groups=spec.instance_groups,
        dynamic_batching=spec.dynamic_batching,
    )


def _capability(entry: tuple[str, str]) -> tuple[int, ...]:
    return tuple(int(part) for part in entry[0].split("."))


def _entry(key: str, value: str) -> Message:
    return Message([("key", key), ("value", value)])


def _refuse_settings(config: ModelConfig) -> None:
    """Raises PackageError for settings that contradict what the model turned out to be."""
    batching = config.dynamic_batching
    wrong = ""
    if batching is not None and config.max_batch_size == 0:
        wrong = "dynamic_batching has nothing to do, for the model takes no batches"
    elif batching is not None and max(batching.preferred_sizes, default=0) > config.max_batch_size:
        wrong = f"preferred size {max(batching.preferred_sizes)} is above its largest batch, {config.max_batch_size}"
    elif config.backend == "tensorrt" and any(one.kind == "cpu" for one in config.instance_groups):
        wrong = "an engine runs on GPUs only, and an instance group is of kind cpu"
    if wrong:
        raise PackageError(Code.NOT_SERVABLE, f"Triton cannot serve {config.name} as its spec says: {wrong}")


def _dynamic_batching(asked: DynamicBatchingSpec) -> Message:
    fields: list[Field] = []
    if asked.preferred_sizes:
        fields.append(("preferred_batch_size", asked.preferred_sizes))
    if asked.max_queue_delay:
        fields.append(("max_queue_delay_microseconds", asked.max_queue_delay))
    return Message(fields)


def _instance_groups(config: ModelConfig) -> list[Message]:
    """The groups that were asked for; for engines at least one, which names all profiles.

    Without a `profile`, Triton would use the first one for every request.
    """
    engines = config.backend == "tensorrt"
    groups = config.instance_groups or ((InstanceGroupSpec(),) if engines else ())
    found = []
    for one in groups:
        kind = "KIND_GPU" if engines else f"KIND_{one.kind.upper()}"
        fields: list[Field] = [("count", one.count), ("kind", Word(kind))]
        if one.gpus:
            fields.append(("gpus", one.gpus))
        if engines and config.profiles > 1:
            fields.append(("profile", [str(index) for index in range(config.profiles)]))
        found.append(Message(fields))
    return found
