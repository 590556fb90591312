"""`trtpipe-toolchains.lock`: the SHA-256 of every wheel that a project's toolchains were installed from.

    schema: 1
    toolchains:
      tensorrt_rtx-1.6.1.120:
        tensorrt_rtx_cu13_libs-1.6.1.120-py3-none-manylinux_2_28_x86_64.whl: 736d…

It is separate from the lockfile, because it grows with the platforms and interpreters that a project is built on,
while the lockfile is the same on all of them. A wheel is trusted on first use; later ones must be identical.
"""

from __future__ import annotations

import platform
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from trtpipe.errors import ToolchainError
from trtpipe.files import held, read_regular, write_whole
from trtpipe.lockfile.reader import texts_of
from trtpipe.problem_codes import Code

LOCK_FILE = "trtpipe-toolchains.lock"
SCHEMA = 1
_MOST_BYTES = 64 << 20
HEADER = "# Written by trtpipe: commit it. The SHA-256 of what toolchains were installed from, by file.\n"
_SHA256 = re.compile(r"[0-9a-f]{64}")
_NAME = re.compile(r"[A-Za-z0-9_.+!-]+")

_OF_CUDA = (
    "cuda-toolkit", "nvidia-cuda-runtime", "nvidia-cuda-runtime-cu12", "nvidia-cuda-runtime-cu13",
)  # fmt: skip

Wheels = Mapping[str, str]
"""File name of a wheel, or of a source distribution → its SHA-256 in hex."""


@dataclass(frozen=True, slots=True)
class WheelLock:
    """The lock file at a path; a missing one is empty."""

    path: Path
    learns: bool = True
    """Whether wheels that it does not know yet are written down; `build --frozen` writes nothing."""

    def wheels(self, toolchain: str) -> dict[str, str]:
        """The wheels of a toolchain, `tensorrt_rtx-1.6.1.120`. Raises ToolchainError when the file is damaged."""
        return self._read().get(toolchain, {})

    def learn(self, toolchain: str, wheels: Wheels) -> bool:
        """Compare wheels with the known ones and add the others, unless it is frozen; returns whether the file changed.

        Raises ToolchainError when one has another SHA-256 in the lock, or when the lock is damaged.
        """
        known = self.wheels(toolchain)
        self.refuse_others(toolchain, wheels, known)
        if not self.learns or wheels.items() <= known.items():
            return False
        try:
            with held(self.path.parent / ".trtpipe" / "toolchains.lock"):
                record = self._read()
                record[toolchain] = {**record.get(toolchain, {}), **wheels}
                write_whole(self.path, _rendered(record).encode())
        except OSError:  # in a read-only project known wheels are compared, and new ones are not added
            return False
        return True

    def refuse_others(self, toolchain: str, wheels: Wheels, known: Wheels) -> None:
        """Raise ToolchainError when a wheel has another SHA-256 in the lock."""
        for name, sha256 in wheels.items():
            if known.get(name, sha256) != sha256:
                fact = f"{toolchain} was installed from another {name} than {self.path.name} names"
                raise ToolchainError(
                    Code.OTHER_PACKAGES,
                    fact,
                    f"it has SHA-256 {sha256[:16]}… instead of {known[name][:16]}…: run "
                    f"`trtpipe toolchain remove {toolchain}` and install it again from a source that you trust",
                )

    def _read(self) -> dict[str, dict[str, str]]:
        import yaml

        try:
            text = read_regular(self.path, _MOST_BYTES).decode()
        except FileNotFoundError:
            return {}
        except (OSError, UnicodeDecodeError) as error:
            raise self._damaged(str(error)) from error
        try:
            data = texts_of(text)
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            raise self._damaged(str(error).splitlines()[0]) from error
        if not isinstance(data, dict) or data.get("schema") != str(SCHEMA):
            raise self._damaged(f"it is not of schema {SCHEMA}")
        return self._checked(data.get("toolchains"))

    def _checked(self, toolchains: object) -> dict[str, dict[str, str]]:
        if not isinstance(toolchains, dict):
            raise self._damaged("'' is not a list of files with their SHA-256")
        for toolchain, wheels in toolchains.items():
            whole = isinstance(wheels, dict) and all(
                isinstance(sha256, str) and _NAME.fullmatch(str(name)) and _SHA256.fullmatch(sha256)
                for name, sha256 in wheels.items()
            )
            if not whole:
                raise self._damaged(f"{toolchain!r} is not a list of files with their SHA-256")
        return {str(name): dict(wheels) for name, wheels in toolchains.items()}

    def _damaged(self, why: str) -> ToolchainError:
        return ToolchainError(
            Code.TOOLCHAIN_LOCK,
            f"{self.path} cannot be read: {why}",
            "restore it from version control, or delete it and build again",
        )


def _rendered(record: Mapping[str, Wheels]) -> str:
    lines = [HEADER, f"schema: {SCHEMA}\n", "toolchains:\n"]
    for toolchain in sorted(record):
        lines += [
            f"  {toolchain}:\n",
            *(f"    {name}: {record[toolchain][name]}\n" for name in sorted(record[toolchain])),
        ]
    return "".join(lines)


def known_by_file(wheels: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """Wheels as an environment's manifest lists them, by file; those of unknown SHA-256 are left out."""
    return {one["file"]: one["sha256"] for one in wheels if one.get("file") and one.get("sha256")}


def parts_of(package: str) -> set[str]:
    """The packages that an installation of TensorRT contains in addition to its own, `tensorrt-rtx-cu13`."""
    return {f"{package}-bindings", f"{package}-libs", *_OF_CUDA}


def _belongs(package: str, packages: Iterable[str]) -> bool:
    return any(package == one or package in parts_of(one) for one in packages)


def required_hashes(wheels: Wheels, packages: Iterable[str]) -> list[str]:
    """Lines of a requirements file with hashes: every known package, with the hashes of files for this machine.

    Empty unless each of `packages` (`tensorrt-rtx-cu13`) has a file for this platform. Wheels of other packages are
    left out, so that the lock's author cannot choose what is installed.
    """
    packages = tuple(packages)
    fitting: dict[str, list[str]] = {}
    for name, sha256 in sorted(wheels.items()):
        parts = name.removesuffix(".whl").removesuffix(".tar.gz").split("-")
        package = parts[0].replace("_", "-").lower()
        if len(parts) >= 2 and fits_here(name) and _belongs(package, packages):
            fitting.setdefault(f"{package}=={parts[1]}", []).append(sha256)
    there = {one.partition("==")[0] for one in fitting}
    if not set(packages) <= there:
        return []
    return [f"{one} " + " ".join(f"--hash=sha256:{sha256}" for sha256 in fitting[one]) for one in fitting]


def fits_here(name: str) -> bool:
    """Whether a file is a source distribution, or a wheel for the running interpreter and platform, by its name."""
    if not name.endswith(".whl"):
        return True
    python, _, system = name.removesuffix(".whl").split("-")[-3:]
    own = f"cp{sys.version_info.major}{sys.version_info.minor}"
    pythons = python.split(".")
    if own not in pythons and "py3" not in pythons:
        return False
    here = {"linux": "linux", "win32": "win", "darwin": "macosx"}.get(sys.platform, sys.platform)
    machine = platform.machine().lower()
    return system == "any" or (
        here in system and (machine in system or machine.replace("x86_64", "amd64") in system)
    )
