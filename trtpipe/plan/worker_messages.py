"""The messages that the engine worker sends, as a closed union.

`toolchains/engine_worker/worker.py` documents the worker's side, and
`toolchains/engine_worker/messages.py` parses them from the JSON lines that the worker writes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from trtpipe.json_values import Json, JsonObject


@dataclass(frozen=True, slots=True)
class WorkerStart:
    """The worker runs and has read its request; always the first message."""

    action: str | None
    pid: int
    schema: int


@dataclass(frozen=True, slots=True)
class WorkerPhase:
    """The worker's current phase: one of its own (import, parse, build, …), or one of TensorRT's (most are omitted).

    `state` is start, step or finish; phases of its own only start.
    """

    name: str
    parent: str | None
    steps: int
    step: int
    state: str


@dataclass(frozen=True, slots=True)
class WorkerLog:
    """TensorRT logged something; `severity` is TensorRT's name for it."""

    severity: str
    message: str


@dataclass(frozen=True, slots=True)
class WorkerMemory:
    """Its resident memory and peak in bytes, once a second; the peak is missing where the system does not report it."""

    rss: int
    peak: int | None


@dataclass(frozen=True, slots=True)
class WorkerNetwork:
    """The model is parsed: how many layers it has, and its inputs and outputs."""

    name: str
    layers: int
    io: Json


@dataclass(frozen=True, slots=True)
class WorkerEngine:
    """The engine is on disk; `memory` are the sizes in bytes that TensorRT logged for it, by name."""

    file: str
    size: int
    memory: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class WorkerError:
    """Why the work failed: one of a few kinds (see `worker.py`), a fact and a remedy.

    `details` are the parser's errors (objects), or problems of profiles (texts), else empty.
    """

    kind: str
    message: str
    remedy: str
    details: Sequence[Json]


@dataclass(frozen=True, slots=True)
class WorkerResult:
    """Whether it succeeded, and all facts of the work; always last."""

    ok: bool
    facts: JsonObject


WorkerMessage: TypeAlias = (
    WorkerStart
    | WorkerPhase
    | WorkerLog
    | WorkerMemory
    | WorkerNetwork
    | WorkerEngine
    | WorkerError
    | WorkerResult
)
