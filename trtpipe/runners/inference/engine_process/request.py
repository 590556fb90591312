"""The request as types, as documented in `__init__`, with every default filled in."""

from __future__ import annotations

from typing import TypedDict


class SavedTensor(TypedDict):
    """A tensor in a file."""

    file: str
    dtype: str
    shape: list[int]


class RunEntry(TypedDict, total=False):
    """One set of inputs."""

    inputs: dict[str, SavedTensor]
    profile: int | None


class BuiltFor(TypedDict, total=False):
    """Facts about the engine, for error messages only."""

    compute_capabilities: list[str]
    version: str


class SteadyRule(TypedDict):
    """The rule for when times count as steady."""

    window: float
    within: float
    limit: float


class CachePaths(TypedDict, total=False):
    """Where the runtime cache is read from and written to."""

    read: str | None
    write: str | None


class Request(TypedDict):
    """A checked request."""

    schema: int
    action: str
    flavour: str
    site: list[str]
    engine: str
    sha256: str
    bytes: int
    built_for: BuiltFor
    plugins: list[str]
    device: int
    runs: list[RunEntry]
    warm_up: int
    iterations: int
    duration: float
    steady: SteadyRule | None
    streams: int
    graph: str
    specialization: str | None
    runtime_cache: CachePaths | None
    timing: bool
    save: bool
    time_limit: float | None
    memory_limit: int | None
