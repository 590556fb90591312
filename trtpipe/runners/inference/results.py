"""What running an engine came to, as values read from the events of `engine_process`. Bytes and microseconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
    """One set of inputs, run."""

    index: int
    profile: int
    graph: bool
    """Whether it was replayed from a CUDA graph."""
    outputs: Mapping[str, StoredTensor]
    """Empty when outputs were not to be saved."""
    shapes: Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Timings:
    """How long executions took."""

    microseconds: NDArray[np.float64]
    """float64 [executions, 5]: copies to the GPU, compute, copies back, these together (all by CUDA events), and the
    host's clock from the first call to the end. With several streams a part includes waiting for other streams."""
    executions: int
    window: float
    """Of all timed iterations, by the host's clock."""
    window_after_first: float
    """The same without the first iteration, whose outputs are written to files."""
    steady: bool | None = None
    """Whether the last windows agreed; None when that was not asked for."""
    windows: Sequence[Mapping[str, float]] = ()
    """`executions`, `seconds`, `median_us` of the total and `first` (execution), of each window."""

    def column(self, name: str) -> NDArray[np.float64]:
        """One of TIMES."""
        return self.microseconds[:, TIMES.index(name)]


@dataclass(frozen=True, slots=True)
class DeviceMemory:
    """Bytes by purpose. Those of tensors are counted; engine and contexts are differences of what was free, which
    other programs on the GPU blur."""

    gpu_total: int
    gpu_free_before: int
    gpu_free_after: int
    engine: int
    contexts: int
    tensors_peak: int
    pinned_peak: int
    tensors_left: int
    """Not given back at the end: 0."""
    gpu_free_middle: int | None = None
    """Free at half of the iterations, and at their end: equal unless something leaks."""
    gpu_free_last: int | None = None
    host_middle: int | None = None
    """Resident memory of the process at these two moments."""
    host_last: int | None = None


@dataclass(frozen=True, slots=True)
class Graphs:
    """Use of CUDA graphs; `why_not` says what stood in the way."""

    captured: int = 0
    replayed: int = 0
    why_not: str = ""


@dataclass(frozen=True, slots=True)
class Inference:
    """Everything that one process found out."""

    gpu: GpuFacts
    tensorrt: str
    """The version that ran."""
    engine: Mapping[str, Any]
    """`name`, `layers`, `profiles`, `activation_memory` and `io`, as the engine says."""
    memory: DeviceMemory
    layers: Path | None = None
    """What TensorRT's inspector says of the layers, as JSON; of an engine that was only described."""
    runs: Sequence[FinishedRun] = ()
    timings: Timings | None = None
    graphs: Graphs = field(default_factory=Graphs)
    notes: Sequence[str] = ()


def read_inference(events: Sequence[Mapping[str, Any]], folder: Path) -> Inference:
    """The events of a process that succeeded, and the files it left in `folder`."""
    by_kind: dict[str, list[dict[str, Any]]] = {}
    for event in events:
        fields = {name: value for name, value in event.items() if name != "event"}
        by_kind.setdefault(event["event"], []).append(fields)
    result = by_kind["result"][-1]
    return Inference(
        gpu=GpuFacts(**by_kind["gpu"][0]),
        tensorrt=result["version"],
        engine=result["engine"],
        memory=DeviceMemory(**result["memory"]),
        layers=folder / result["layers"] if result.get("layers") else None,
        runs=tuple(_run(one, folder) for one in sorted(by_kind.get("run", []), key=lambda run: run["index"])),
        timings=_timings(result.get("timed"), folder),
        graphs=Graphs(**result.get("graphs", {})),
        notes=tuple(note["message"] for note in by_kind.get("note", [])),
    )


def _run(event: Mapping[str, Any], folder: Path) -> FinishedRun:
    outputs = {
        one["name"]: StoredTensor(folder / one["file"], one["dtype"], tuple(one["shape"]))
        for one in event["outputs"]
        if "file" in one
    }
    shapes = {one["name"]: tuple(one["shape"]) for one in event["outputs"]}
    return FinishedRun(event["index"], event["profile"], event["graph"], outputs, shapes)


def _timings(timed: Mapping[str, Any] | None, folder: Path) -> Timings | None:
    if timed is None or "file" not in timed:
        return None
    import numpy as np

    times = np.load(folder / timed["file"], allow_pickle=False)
    kept = (timed["executions"], timed["microseconds"], timed["after_first_microseconds"])
    found = timed.get("steadiness") or {"steady": None, "windows": ()}
    return Timings(times, *kept, found["steady"], tuple(found["windows"]))
