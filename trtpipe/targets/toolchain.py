"""The value that identifies a TensorRT toolchain: its flavour and version, its interpreter and where it is installed.

Finding and installing toolchains is in `toolchains/`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from trtpipe.targets.interpreters import is_proved_equal

Flavour = Literal["tensorrt", "tensorrt_rtx"]

FLAVOURS: tuple[Flavour, ...] = ("tensorrt_rtx", "tensorrt")
"""Both flavours, the default one first."""

TITLES: Mapping[Flavour, str] = {"tensorrt_rtx": "TensorRT-RTX", "tensorrt": "TensorRT"}
"""What NVIDIA calls each flavour."""

LEAST_DRIVER: Mapping[int, int] = {12: 525, 13: 580}
"""CUDA → the oldest driver on which libraries for it run (NVIDIA's table of CUDA's minor version compatibility)."""


@dataclass(frozen=True, slots=True)
class Toolchain:
    """One TensorRT in one interpreter. Equal facts make equal keys, wherever it is installed."""

    flavour: Flavour
    version: str
    """The whole version of the package: `1.7.1.116`."""
    python: tuple[str, ...]
    """The command that starts the interpreter."""
    site: tuple[str, ...]
    """Directories for `sys.path` that hold the packages; empty while the toolchain is still to be provisioned."""
    python_version: str
    """Implementation and version: `cpython 3.11.7`."""
    libraries: Mapping[str, str] = field(default_factory=dict, hash=False)
    """Package → version of what it is made of; for reports, not for keys: CUDA 12 and 13 give the same bytes."""

    @property
    def ready(self) -> bool:
        """Whether it is on this machine already."""
        return bool(self.site)

    def facts(self) -> dict[str, str]:
        """The facts that enter a key, none of which depends on where the toolchain is installed.

        The interpreter is included unless it is proved to build the same engines as others.
        """
        known = {"flavour": self.flavour, "version": self.version}
        proved = is_proved_equal(self.flavour, self.version, self.python_version)
        return known if proved else {**known, "python": self.python_version}

    def __str__(self) -> str:
        return f"{TITLES[self.flavour]} {self.version}"


def parse_version(text: str) -> tuple[int, ...]:
    """The numbers of a version: `11.4.0.106` → (11, 4, 0, 106); a suffix such as `.post1` is left out."""
    match = re.match(r"\d+(\.\d+)*", text)
    return tuple(int(part) for part in match[0].split(".")) if match else ()


def version_matches(version: str, wanted: str) -> bool:
    """Whether a version is the one wanted: exactly, or by a prefix of whole numbers (`1.6.*`)."""
    if wanted.endswith(".*"):
        return version.startswith(wanted[:-1]) or version == wanted[:-2]
    return version == wanted


def install_line(flavour: Flavour, version: str) -> str:
    """The command that provisions a version."""
    return f"trtpipe toolchain install {version}" + (
        "" if flavour == "tensorrt_rtx" else f" --flavour {flavour}"
    )
