"""The results of running an engine, read from the events of `engine_process`. Bytes and microseconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from trtpipe.json_values import (
    JsonObject,
    Malformed,
    flag_in,
    integer_in,
    integers_in,
    number_in,
    object_in,
    objects_in,
    text_in,
)
from trtpipe.runners.inference.tensors import StoredTensor

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

TIMES = ("copies_in", "compute", "copies_out", "total", "host")
"""The columns of `Timings.microseconds`."""


@dataclass(frozen=True, slots=True)
class GpuFacts:
    """The GPU that ran an engine."""

    index: int
    name: str
    compute_capability: str
    cuda: str
    """The newest CUDA that its driver runs: `13.0`."""
    memory_total: int
    memory_free: int


@dataclass(frozen=True, slots=True)
class FinishedRun:
    """The result of running one set of inputs."""

    index: int
    profile: int
    graph: bool
    """Whether it was replayed from a CUDA graph."""
    outputs: Mapping[str, StoredTensor]
    """Empty when outputs were not to be saved."""
    shapes: Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Timings:
    """The times of executions."""

    microseconds: NDArray[np.float64]
    """float64 [executions, 5]: copies to the GPU, compute, copies back, these together (all by CUDA events), and the
    host's clock from the first call to the end. With several streams a part includes waiting for other streams."""
    executions: int
    window: float
    """The time of all timed iterations by the host's clock."""
    window_after_first: float
    """The same without the first iteration, whose outputs are written to files."""
    steady: bool | None = None
    """Whether the last windows agreed; None when that was not asked for."""
    windows: Sequence[Mapping[str, float]] = ()
    """`executions`, `seconds`, `median_us` of the total and `first` (execution), of each window."""

    def column(self, name: str) -> NDArray[np.float64]:
        """A column of times, by its name in TIMES."""
        return self.microseconds[:, TIMES.index(name)]


@dataclass(frozen=True, slots=True)
class DeviceMemory:
    """Bytes by purpose. Those of tensors are counted; those of engine and contexts are differences of free memory,
    which other programs on the GPU distort."""

    gpu_total: int
    gpu_free_before: int
    gpu_free_after: int
    engine: int
    contexts: int
    tensors_peak: int
    pinned_peak: int
    tensors_left: int
    """Bytes of tensors not freed at the end: 0."""
    gpu_free_middle: int | None = None
    """Free at half of the iterations, and at their end: equal unless something leaks."""
    gpu_free_last: int | None = None
    host_middle: int | None = None
    """Resident memory of the process at the same two moments."""
    host_last: int | None = None


@dataclass(frozen=True, slots=True)
class Graphs:
    """Use of CUDA graphs; `why_not` says why they were not used."""

    captured: int = 0
    replayed: int = 0
    why_not: str = ""


@dataclass(frozen=True, slots=True)
class Inference:
    """All results of one process."""

    gpu: GpuFacts
    tensorrt: str
    """The version that ran."""
    engine: JsonObject
    """`name`, `layers`, `profiles`, `activation_memory` and `io`, as the engine says."""
    memory: DeviceMemory
    layers: Path | None = None
    """What TensorRT's inspector says of the layers, as JSON; of an engine that was only described."""
    runs: Sequence[FinishedRun] = ()
    timings: Timings | None = None
    graphs: Graphs = field(default_factory=Graphs)
    notes: Sequence[str] = ()


def read_inference(events: Sequence[JsonObject], folder: Path) -> Inference:
    """The events of a process that succeeded, and the files it left in `folder`. Raises Malformed."""
    by_kind: dict[str, list[JsonObject]] = {"gpu": [], "run": [], "note": [], "result": []}
    for event in events:
        by_kind.setdefault(text_in(event, "event"), []).append(event)
    if not by_kind["gpu"] or not by_kind["result"]:
        raise Malformed("it names no GPU or no result")
    result, memory = by_kind["result"][-1], object_in(by_kind["result"][-1], "memory")
    return Inference(
        gpu=_gpu(by_kind["gpu"][0]),
        tensorrt=text_in(result, "version"),
        engine=object_in(result, "engine"),
        memory=DeviceMemory(
            **{name: integer_in(memory, name) for name in memory if memory[name] is not None}
        ),
        layers=folder / text_in(result, "layers") if result.get("layers") else None,
        runs=tuple(sorted((_run(one, folder) for one in by_kind["run"]), key=lambda run: run.index)),
        timings=_timings(object_in(result, "timed"), folder) if result.get("timed") else None,
        graphs=_graphs(object_in(result, "graphs")) if "graphs" in result else Graphs(),
        notes=tuple(text_in(note, "message") for note in by_kind["note"]),
    )


def _gpu(event: JsonObject) -> GpuFacts:
    return GpuFacts(
        integer_in(event, "index"),
        text_in(event, "name"),
        text_in(event, "compute_capability"),
        text_in(event, "cuda"),
        integer_in(event, "memory_total"),
        integer_in(event, "memory_free"),
    )


def _graphs(record: JsonObject) -> Graphs:
    captured, replayed = integer_in(record, "captured"), integer_in(record, "replayed")
    return Graphs(captured, replayed, text_in(record, "why_not"))


def _run(event: JsonObject, folder: Path) -> FinishedRun:
    outputs = objects_in(event, "outputs")
    shapes = {text_in(one, "name"): tuple(integers_in(one, "shape")) for one in outputs}
    stored = {
        text_in(one, "name"): StoredTensor(
            folder / text_in(one, "file"), text_in(one, "dtype"), tuple(integers_in(one, "shape"))
        )
        for one in outputs
        if "file" in one
    }
    index, profile = integer_in(event, "index"), integer_in(event, "profile")
    return FinishedRun(index, profile, flag_in(event, "graph"), stored, shapes)


def _timings(timed: JsonObject, folder: Path) -> Timings | None:
    if "file" not in timed:
        return None
    import numpy as np

    times = np.load(folder / text_in(timed, "file"), allow_pickle=False)
    seen = number_in(timed, "microseconds"), number_in(timed, "after_first_microseconds")
    executions = integer_in(timed, "executions")
    if not timed.get("steadiness"):
        return Timings(times, executions, *seen)
    told = object_in(timed, "steadiness")
    windows = tuple({name: number_in(one, name) for name in one} for one in objects_in(told, "windows"))
    return Timings(times, executions, *seen, flag_in(told, "steady"), windows)
