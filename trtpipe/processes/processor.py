"""Which kind of processor this is, as far as it decides which kernels ONNX Runtime runs a model with.

Kernels add in different orders, so what a model computes differs in its last digits from one kind to another: that is
recorded beside results, and part of no key. ONNX Runtime chooses by these extensions (MLAS's `platform.cpp`).
"""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path

PROCESSOR = "processor"
"""What a trace's summary calls it."""
RUNS_MODELS = "onnxruntime"
"""The package that runs models: a step that depends on it depends on the processor too."""
_CHOSEN_BY = ("amx_int8", "avx512_vnni", "avx512f", "avx_vnni", "avx2", "avx", "i8mm", "asimddp", "asimd")
"""Linux's names of extensions that have kernels of their own; of several, the first counts."""
_CPUINFO = Path("/proc/cpuinfo")


@cache
def processor_kind() -> str:
    """`x86_64 avx2`; the architecture alone where the system does not tell its extensions."""
    try:
        text = _CPUINFO.read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    return kind_in(platform.machine(), text)


def kind_in(machine: str, cpuinfo: str) -> str:
    """The kind of processor that Linux describes so in /proc/cpuinfo."""
    lines = (line.partition(":") for line in cpuinfo.splitlines())
    flags = next((value.split() for name, _, value in lines if name.strip() in ("flags", "Features")), [])
    best = next((one for one in _CHOSEN_BY if one in flags), "")
    return f"{machine} {best}".strip()
