"""Finds out what this machine offers to a fleet; nothing is configured by hand, and no CUDA context is made."""

from __future__ import annotations

import os
import platform
import socket
import sys
from importlib import metadata

from trtpipe import __version__
from trtpipe.building.build import default_jobs
from trtpipe.fleet.labels import Exchange, InstalledToolchain, Labels, Machine, package_key
from trtpipe.permissions import ALLOW_ALL
from trtpipe.processes.processor import processor_kind
from trtpipe.targets.toolchain import FLAVOURS, Toolchain
from trtpipe.toolchains.detect import detect_gpus
from trtpipe.toolchains.installed import installed_toolchain
from trtpipe.toolchains.lookup import python_version
from trtpipe.toolchains.provision import list_provisioned, provisioned_toolchain


def labels_here(name: str, lanes: int, exchange: Exchange, *, installs: bool, one: bool = False) -> Labels:
    """The labels of this machine. `lanes` is how much work without a GPU it takes at a time."""
    return Labels(
        name,
        machine_here(),
        __version__,
        python_version(),
        packages_here(),
        detect_gpus(),
        toolchains_here(),
        tuple(FLAVOURS) if installs else (),
        lanes,
        os.environ.get(ALLOW_ALL) == "1",
        one,
        exchange,
    )


def machine_here() -> Machine:
    """This machine."""
    about = (socket.gethostname(), sys.platform, platform.machine(), processor_kind())
    return Machine(*about, default_jobs(), memory_here())


def memory_here() -> int:
    """Bytes of main memory; 0 where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 0


def packages_here() -> dict[str, str]:
    """Every installed distribution under its normalised name (PEP 503) → its version."""
    found: dict[str, str] = {}
    for one in metadata.distributions():
        name = one.metadata["Name"]
        if name:
            found.setdefault(package_key(name), one.version)
    if "onnxruntime" not in found and "onnxruntime-gpu" in found:
        found["onnxruntime"] = found["onnxruntime-gpu"]  # it holds the same library
    return found


def toolchains_here() -> tuple[InstalledToolchain, ...]:
    """Every TensorRT that this interpreter can use: installed beside it, or provisioned by trtpipe."""
    found: dict[tuple[str, str], Toolchain] = {}
    for flavour in FLAVOURS:
        here = installed_toolchain(flavour)
        if here is not None:
            found[here.flavour, here.version] = here
    for one in list_provisioned():
        if one.usable:
            found.setdefault((one.flavour, one.version), provisioned_toolchain(one))
    return tuple(InstalledToolchain(one.flavour, one.version, one.facts()) for one in found.values())
