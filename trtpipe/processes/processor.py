"""The kind of processor, as far as ONNX Runtime chooses its kernels by it; and the system that engines are tied to.

Kernels sum in different orders, so a model's results differ in the last digits from one kind of processor to another.
The kind is therefore recorded beside results, but is part of no key. ONNX Runtime chooses by these instruction set
extensions (MLAS's `platform.cpp`).
"""

from __future__ import annotations

import platform
import sys
from functools import cache
from pathlib import Path

from trtpipe.targets.toolchain import Flavour

PROCESSOR = "processor"
"""What a trace's summary calls it."""
RUNS_MODELS = "onnxruntime"
"""The package that runs models: a step that depends on it depends on the processor too."""
_CHOSEN_BY = ("amx_int8", "avx512_vnni", "avx512f", "avx_vnni", "avx2", "avx", "i8mm", "asimddp", "asimd")
"""Linux's names of extensions that have kernels of their own; the first that is present decides."""
_CPUINFO = Path("/proc/cpuinfo")


@cache
def processor_kind() -> str:
    """For example `x86_64 avx2`; the architecture alone when the system does not report extensions."""
    try:
        text = _CPUINFO.read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    return kind_in(platform.machine(), text)


def kind_in(machine: str, cpuinfo: str) -> str:
    """The kind of processor described by this text of Linux's /proc/cpuinfo."""
    lines = (line.partition(":") for line in cpuinfo.splitlines())
    flags = next((value.split() for name, _, value in lines if name.strip() in ("flags", "Features")), [])
    best = next((one for one in _CHOSEN_BY if one in flags), "")
    return f"{machine} {best}".strip()


def platform_of(flavour: Flavour) -> dict[str, dict[str, str]]:
    """The system that an engine built here runs on; nothing for TensorRT-RTX, whose engines run on any."""
    if flavour == "tensorrt_rtx":
        return {}
    return {"platform": {"system": sys.platform, "architecture": platform.machine()}}
