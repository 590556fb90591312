"""What `index.json` says: models, their engines and fallbacks, and a digest of every file of the package.

Frozen dataclasses that mirror the JSON field by field, so that the file can be read by looking at this module. Imports
the standard library alone besides trtpipe's basics. Keys that this version does not know are ignored: a field may be
added without a new schema, and a new schema means that older readers would go wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import TypeVar

from trtpipe.json_values import (
    Json,
    JsonObject,
    Malformed,
    flag_in,
    integer_in,
    integers_in,
    object_in,
    objects_in,
    text_in,
    texts_in,
)

SCHEMA = 1
INDEX = "index.json"
"""The file's name, at the top of every package."""

T = TypeVar("T")


def as_json(value: object) -> Json:
    """One of this module's dataclasses as plain JSON values, its fields in their order."""
    if isinstance(value, (list, tuple)):
        return [as_json(one) for one in value]
    if isinstance(value, Mapping):
        return {name: as_json(one) for name, one in value.items()}
    if is_dataclass(value):
        return {one.name: as_json(getattr(value, one.name)) for one in fields(value)}
    assert value is None or isinstance(value, (str, int, float)), value
    return value


@dataclass(frozen=True, slots=True)
class Tensor:
    """An input or an output; a dimension of -1 is dynamic."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    shape_tensor: bool = False
    """Whether its values decide shapes: TensorRT reads it in the host's memory."""

    @classmethod
    def from_json(cls, record: JsonObject) -> Tensor:
        """Raises Malformed."""
        shape = tuple(integers_in(record, "shape"))
        return cls(text_in(record, "name"), text_in(record, "dtype"), shape, flag_in(record, "shape_tensor"))


@dataclass(frozen=True, slots=True)
class PackedFile:
    """The digests and the size of one file of the package."""

    blake3: str
    sha256: str
    bytes: int

    @classmethod
    def from_json(cls, record: JsonObject) -> PackedFile:
        """Raises Malformed."""
        return cls(text_in(record, "blake3"), text_in(record, "sha256"), integer_in(record, "bytes"))


@dataclass(frozen=True, slots=True)
class Fallback:
    """A typed model as ONNX, for machines that no engine fits."""

    variant: str
    file: str
    external_data: str | None
    """The file with the weights of a large model; ONNX Runtime finds it beside the model."""
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]

    @classmethod
    def from_json(cls, record: JsonObject) -> Fallback:
        """Raises Malformed."""
        return cls(
            text_in(record, "variant"),
            text_in(record, "file"),
            _maybe(text_in, record, "external_data"),
            _tensors(record, "inputs"),
            _tensors(record, "outputs"),
        )


@dataclass(frozen=True, slots=True)
class PackedEngine:
    """An engine, and what a machine must have to run it. None means that nothing is required, or nothing is known."""

    cell: str
    target: str
    variant: str
    file: str
    flavour: str
    """`tensorrt` or `tensorrt_rtx`."""
    tensorrt: str
    """The whole version that built it, `1.7.1.116`."""
    compute_capabilities: tuple[str, ...]
    """`8.9`, in order."""
    gpu: str | None
    """The GPU model that it is tied to, as the driver names it; None if the compute capability alone decides."""
    hardware_compatibility: str
    """`none`, `ampere_plus` or `same_compute_capability`."""
    version_compatible: bool
    os: str | None
    """`linux` or `windows`; None for TensorRT-RTX, whose engines run on both."""
    architecture: str | None
    """`x86_64` or `aarch64`; None for TensorRT-RTX."""
    driver: str | None
    """The oldest driver on which any build of that TensorRT runs."""
    device_memory: int | None
    """Bytes on the GPU that it takes at least: its weights."""
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    profiles: tuple[JsonObject, ...]
    """For each profile: input → `min`, `opt` and `max`."""
    validated: str
    """`passed`, or `not run`: an engine that failed is not packaged."""
    run_on_gpu: str
    """The GPU that it was proved on, `NVIDIA L4 (sm89)`, or `not run`."""
    plugins: tuple[str, ...]
    """The plugin libraries that must be loaded first, by file name; they are not in the package."""
    manifest: str
    provenance: str
    bom: str

    @classmethod
    def from_json(cls, record: JsonObject) -> PackedEngine:
        """Raises Malformed."""
        return cls(
            cell=text_in(record, "cell"),
            target=text_in(record, "target"),
            variant=text_in(record, "variant"),
            file=text_in(record, "file"),
            flavour=text_in(record, "flavour"),
            tensorrt=text_in(record, "tensorrt"),
            compute_capabilities=tuple(texts_in(record, "compute_capabilities")),
            gpu=_maybe(text_in, record, "gpu"),
            hardware_compatibility=text_in(record, "hardware_compatibility"),
            version_compatible=flag_in(record, "version_compatible"),
            os=_maybe(text_in, record, "os"),
            architecture=_maybe(text_in, record, "architecture"),
            driver=_maybe(text_in, record, "driver"),
            device_memory=_maybe(integer_in, record, "device_memory"),
            inputs=_tensors(record, "inputs"),
            outputs=_tensors(record, "outputs"),
            profiles=tuple(objects_in(record, "profiles")),
            validated=text_in(record, "validated"),
            run_on_gpu=text_in(record, "run_on_gpu"),
            plugins=tuple(texts_in(record, "plugins")),
            manifest=text_in(record, "manifest"),
            provenance=text_in(record, "provenance"),
            bom=text_in(record, "bom"),
        )

    @property
    def files(self) -> tuple[str, ...]:
        """Every file that belongs to this engine."""
        return (self.file, self.manifest, self.provenance, self.bom)


@dataclass(frozen=True, slots=True)
class PackedModel:
    """One model: a pipeline, or a bundle's member. Engines and fallbacks stand in order of preference."""

    name: str
    pipeline: str
    inputs: tuple[Tensor, ...]
    """Those of its first engine; variants may differ in their types, so each engine has its own."""
    outputs: tuple[Tensor, ...]
    labels: Mapping[str, str]
    """Output → the file with the names of its classes, one a line."""
    fallbacks: tuple[Fallback, ...]
    engines: tuple[PackedEngine, ...]

    @classmethod
    def from_json(cls, record: JsonObject) -> PackedModel:
        """Raises Malformed."""
        return cls(
            text_in(record, "name"),
            text_in(record, "pipeline"),
            _tensors(record, "inputs"),
            _tensors(record, "outputs"),
            _texts(object_in(record, "labels")),
            tuple(Fallback.from_json(one) for one in objects_in(record, "fallbacks")),
            tuple(PackedEngine.from_json(one) for one in objects_in(record, "engines")),
        )

    @property
    def files(self) -> tuple[str, ...]:
        """Every file that belongs to this model."""
        models = [name for one in self.fallbacks for name in (one.file, one.external_data) if name]
        engines = [name for one in self.engines for name in one.files]
        return (*models, *engines, *self.labels.values())


@dataclass(frozen=True, slots=True)
class Index:
    """The whole of `index.json`."""

    package: str
    bundle: str | None
    made_by: str
    models: tuple[PackedModel, ...]
    edges: tuple[JsonObject, ...]
    """A bundle's connections between its models; empty for anything else."""
    targets: Mapping[str, Mapping[str, str]]
    """Target → model → the cell that is meant for it."""
    files: Mapping[str, PackedFile]
    """Every file of the package but `index.json` itself and its signature."""
    schema: int = field(default=SCHEMA)

    @classmethod
    def from_json(cls, record: JsonObject) -> Index:
        """Raises Malformed. The caller has looked at the schema."""
        targets = object_in(record, "targets")
        files = object_in(record, "files")
        return cls(
            text_in(record, "package"),
            _maybe(text_in, record, "bundle"),
            text_in(record, "made_by"),
            tuple(PackedModel.from_json(one) for one in objects_in(record, "models")),
            tuple(objects_in(record, "edges")),
            {name: _texts(object_in(targets, name)) for name in targets},
            {name: PackedFile.from_json(object_in(files, name)) for name in files},
            integer_in(record, "schema"),
        )

    def model(self, name: str) -> PackedModel:
        """The model of that name, which there must be."""
        return next(one for one in self.models if one.name == name)


def _texts(record: JsonObject) -> dict[str, str]:
    return {name: text_in(record, name) for name in record}


def _tensors(record: JsonObject, name: str) -> tuple[Tensor, ...]:
    return tuple(Tensor.from_json(one) for one in objects_in(record, name))


def _maybe(read: Callable[[JsonObject, str], T], record: JsonObject, name: str) -> T | None:
    """A field that may be null, but not missing. Raises Malformed."""
    if name not in record:
        raise Malformed(f"{name} is missing")
    return None if record[name] is None else read(record, name)
