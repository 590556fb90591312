"""What a machine has that decides which engine it can run: GPUs, driver, TensorRT, system. Imports no TensorRT.

TensorRT is found by names alone: packages of this interpreter by their metadata's folders, libraries of the system by
their file names. Environments that trtpipe provisioned are left out, because a loader cannot import from them.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from trtpipe.errors import Problem, SpecError, WrongValue
from trtpipe.json_values import Json
from trtpipe.problem_codes import Code
from trtpipe.shapes import parse_size
from trtpipe.targets.gpus import called, gpu_names, resolve_gpu
from trtpipe.targets.toolchain import TITLES, Flavour, parse_version
from trtpipe.toolchains.detect import DetectedGpu, detect_gpus

_FIRST_TENSORRT = 8
"""TensorRT-RTX is at 1; a major version from here on is the flavour tensorrt's."""
_METADATA = re.compile(r"(tensorrt|tensorrt_rtx)(?:_cu(\d+))?-(\d+(?:\.\d+)+)[^-]*\.dist-info")
_LIBRARIES = re.compile(r"lib(nvinfer|tensorrt_rtx)\.so\.(\d+\.\d+(?:\.\d+)*)")
_LIBRARY_FOLDERS = (
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/usr/lib64",
    "/usr/local/lib",
    "/usr/local/tensorrt/lib",
)
_VERSION = re.compile(r"(?:(tensorrt|tensorrt_rtx)[ =]+)?(\d+(?:\.\d+)*)")
_ARCHITECTURES = {"AMD64": "x86_64", "x64": "x86_64", "arm64": "aarch64", "ARM64": "aarch64"}
_SYSTEMS = {"linux": "linux", "win32": "windows", "windows": "windows"}


@dataclass(frozen=True, slots=True)
class InstalledTensorRT:
    """A TensorRT that a loader on the machine can use."""

    flavour: Flavour
    version: str
    """As much of it as is known: a package tells four numbers, a library's name three."""
    cuda: int | None = None
    """The CUDA that its libraries were made for, which decides the driver that they need."""

    def __str__(self) -> str:
        return f"{TITLES[self.flavour]} {self.version}"


@dataclass(frozen=True, slots=True)
class Machine:
    """The facts that decide. `tensorrt` is None where nobody said which versions there are: then any will do."""

    gpus: tuple[DetectedGpu, ...]
    tensorrt: tuple[InstalledTensorRT, ...] | None
    os: str
    architecture: str
    pretended: bool = False
    """Whether the caller described it, rather than this one being looked at."""

    def to_json(self) -> dict[str, Json]:
        """These facts as plain JSON values."""
        installed = self.tensorrt
        versions: Json = None if installed is None else [str(one) for one in installed]
        return {
            "gpus": [one.to_json() for one in self.gpus],
            "tensorrt": versions,
            "os": self.os,
            "architecture": self.architecture,
            "pretended": self.pretended,
        }


def this_machine(environment: Mapping[str, str] = os.environ) -> Machine:
    """The machine that this runs on. Takes what asking the driver takes, and a few listed directories."""
    found = [*_packages(sys.path), *_libraries(_library_folders(environment))]
    known = tuple(dict.fromkeys(found))
    return Machine(detect_gpus(environment), known, system_here(), architecture_here())


def described_machine(
    gpu: str, versions: Sequence[str] = (), driver: str = "", memory: str = "", system: str = ""
) -> Machine:
    """Another machine: its GPU's name or compute capability, and what else is known. Raises SpecError.

    `versions` are its TensorRTs, `1.7.1` or `tensorrt 11.4.0.106`; `memory` is the GPU's, `8GiB`; `system` is `linux`,
    `windows` or one of them with an architecture, `linux-aarch64`.
    """
    capability = resolve_gpu(gpu)
    if isinstance(capability, Problem):
        raise SpecError(capability)
    if driver and not parse_version(driver):
        raise SpecError(
            Code.BAD_ARGUMENT, f"{driver!r} is no version of a driver: write it as 580 or 580.95.05"
        )
    names = called(gpu, gpu_names())
    one = DetectedGpu(0, names[0] if len(names) == 1 else "", capability, "", _bytes(memory), driver)
    name, _, architecture = (system or system_here()).partition("-")
    if name not in _SYSTEMS.values():
        raise SpecError(Code.UNKNOWN_VALUE, f"{system!r} is no system: write linux, windows or linux-aarch64")
    known = tuple(map(installed_called, versions)) if versions else None
    return Machine((one,), known, name, architecture or architecture_here(), pretended=True)


def installed_called(text: str) -> InstalledTensorRT:
    """The TensorRT that a text means: the flavour tells itself by the version. Raises SpecError."""
    match = _VERSION.fullmatch(text.strip())
    if match is None:
        raise SpecError(
            Code.BAD_ARGUMENT, f"{text!r} is no version of TensorRT: write it as 1.7.1 or 11.4.0.106"
        )
    new = parse_version(match[2])[0] >= _FIRST_TENSORRT
    flavour: Flavour = "tensorrt" if match[1] == "tensorrt" or (match[1] is None and new) else "tensorrt_rtx"
    return InstalledTensorRT(flavour, match[2])


def _bytes(memory: str) -> int:
    try:
        return parse_size(memory) if memory else 0
    except WrongValue as error:
        raise SpecError(Code.BAD_ARGUMENT, f"{memory!r} is no size of a memory: write it as 8GiB") from error


def system_here() -> str:
    """`linux` or `windows`; any other system by Python's name for it."""
    return _SYSTEMS.get(sys.platform, sys.platform)


def architecture_here() -> str:
    """`x86_64` or `aarch64`."""
    if hasattr(os, "uname"):
        machine = os.uname().machine
    else:  # on Windows
        import platform

        machine = platform.machine()
    return _ARCHITECTURES.get(machine, machine)


def _packages(path: Iterable[str]) -> Iterator[InstalledTensorRT]:
    """The packages of an interpreter, by the names of the folders with their metadata."""
    for name in _names_in(path):
        match = _METADATA.fullmatch(name)
        if match:
            flavour: Flavour = "tensorrt_rtx" if match[1] == "tensorrt_rtx" else "tensorrt"
            yield InstalledTensorRT(flavour, match[3], int(match[2]) if match[2] else None)


def _libraries(folders: Iterable[str]) -> Iterator[InstalledTensorRT]:
    """The libraries of the system, by the names of their files."""
    for name in _names_in(folders):
        match = _LIBRARIES.fullmatch(name)
        if match:
            yield InstalledTensorRT("tensorrt" if match[1] == "nvinfer" else "tensorrt_rtx", match[2])


def _library_folders(environment: Mapping[str, str]) -> list[str]:
    named = environment.get("LD_LIBRARY_PATH", "").split(os.pathsep)
    return [*filter(None, named), *_LIBRARY_FOLDERS] if sys.platform != "win32" else []


def _names_in(folders: Iterable[str]) -> Iterator[str]:
    for folder in dict.fromkeys(folders):
        with contextlib.suppress(OSError), os.scandir(folder or ".") as entries:
            yield from sorted(entry.name for entry in entries)
