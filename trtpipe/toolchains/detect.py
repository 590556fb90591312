"""Detects the NVIDIA GPUs of this machine without creating a CUDA context. Having no GPU is not an error.

Three sources are tried, and the first that answers is used: NVML, which comes with the driver; `nvidia-smi`, if only
that can reach the driver; the CUDA runtime, for Jetsons whose driver has no NVML. If there is no sign of a driver,
no library is loaded. CUDA_VISIBLE_DEVICES hides GPUs here as it does from TensorRT.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from types import ModuleType

from trtpipe.errors import Problem
from trtpipe.json_values import Json
from trtpipe.problem_codes import Code
from trtpipe.targets.compute_capability import ComputeCapability

_DRIVER_TRACES = (
    "/proc/driver/nvidia",
    "/dev/nvidiactl",
    "/dev/nvidia0",
    "/dev/dxg",  # WSL
    "/dev/nvhost-ctrl-gpu",  # Jetson
    "/dev/nvgpu",
)
_SMI_SECONDS = 20
_SMI_FIELDS = "index,name,compute_cap,uuid,memory.total,driver_version"
_TEXT_BYTES = 96
_MEBIBYTE = 1 << 20


@dataclass(frozen=True, slots=True)
class DetectedGpu:
    """One GPU as described by its driver; unknown texts are empty, unknown numbers 0."""

    index: int
    name: str
    compute_capability: ComputeCapability
    uuid: str = ""
    memory_bytes: int = 0
    driver: str = ""
    """The driver's version: `580.95.05`."""
    cuda: str = ""
    """The newest CUDA that the driver runs: `13.0`."""

    def to_json(self) -> dict[str, Json]:
        """This GPU as plain JSON values."""
        return {**asdict(self), "compute_capability": self.compute_capability.sm}


def detect_gpus(environment: Mapping[str, str] = os.environ) -> tuple[DetectedGpu, ...]:
    """The GPUs that a program started here would see; empty without one, without a driver, or with a broken one."""
    if not driver_may_be_here():
        return ()
    for source in (_from_nvml, _from_smi, _from_runtime):
        found = source()
        if found:
            return found if source is _from_runtime else _visible(found, environment)
    return ()


def driver_may_be_here() -> bool:
    """Whether there is any sign of an NVIDIA driver; takes a few stat calls."""
    if sys.platform == "win32":
        return (Path(os.environ.get("SYSTEMROOT", r"C:\Windows")) / "System32" / "nvml.dll").exists()
    return sys.platform.startswith("linux") and any(Path(trace).exists() for trace in _DRIVER_TRACES)


def only_visible(gpu: DetectedGpu) -> dict[str, str]:
    """The variables of a process that shall see no other GPU than this one, which is then its number 0."""
    if gpu.uuid:
        return {"CUDA_VISIBLE_DEVICES": gpu.uuid}
    return {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": str(gpu.index)}


def this_gpu(found: tuple[DetectedGpu, ...]) -> ComputeCapability | Problem:
    """The GPU that `this` refers to; a Problem when there is no GPU, or several kinds."""
    kinds = {gpu.compute_capability for gpu in found}
    if not kinds:
        return Problem(
            Code.NO_GPU, "'this' machine has no NVIDIA GPU", "name the GPU to build for: rtx4090, L4, sm89"
        )
    if len(kinds) > 1:
        names = ", ".join(f"{gpu.name!r} ({gpu.compute_capability.sm})" for gpu in found)
        return Problem(
            Code.AMBIGUOUS_GPU,
            f"'this' could be any of {names}",
            "name one, or set CUDA_VISIBLE_DEVICES to the UUID of one, as `nvidia-smi -L` lists them",
        )
    return kinds.pop()


def _visible(found: tuple[DetectedGpu, ...], environment: Mapping[str, str]) -> tuple[DetectedGpu, ...]:
    """The GPUs that CUDA_VISIBLE_DEVICES selects, in its order; it may contain indices or prefixes of UUIDs.

    CUDA numbers the fastest GPU 0 unless CUDA_DEVICE_ORDER says PCI_BUS_ID; the driver always orders by bus. So
    with GPUs of different names a number may mean any of them, and all are kept.
    """
    text = environment.get("CUDA_VISIBLE_DEVICES")
    if text is None:
        return found
    by_bus = environment.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID" or len({gpu.name for gpu in found}) == 1
    shown = []
    for word in (part.strip() for part in text.split(",")):
        if word.isdigit():
            if not by_bus:
                return found
            match = [gpu for gpu in found if gpu.index == int(word)]
        else:
            match = [gpu for gpu in found if word and gpu.uuid.startswith(word)]
        if not match:
            break  # like CUDA, which ignores everything after an unknown entry
        shown.append(match[0])
    return tuple(shown)


def _from_nvml() -> tuple[DetectedGpu, ...]:
    """Asks the driver's management library, which needs no CUDA."""
    try:
        nvml = ctypes.CDLL("nvml.dll" if sys.platform == "win32" else "libnvidia-ml.so.1")
        if nvml.nvmlInit_v2() != 0:
            return ()
    except (OSError, AttributeError):
        return ()
    try:
        return tuple(_described(nvml))
    finally:
        nvml.nvmlShutdown()


class _Memory(ctypes.Structure):
    """Bytes: nvmlMemory_t."""

    _fields_ = (("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong))


def _described(nvml: ctypes.CDLL) -> Iterator[DetectedGpu]:
    driver, cuda = _nvml_text(nvml.nvmlSystemGetDriverVersion), _nvml_cuda(nvml)
    count = ctypes.c_uint()
    if nvml.nvmlDeviceGetCount_v2(ctypes.byref(count)) != 0:
        return
    for index in range(count.value):
        device, major, minor, memory = ctypes.c_void_p(), ctypes.c_int(), ctypes.c_int(), _Memory()
        if nvml.nvmlDeviceGetHandleByIndex_v2(ctypes.c_uint(index), ctypes.byref(device)) != 0:
            continue  # the GPU was lost, or this user has no permission
        both = (ctypes.byref(major), ctypes.byref(minor))
        if nvml.nvmlDeviceGetCudaComputeCapability(device, *both) != 0:
            continue
        nvml.nvmlDeviceGetMemoryInfo(device, ctypes.byref(memory))
        yield DetectedGpu(
            index,
            _nvml_text(partial(nvml.nvmlDeviceGetName, device)),
            ComputeCapability(major.value, minor.value),
            _nvml_text(partial(nvml.nvmlDeviceGetUUID, device)),
            int(memory.total),
            driver,
            cuda,
        )


def _nvml_text(ask: Callable[[ctypes.Array[ctypes.c_char], ctypes.c_uint], int]) -> str:
    text = ctypes.create_string_buffer(_TEXT_BYTES)
    return text.value.decode(errors="replace") if ask(text, ctypes.c_uint(_TEXT_BYTES)) == 0 else ""


def _nvml_cuda(nvml: ctypes.CDLL) -> str:
    number = ctypes.c_int()
    return (
        _cuda_text(number.value) if nvml.nvmlSystemGetCudaDriverVersion_v2(ctypes.byref(number)) == 0 else ""
    )


def _cuda_text(number: int) -> str:
    """13020 → `13.2`."""
    return f"{number // 1000}.{number % 1000 // 10}"


def _from_smi() -> tuple[DetectedGpu, ...]:
    """Asks the driver's command-line tool."""
    import subprocess  # imported here, because NVML nearly always answers, and `select` has no time to lose

    from trtpipe.launcher.children import run_to_end
    from trtpipe.launcher.environment import environment_of

    command = ["nvidia-smi", f"--query-gpu={_SMI_FIELDS}", "--format=csv,noheader,nounits"]
    try:
        done = run_to_end(command, environment_of("stage"), seconds=_SMI_SECONDS)
    except (OSError, subprocess.SubprocessError):
        return ()
    return tuple(_smi_gpus(done.stdout.decode(errors="replace"))) if done.returncode == 0 else ()


def _smi_gpus(text: str) -> Iterator[DetectedGpu]:
    for line in text.splitlines():
        fields = [field.strip() for field in line.split(",")]
        with contextlib.suppress(ValueError):  # other lines are messages
            index, name, capability, uuid, memory, driver = fields
            size = int(memory) * _MEBIBYTE if memory.isdigit() else 0
            yield DetectedGpu(int(index), name, ComputeCapability.parse(capability), uuid, size, driver)


def _from_runtime() -> tuple[DetectedGpu, ...]:
    """Asks the CUDA runtime, which applies CUDA_VISIBLE_DEVICES itself. Querying properties creates no context."""
    try:
        from cuda.bindings import runtime
    except ImportError:
        return ()
    try:
        _, version = runtime.cudaDriverGetVersion()
        if not version:
            return ()
        error, count = runtime.cudaGetDeviceCount()
        if int(error) != 0:
            return ()
        return tuple(_runtime_gpus(runtime, int(count), _cuda_text(int(version))))
    except RuntimeError:  # the driver is installed only partly
        return ()


def _runtime_gpus(runtime: ModuleType, count: int, cuda: str) -> Iterator[DetectedGpu]:
    for index in range(count):
        error, about = runtime.cudaGetDeviceProperties(index)
        if int(error) == 0:
            name = about.name.decode(errors="replace").rstrip("\0")
            capability = ComputeCapability(int(about.major), int(about.minor))
            yield DetectedGpu(index, name, capability, "", int(about.totalGlobalMem), "", cuda)
