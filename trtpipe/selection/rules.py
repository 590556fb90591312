"""Whether a machine can run an engine, and why not. Pure rules over the index and the machine's facts.

Sources: NVIDIA's pages on engine compatibility and its support matrices, for both flavours, and the table of drivers of
CUDA's minor version compatibility. TensorRT-RTX: the compute capability is among those that the engine was built for,
and the version is the very one; the engine runs on Linux and on Windows. TensorRT: the platform is the same; the
version is the very one, or a later one of the same major version (11 for 10 as well) if the engine is
version-compatible; the GPU is the model that it was built on, unless it has a hardware compatibility level.
"""

from __future__ import annotations

from trtpipe.packages.index import PackedEngine
from trtpipe.selection.machine import InstalledTensorRT, Machine
from trtpipe.shapes import format_size
from trtpipe.targets.capabilities import capabilities_of
from trtpipe.targets.compute_capability import AMPERE, ComputeCapability
from trtpipe.targets.toolchain import FLAVOURS, LEAST_DRIVER, TITLES, Flavour, parse_version
from trtpipe.toolchains.detect import DetectedGpu

_WHOLE = 4
"""The numbers of a whole version."""
_RUN_BY_NEXT = (10, 11)
"""The one step across major versions: version-compatible engines of 10 run with 11."""
_EMBEDDED = frozenset({ComputeCapability(8, 7), ComputeCapability(11, 0)})
"""Jetson and DRIVE, where TensorRT has no hardware compatibility."""


def why_not(engine: PackedEngine, machine: Machine, gpu: DetectedGpu) -> str:
    """Why an engine does not run on one GPU of a machine; empty when nothing speaks against it."""
    flavour = next((one for one in FLAVOURS if one == engine.flavour), None)
    if flavour is None:
        return f"its flavour {engine.flavour!r} is not known to this trtpipe"
    try:
        return (
            _other_gpu(engine, gpu)
            or _other_platform(engine, machine)
            or _too_little_memory(engine, gpu)
            or _old_driver(engine.driver, gpu, "it")
            or _no_tensorrt(engine, flavour, machine, gpu)
        )
    except ValueError as error:
        return f"its entry cannot be understood: {error}"


def _other_gpu(engine: PackedEngine, gpu: DetectedGpu) -> str:
    built_for = [ComputeCapability.parse(one) for one in engine.compute_capabilities]
    capability, level = gpu.compute_capability, engine.hardware_compatibility
    if level == "ampere_plus" and capability not in built_for:
        if capability in _EMBEDDED:
            return f"it is for desktop and server GPUs, and {capability.sm} is an embedded one"
        return "" if capability >= AMPERE else f"it is for {AMPERE.sm} and newer, the GPU is {capability.sm}"
    if capability not in built_for:
        return f"it is for {' '.join(one.sm for one in built_for)}, the GPU is {capability.sm}"
    if level == "none" and engine.gpu is not None and engine.gpu != gpu.name:
        return f"it is tied to {engine.gpu}, the GPU is {gpu.name or 'of a model that is not told'}"
    return ""


def _other_platform(engine: PackedEngine, machine: Machine) -> str:
    for needed, there in ((engine.os, machine.os), (engine.architecture, machine.architecture)):
        if needed is not None and needed != there:
            return f"it is for {needed}, the machine is {there}"
    return ""


def _too_little_memory(engine: PackedEngine, gpu: DetectedGpu) -> str:
    if engine.device_memory and gpu.memory_bytes and engine.device_memory > gpu.memory_bytes:
        needed, there = format_size(engine.device_memory), format_size(gpu.memory_bytes)
        return f"its weights take {needed}, the GPU has {there}"
    return ""


def _old_driver(least: str | None, gpu: DetectedGpu, what: str) -> str:
    there = parse_version(gpu.driver)
    if least is not None and there and there < parse_version(least):
        return f"{what} needs driver {least} or newer, there is {gpu.driver}"
    return ""


def _no_tensorrt(engine: PackedEngine, flavour: Flavour, machine: Machine, gpu: DetectedGpu) -> str:
    """Why no TensorRT of the machine runs it; the reason of the one that comes nearest."""
    if machine.tensorrt is None:
        return ""
    reasons = [_why_not_with(engine, one, gpu) for one in machine.tensorrt if one.flavour == flavour]
    if "" in reasons:
        return ""
    if any(reasons):
        return next(filter(None, reasons))
    return f"it needs {TITLES[flavour]} {engine.tensorrt}, which is not installed"


def _why_not_with(engine: PackedEngine, installed: InstalledTensorRT, gpu: DetectedGpu) -> str:
    if not _version_fits(engine, installed.version):
        later = " or a later one" if engine.version_compatible else ""
        return f"it needs {TITLES[installed.flavour]} {engine.tensorrt}{later}, there is {installed.version}"
    if gpu.compute_capability not in capabilities_of(installed.flavour, installed.version):
        return f"{installed} does not know {gpu.compute_capability.sm}"
    least = LEAST_DRIVER.get(installed.cuda or 0)
    return _old_driver(str(least) if least else None, gpu, f"{installed} for CUDA {installed.cuda}")


def _version_fits(engine: PackedEngine, version: str) -> bool:
    """Compares as many numbers as are known of the installed one."""
    built, there = parse_version(engine.tensorrt)[:_WHOLE], parse_version(version)[:_WHOLE]
    if built[: len(there)] == there:
        return True
    if not engine.version_compatible:
        return False
    same = built[0] == there[0] and built[: len(there)] <= there
    return same or (built[0], there[0]) == _RUN_BY_NEXT
