"""Types for the part of TensorRT's Python API that the worker uses. For annotations only: never imported.

All nine supported versions of both flavours have these names, or the worker checks first; `trt_api.json` lists the
versions that lack one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol, TypeAlias, TypedDict

HostMemory: TypeAlias = "bytes | memoryview"
"""IHostMemory has the buffer protocol."""


class Member(Protocol):
    """A member of one of TensorRT's enumerations; their numbers differ between versions."""

    name: str

    def __int__(self) -> int: ...


class Logger(Protocol):
    """ILogger."""

    def log(self, severity: Member, message: str) -> None: ...


class Monitor(Protocol):
    """IProgressMonitor."""

    def phase_start(self, name: str, parent: str | None, steps: int) -> None: ...
    def step_complete(self, name: str, step: int) -> bool: ...
    def phase_finish(self, name: str) -> None: ...


class Writer(Protocol):
    """IStreamWriter, with the failure that the worker's own writer records."""

    count: int
    error: OSError | None


class Tensor(Protocol):
    """ITensor."""

    name: str
    dtype: Member
    shape: Sequence[int]
    """Raises ValueError when not even the rank is known."""
    is_shape_tensor: bool
    is_execution_tensor: bool

    def get_dimension_name(self, axis: int) -> str: ...


class Connected(Protocol):
    """An object with tensors as inputs and outputs; an optional input may be absent."""

    num_inputs: int
    num_outputs: int

    def get_input(self, index: int) -> Tensor | None: ...
    def get_output(self, index: int) -> Tensor: ...


class Layer(Connected, Protocol):
    """ILayer."""

    name: str
    type: Member
    metadata: str


class Named(Protocol):
    """ILoop, IIfConditional, IAttention: objects with boundary layers."""

    name: str


class Attention(Named, Connected, Protocol):
    """IAttention."""


class Weights(Protocol):
    """Weights of a type that NumPy lacks."""

    dtype: Member
    size: int


class ArrayType(Protocol):
    """numpy.dtype."""

    name: str


class Array(Protocol):
    """A flat numpy.ndarray, which has the buffer protocol."""

    dtype: ArrayType
    size: int

    def __buffer__(self, flags: int, /) -> memoryview: ...


class Network(Protocol):
    """INetworkDefinition."""

    name: str
    num_inputs: int
    num_outputs: int
    num_layers: int

    def get_input(self, index: int) -> Tensor: ...
    def get_output(self, index: int) -> Tensor: ...
    def get_layer(self, index: int) -> Layer: ...


class ParserError(Protocol):
    """One error of the parser."""

    def node(self) -> int: ...
    def node_name(self) -> str: ...
    def node_operator(self) -> str: ...
    def desc(self) -> str: ...
    def code(self) -> Member: ...
    def local_function_stack(self) -> Iterable[str]: ...


class Parser(Protocol):
    """OnnxParser."""

    num_errors: int

    def parse_from_file(self, path: str) -> bool: ...
    def get_error(self, index: int) -> ParserError: ...


class Profile(Protocol):
    """IOptimizationProfile."""

    def set_shape(self, name: str, *shapes: Sequence[int]) -> None: ...
    def set_shape_input(self, name: str, *values: Sequence[int]) -> None: ...


class Tactic(Protocol):
    """TimingCacheValue."""

    tacticHash: int
    timingMSec: float


class TimingCache(Protocol):
    """ITimingCache; keys and values are accessible from TensorRT 10.8 on."""

    def combine(self, other: TimingCache, ignore_mismatch: bool) -> bool: ...
    def serialize(self) -> HostMemory: ...
    def queryKeys(self) -> Iterable[object]: ...
    def query(self, key: object) -> Tactic: ...
    def update(self, key: object, value: object) -> bool: ...


class Config(Protocol):
    """IBuilderConfig."""

    builder_optimization_level: int
    profiling_verbosity: Member
    hardware_compatibility_level: Member
    plugins_to_serialize: list[str]
    max_aux_streams: int
    avg_timing_iterations: int
    num_compute_capabilities: int
    progress_monitor: Monitor

    def set_flag(self, flag: Member) -> None: ...
    def clear_flag(self, flag: Member) -> None: ...
    def set_memory_pool_limit(self, pool: Member, size: int) -> None: ...
    def get_memory_pool_limit(self, pool: Member) -> int: ...
    def set_compute_capability(self, capability: Member, index: int) -> bool: ...
    def add_optimization_profile(self, profile: Profile) -> int: ...
    def create_timing_cache(self, data: bytes) -> TimingCache: ...
    def set_timing_cache(self, cache: TimingCache, ignore_mismatch: bool) -> bool | None: ...
    def get_timing_cache(self) -> TimingCache | None: ...


class Builder(Protocol):
    """Builder."""

    def create_network(self, flags: int) -> Network: ...
    def create_builder_config(self) -> Config: ...
    def create_optimization_profile(self) -> Profile: ...
    def build_serialized_network(self, network: Network, config: Config) -> HostMemory | None: ...
    def build_serialized_network_to_stream(
        self, network: Network, config: Config, writer: Writer
    ) -> bool: ...


class TensorFacts(TypedDict):
    """The facts about an input or output in the worker's result."""

    name: str
    mode: str
    dtype: str
    shape: list[int] | None
    shape_tensor: bool
    dimension_names: list[str | None]
