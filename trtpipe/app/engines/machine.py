"""What can run an engine here: this machine's GPUs and TensorRT, or the reasons why they cannot."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from trtpipe.app.engines.places import Place
from trtpipe.errors import ModelError, Problem, ToolchainError
from trtpipe.json_values import JsonObject, Malformed, object_in
from trtpipe.problem_codes import Code
from trtpipe.runners.inference.delivered import DeliveredEngine, Told
from trtpipe.spec.pipeline import ToolchainSpec
from trtpipe.targets.capabilities import runnable_here
from trtpipe.targets.compute_capability import ComputeCapability
from trtpipe.targets.toolchain import TITLES, Flavour, Toolchain

if TYPE_CHECKING:
    from trtpipe.runners.inference.requests import EngineRun, HowToRun
    from trtpipe.runners.inference.results import Inference
    from trtpipe.toolchains.detect import DetectedGpu

OnEvent = Callable[[JsonObject], None]

NAMED_MODEL = "a typed model was named, not an engine"


@dataclass(frozen=True)
class Machine:
    """GPUs, and how a TensorRT of a version is found."""

    gpus: tuple[DetectedGpu, ...]
    toolchain: Callable[[Flavour, str], Toolchain | Problem]

    def why_not(self, place: Place) -> str:
        """Why the engine of a place cannot run here, as far as that is known without trying; empty if it may.

        Raises ModelError for an invalid manifest.
        """
        try:
            built = built_for(place)
        except CannotBeTold as error:
            return str(error)
        wanted = [ComputeCapability.parse(name) for name in built.names]
        reason = runnable_here(
            wanted,
            [gpu.compute_capability for gpu in self.gpus],
            "ampere_plus" if built.compatible else "none",
        )
        if reason and (built.names or not self.gpus):
            return f"the engine {reason}" if built.names else "this machine has no GPU"
        found = self.toolchain(built.flavour, built.version)
        if isinstance(found, Problem):
            return found.fact
        return "" if found.ready else not_here(built.flavour, built.version)

    def run_engine(
        self,
        engine: DeliveredEngine,
        runs: Sequence[EngineRun],
        how: HowToRun,
        folder: Path,
        on_event: OnEvent,
    ) -> Inference:
        """Run an engine that may be trusted. Raises what `run_engine` of the runners raises."""
        from trtpipe.runners.inference.run import run_engine
        from trtpipe.toolchains.engine_worker.watch import Supervision

        return run_engine(self._ready(engine), engine.engine, runs, how, folder, Supervision(on_event))

    def _ready(self, engine: DeliveredEngine) -> Toolchain:
        found = self.toolchain(engine.flavour, engine.built_for.version)
        if isinstance(found, Problem):
            raise ToolchainError(found)
        if not found.ready:
            raise ToolchainError(Code.NO_TOOLCHAIN, not_here(engine.flavour, engine.built_for.version))
        return found


def this_machine() -> Machine:
    """The machine that this process runs on."""
    from trtpipe.toolchains.detect import detect_gpus

    return Machine(detect_gpus(), _toolchain_here)


def _toolchain_here(flavour: Flavour, version: str) -> Toolchain | Problem:
    from trtpipe.toolchains.resolve import locate_toolchain

    return locate_toolchain(None, ToolchainSpec(flavour=flavour, version=version or None))


def not_here(flavour: Flavour, version: str) -> str:
    """The error for a TensorRT that is not installed."""
    from trtpipe.targets.toolchain import install_line

    return f"{TITLES[flavour]} {version} is not installed here (`{install_line(flavour, version)}`)"


class CannotBeTold(Exception):
    """There is no engine, or nothing says what it was built for."""


@dataclass(frozen=True, slots=True)
class Built:
    """What an engine was built for."""

    flavour: Flavour
    version: str
    names: tuple[str, ...]
    """Compute capabilities, such as `sm89`."""
    compatible: bool = False
    """Whether any newer GPU runs it too."""


def built_for(place: Place) -> Built:
    """What the engine of a place was built for. Raises CannotBeTold, and ModelError for an invalid manifest."""
    if place.only_model:
        raise CannotBeTold(NAMED_MODEL)
    if place.engine is None:
        raise CannotBeTold("there is no engine beside it")
    if place.manifest is not None:
        return _by_manifest(place, place.manifest)
    from trtpipe.toolchains.header import read_engine_header

    try:
        header = read_engine_header(place.engine)
    except ModelError as error:
        raise CannotBeTold(error.problems[0].fact) from error
    return Built("tensorrt_rtx", header.version, tuple(header.capabilities))


def _by_manifest(place: Place, manifest: JsonObject) -> Built:
    try:
        told = Told.from_json(manifest)
        names = told.built_for.compute_capabilities
        list(map(ComputeCapability.parse, names))
    except ValueError as error:
        raise ModelError(
            Code.MANIFEST_DAMAGED, f"{place.folder} has a damaged manifest: {error}", "build the cell again"
        ) from error
    return Built(told.flavour, told.built_for.version, tuple(names), _compatible(manifest))


def _compatible(manifest: JsonObject) -> bool:
    """Whether the engine was built for every GPU from Ampere on."""
    record = manifest
    try:
        for name in ("steps", "build_engine", "fingerprint", "options"):
            record = object_in(record, name)
    except Malformed:
        return False
    return record.get("hardware_compatibility") == "ampere_plus"
