"""The request to the process that runs an engine, as values and as the JSON that `engine_process` reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from trtpipe.runners.inference.tensors import StoredTensor
from trtpipe.runners.inference.trust import TrustedEngine
from trtpipe.targets.toolchain import Toolchain

if TYPE_CHECKING:
    from trtpipe.json_values import Json

GraphUse = Literal["off", "capture", "rtx"]
Specialization = Literal["lazy", "eager", "none"]


@dataclass(frozen=True, slots=True)
class EngineRun:
    """One set of inputs; the profile is the first that allows their shapes, unless its index is given."""

    inputs: Mapping[str, StoredTensor]
    profile: int | None = None


@dataclass(frozen=True, slots=True)
class BuiltFor:
    """Facts from an engine's header or manifest, used only for messages about a machine that does not fit."""

    compute_capabilities: tuple[str, ...] = ()
    version: str = ""


@dataclass(frozen=True, slots=True)
class Steady:
    """When times count as steady: the medians of three windows in a row (at least `window` s) are `within` a share."""

    window: float = 0.5
    within: float = 0.02
    limit: float = 30.0
    """Measuring ends after so many seconds, steady or not."""


@dataclass(frozen=True, slots=True)
class HowToRun:
    """How to run an engine. Times in seconds, sizes in bytes."""

    warm_up: int = 0
    iterations: int = 1
    """How often all runs are run; timed, unlike the warm-up."""
    duration: float = 0
    """The minimum length of the timed part."""
    steady: Steady | None = None
    """Continue until times are steady."""
    streams: int = 1
    """Execution contexts, each with a stream and buffers of its own; runs go to them in turn."""
    graph: GraphUse = "off"
    specialization: Specialization | None = None
    """When TensorRT-RTX compiles kernels for the very shapes that are run; None is its own choice."""
    runtime_cache: tuple[Path | None, Path | None] | None = None
    """TensorRT-RTX's compiled kernels: the file to read, the file to write."""
    timing: bool = False
    save: bool = True
    """Whether the outputs of the first timed iteration are written."""
    device: int = 0
    """The GPU, by its index among those that CUDA_VISIBLE_DEVICES selects."""
    plugins: Sequence[Path] = ()
    time_limit: float | None = None
    memory_limit: int | None = None
    """Limit for tensors on the GPU."""
    built_for: BuiltFor = field(default_factory=BuiltFor)


def request_json(
    toolchain: Toolchain, site: Sequence[str], engine: TrustedEngine, runs: Sequence[EngineRun], how: HowToRun
) -> dict[str, Json]:
    """The request, all paths absolute; without runs the engine is only described."""
    cache = None
    if how.runtime_cache is not None:
        paths = [str(path.absolute()) if path else None for path in how.runtime_cache]
        cache = {"read": paths[0], "write": paths[1]}
    return {
        "schema": 1,
        "action": "run" if runs else "describe",
        "flavour": toolchain.flavour,
        "site": list(site),
        "engine": str(engine.path),
        "sha256": engine.sha256,
        "bytes": engine.digest.size,
        "built_for": {
            "compute_capabilities": list(how.built_for.compute_capabilities),
            "version": how.built_for.version,
        },
        "plugins": [str(path.absolute()) for path in how.plugins],
        "runs": [_run_json(run) for run in runs],
        "runtime_cache": cache,
        "steady": asdict(how.steady) if how.steady else None,
        **{name: getattr(how, name) for name in _PLAIN},
    }


_PLAIN = (
    "device",
    "warm_up",
    "iterations",
    "duration",
    "streams",
    "graph",
    "specialization",
    "timing",
    "save",
    "time_limit",
    "memory_limit",
)
"""Fields that the request contains unchanged."""


def _run_json(run: EngineRun) -> dict[str, Json]:
    inputs = {name: tensor.to_json() for name, tensor in run.inputs.items()}
    return {"inputs": inputs, "profile": run.profile}
