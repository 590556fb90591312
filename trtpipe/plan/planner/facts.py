"""What planning needs besides the spec: digests of files, versions, toolchains. Plain data, gathered elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from trtpipe.errors import SpecPath
from trtpipe.plan.fingerprint import Record
from trtpipe.plan.graph import Input, Source
from trtpipe.spec.remote import RemoteFile
from trtpipe.targets.toolchain import Toolchain

MODEL_FILES = ("model.onnx", "model.onnx.data")
"""What a stage that yields a model yields: the graph and, for a big one, its weights."""

SCALES_FILE = "scales.json"
"""What calibrating yields."""


@dataclass(frozen=True, slots=True)
class TargetFacts:
    """A resolved target: compute capabilities (`sm89`), the toolchain's identity, and where it is installed here."""

    compute_capabilities: tuple[str, ...]
    toolchain: Record
    gpu: Record = field(default_factory=dict)
    """Flavour tensorrt: the GPU's identity at the compatibility level that the target asks for."""
    found: Toolchain = field(kw_only=True)
    """The toolchain as it was found on this machine."""


SOURCE_FOLDER, FILES_FOLDER = "source/", "files/"
"""Where a fetch step's outputs lie: the model and what lies beside it; what the options name, by place."""


@dataclass(frozen=True, slots=True)
class FetchFacts:
    """The files to fetch: output name → remote file, and its path in the spec.

    `beside` says whether the model may refer to files beside it, which are then fetched too; `pins` holds the SHA-256
    of some of them by name.
    """

    files: Mapping[str, RemoteFile]
    places: Mapping[str, SpecPath] = field(default_factory=dict)
    beside: bool = False
    pins: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """The facts that importing a pipeline's model depends on."""

    inputs: Mapping[str, tuple[Input, ...]]
    """`source` (the model, then what lies beside it) and `files` (what the options name); slots may be left out."""
    options: Record
    """The parser's options after defaults."""
    parser_version: int
    tools: Record
    """Package versions that can change the result."""
    directory: bool = False
    """Whether the source is a directory, and `source` its files."""
    file_names: Mapping[str, str] = field(default_factory=dict)
    """Remote files that the options name: place → the file's own name."""
    fetch: FetchFacts | None = None
    """What a fetch step brings first; None where all files are on this machine."""

    def files(self) -> Iterator[Source]:
        """The files that are on this machine."""
        for refs in self.inputs.values():
            yield from (ref for ref in refs if isinstance(ref, Source))


@dataclass(frozen=True, slots=True)
class CalibrationFacts:
    """What a variant's scales depend on besides the model and the method."""

    record: Record
    """The data set's spec after defaults."""
    sources: tuple[Source, ...]
    backend_version: int
    tools: Record
    """Package versions that can change the scales."""
    scales: bool = True
    """Whether scales are asked for."""
    ranges: bool = False
    """Whether the ranges of all float tensors are."""
    provider: str = "cpu"
    """Where the model is run: `cpu` or `cuda`."""


@dataclass(frozen=True, slots=True)
class PipelineFacts:
    """Everything that planning needs and that is not in the spec."""

    model: ModelFacts
    tools: Mapping[str, Record]
    """Stage → package versions that can change its result."""
    versions: Mapping[str, int]
    """Each precision's name → the plug-in's version."""
    targets: Mapping[str, TargetFacts]
    data: Record | None = None
    """The validation set's record: its spec after defaults, or `random`."""
    data_sources: tuple[Source, ...] = ()
    golden: tuple[Source, ...] = ()
    plugins: tuple[Source, ...] = ()
    graft: Mapping[str, tuple[Input, ...]] = field(default_factory=dict)
    """`files`: what the transform's graft names; `beside`: what belongs to those files."""
    calibrations: Mapping[str, CalibrationFacts] = field(default_factory=dict)
    """By variant."""
