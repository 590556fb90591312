"""What can run an engine here: this machine's GPUs and TensorRT, or the reasons why they cannot."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trtpipe.app.engines.places import Place
from trtpipe.errors import ModelError, Problem
from trtpipe.json_values import JsonObject, Malformed, object_in
from trtpipe.problem_codes import Code
from trtpipe.runners.inference.delivered import Told
from trtpipe.spec.pipeline import ToolchainSpec
from trtpipe.targets.capabilities import runnable_here
from trtpipe.targets.compute_capability import ComputeCapability
from trtpipe.targets.toolchain import TITLES, Flavour, Toolchain

if TYPE_CHECKING:
    from trtpipe.toolchains.detect import DetectedGpu

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
        if place.only_model:
            return NAMED_MODEL
        if place.engine is None:
            return "there is no engine beside it"
        try:
            flavour, version, names, compatible = _built_for(place)
        except ModelError as error:
            if place.manifest is not None:
                raise
            return error.problems[0].fact  # the version in the engine's header
        wanted = [ComputeCapability.parse(name) for name in names]
        reason = runnable_here(
            wanted, [gpu.compute_capability for gpu in self.gpus], "ampere_plus" if compatible else "none"
        )
        if reason and (names or not self.gpus):
            return f"the engine {reason}" if names else "this machine has no GPU"
        found = self.toolchain(flavour, version)
        if isinstance(found, Problem):
            return found.fact
        return "" if found.ready else not_here(flavour, version)


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


def _built_for(place: Place) -> tuple[Flavour, str, list[str], bool]:
    """Flavour, version and compute capabilities of an engine, and whether any newer GPU runs it too."""
    if place.manifest is None:
        from trtpipe.toolchains.header import read_engine_header

        assert place.engine is not None, "the caller has looked"
        header = read_engine_header(place.engine)
        return "tensorrt_rtx", header.version, list(header.capabilities), False
    try:
        told = Told.from_json(place.manifest)
        names = list(told.built_for.compute_capabilities)
        list(map(ComputeCapability.parse, names))
    except ValueError as error:
        raise ModelError(
            Code.MANIFEST_DAMAGED, f"{place.folder} has a damaged manifest: {error}", "build the cell again"
        ) from error
    return told.flavour, told.built_for.version, names, _compatible(place.manifest)


def _compatible(manifest: JsonObject) -> bool:
    """Whether the engine was built for every GPU from Ampere on."""
    record = manifest
    try:
        for name in ("steps", "build_engine", "fingerprint", "options"):
            record = object_in(record, name)
    except Malformed:
        return False
    return record.get("hardware_compatibility") == "ampere_plus"
