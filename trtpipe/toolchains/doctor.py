"""Examines this machine: interpreter, toolchains, GPUs, and obstacles with their consequences.

Changes nothing, does not import TensorRT and uses no network. The result is formatted elsewhere.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Literal

from trtpipe.json_values import Json
from trtpipe.launcher.children import run_to_end
from trtpipe.launcher.environment import environment_of
from trtpipe.targets.capabilities import capabilities_of, runnable_here
from trtpipe.targets.toolchain import FLAVOURS, TITLES, Flavour, Toolchain
from trtpipe.toolchains.detect import DetectedGpu, detect_gpus, driver_may_be_here
from trtpipe.toolchains.installed import installed_toolchain
from trtpipe.toolchains.lookup import python_version
from trtpipe.toolchains.pip import find_installer
from trtpipe.toolchains.provision import Provisioned, changes_in, list_provisioned, toolchains_root

Status = Literal["ok", "warn", "no"]

_DEPENDENCIES = (
    "pyyaml", "pydantic", "typer", "rich", "numpy", "onnx", "onnx-ir", "onnxruntime", "blake3", "filelock",
)  # fmt: skip
_OLDEST_PYTHON = (3, 10)
_LOW_SPACE = 2 << 30
_PROBE_SECONDS = 30
_RANDOMISATION_PROBE = """
import ctypes
call = ctypes.CDLL(None, use_errno=True).personality
call.argtypes = [ctypes.c_ulong]
before = call(0xFFFFFFFF)
print(before >= 0 and call(before | 0x0040000) >= 0)
"""
"""Linux personality(2): the query value, then ADDR_NO_RANDOMIZE added to what is set."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the examination: the subject, the finding, and the consequence if it is not `ok`."""

    topic: str
    status: Status
    fact: str
    reason: str = ""

    def to_json(self) -> dict[str, str]:
        """This finding as plain JSON values."""
        return {"topic": self.topic, "status": self.status, "fact": self.fact, "reason": self.reason}


@dataclass(frozen=True, slots=True)
class DoctorReport:
    """The findings in order: interpreter, packages, toolchains, GPUs, the rest."""

    findings: tuple[Finding, ...]
    toolchains: tuple[Toolchain, ...] = ()
    provisioned: tuple[Provisioned, ...] = ()
    gpus: tuple[DetectedGpu, ...] = ()
    folders: tuple[Path, ...] = field(default=(), repr=False)

    @property
    def status(self) -> Status:
        """The worst status; `no` when something that builds need is missing."""
        found = {finding.status for finding in self.findings}
        return "no" if "no" in found else "warn" if "warn" in found else "ok"

    def to_json(self) -> dict[str, Json]:
        """This report as plain JSON values."""
        return {
            "status": self.status,
            "findings": [finding.to_json() for finding in self.findings],
            "toolchains": [{**one.facts(), "libraries": dict(one.libraries)} for one in self.toolchains],
            "provisioned": [_provisioned_json(one) for one in self.provisioned],
            "gpus": [gpu.to_json() for gpu in self.gpus],
        }


def examine(folders: tuple[Path, ...] = (), known: tuple[Finding, ...] = ()) -> DoctorReport:
    """Examine this machine; `folders` are checked for free space, in addition to the toolchains' own.

    `known` are findings from elsewhere, for example about the project.
    """
    installed = tuple(one for flavour in FLAVOURS if (one := installed_toolchain(flavour)) is not None)
    provisioned = list_provisioned()
    gpus = detect_gpus()
    findings = (
        _python(),
        *_dependencies(),
        *_installed(installed),
        *_provisioned(provisioned),
        *_gpus(gpus),
        *_running(installed, gpus),
        _randomisation(),
        *known,
        *_space((toolchains_root(), *folders)),
        _installer(),
    )
    return DoctorReport(findings, installed, provisioned, gpus, folders)


def _python() -> Finding:
    fact = f"{python_version()} on {platform.system()} {platform.machine()}, {os.cpu_count() or 1} CPUs"
    if sys.version_info < _OLDEST_PYTHON:
        return Finding("python", "no", fact, "trtpipe needs Python 3.10 or newer")
    return Finding("python", "ok", fact)


def _dependencies() -> Iterator[Finding]:
    versions = {name: _version_of(name) for name in _DEPENDENCIES}
    yield Finding(
        "packages", "ok", ", ".join(f"{name} {version}" for name, version in versions.items() if version)
    )
    missing = [name for name, version in versions.items() if not version]
    if missing:
        yield Finding("packages", "no", f"missing: {', '.join(missing)}", "run `pip install trtpipe` again")


def _version_of(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def _installed(installed: tuple[Toolchain, ...]) -> Iterator[Finding]:
    for flavour in FLAVOURS:
        found = next((one for one in installed if one.flavour == flavour), None)
        if found is not None:
            yield Finding(
                "toolchain", "ok", f"{found} is installed; {_builds_for(found.flavour, found.version)}"
            )
        elif flavour == "tensorrt_rtx":
            yield Finding(
                "toolchain",
                "warn",
                "TensorRT-RTX is not installed",
                "targets without a `toolchain:` cannot be built: run `pip install tensorrt-rtx-cu13`",
            )
    if not installed:
        yield Finding(
            "toolchain", "warn", "no TensorRT is installed", "name exact versions under `toolchains:`"
        )


def _provisioned(provisioned: tuple[Provisioned, ...]) -> Iterator[Finding]:
    for one in provisioned:
        title = f"{TITLES[one.flavour]} {one.version} ({one.python}, {one.platform}) is provisioned"
        if one.damaged:
            yield Finding(
                "toolchain", "warn", title, f"{one.damaged}: it will be installed again when it is used"
            )
        elif not one.usable:
            yield Finding(
                "toolchain", "warn", title, f"it is for another interpreter than {python_version()}"
            )
        elif changed := changes_in(one):
            reason = f"builds refuse it; `trtpipe toolchain verify {one.flavour}-{one.version}` says more"
            yield Finding("toolchain", "warn", f"{title}, and was changed: {changed[0]}", reason)
        else:
            yield Finding("toolchain", "ok", f"{title}; {_builds_for(one.flavour, one.version)}")


def _builds_for(flavour: Flavour, version: str) -> str:
    targets = ", ".join(one.sm for one in capabilities_of(flavour, version))
    return f"builds for {targets}" + (", each on its own GPU" if flavour == "tensorrt" else "")


def _gpus(gpus: tuple[DetectedGpu, ...]) -> Iterator[Finding]:
    for gpu in gpus:
        memory = f", {gpu.memory_bytes / (1 << 30):.0f} GiB" if gpu.memory_bytes else ""
        driver = f", driver {gpu.driver}" if gpu.driver else ""
        fact = f"{gpu.index}: {gpu.name} ({gpu.compute_capability.sm}){memory}{driver}"
        yield Finding("gpu", "ok", fact)
    if not gpus and driver_may_be_here():
        yield Finding(
            "gpu", "warn", "a driver is there, but no GPU answers", "run nvidia-smi to check the driver"
        )
    elif not gpus:
        reason = "TensorRT-RTX engines are built and checked here all the same; running them needs their GPU"
        yield Finding("gpu", "warn", "no NVIDIA GPU", reason)


def _running(installed: tuple[Toolchain, ...], gpus: tuple[DetectedGpu, ...]) -> Iterator[Finding]:
    """Whether engines of each installed TensorRT can run on any GPU of this machine."""
    here = [gpu.compute_capability for gpu in gpus]
    for toolchain in installed if gpus else ():
        reason = runnable_here(capabilities_of(toolchain.flavour, toolchain.version), here)
        if reason:
            yield Finding("running", "warn", f"engines of {toolchain} cannot run here", reason)
        else:
            yield Finding("running", "ok", f"engines of {toolchain} can run here")


def _randomisation() -> Finding:
    if address_space_is_limited():
        return Finding(
            "reproducibility",
            "warn",
            "the address space is limited (`ulimit -v`): builds cannot be kept at fixed addresses",
            "engines of some networks will differ in generated names from one build to the next; "
            "they are compared by their normalised digest, and some differ in that as well",
        )
    can = "can" if can_switch_off_randomisation() else "cannot"
    fact = f"address randomisation {can} be switched off for builds"
    reason = (
        "" if can == "can" else "they are kept at fixed addresses all the same, and their manifests say so"
    )
    return Finding("reproducibility", "ok", fact, reason)


def address_space_is_limited() -> bool:
    """Whether the address space of this process, and so of a build, is limited."""
    if sys.platform == "win32":
        return False
    import resource

    return resource.getrlimit(resource.RLIMIT_AS)[0] != resource.RLIM_INFINITY


def can_switch_off_randomisation() -> bool:
    """Whether a process here may switch off address randomisation; tested in a separate process."""
    if sys.platform != "linux":
        return False
    command = [sys.executable, "-I", "-S", "-c", _RANDOMISATION_PROBE]
    try:
        done = run_to_end(command, environment_of("stage"), seconds=_PROBE_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.stdout.strip() == b"True"


def _space(folders: tuple[Path, ...]) -> Iterator[Finding]:
    for folder in dict.fromkeys(folders):
        free = shutil.disk_usage(_existing(folder)).free
        fact = f"{free / (1 << 30):.1f} GiB free in {folder}"
        if free < _LOW_SPACE:
            yield Finding(
                "space", "warn", fact, "a toolchain takes up to 1 GiB, and engines are as large as models"
            )
        else:
            yield Finding("space", "ok", fact)


def _existing(folder: Path) -> Path:
    """The folder, or the nearest existing one above it."""
    return next(one for one in (folder.absolute(), *folder.absolute().parents) if one.exists())


def _installer() -> Finding:
    command = find_installer()
    if command is None:
        reason = "toolchains cannot be provisioned: install pip or uv"
        return Finding("installer", "warn", "neither pip nor uv", reason)
    return Finding("installer", "ok", f"toolchains are provisioned with `{' '.join(command)}`")


def _provisioned_json(one: Provisioned) -> dict[str, Json]:
    return {
        "flavour": one.flavour,
        "version": one.version,
        "python": one.python,
        "platform": one.platform,
        "folder": str(one.folder),
        "nbytes": one.nbytes,
        "damaged": one.damaged,
        "usable": one.usable,
    }
