"""Finds an interpreter's TensorRT packages by their metadata, without importing TensorRT.

Standard library only and Python 3.8 syntax: this file is also sent, as text, to other interpreters, where it prints
its findings as JSON. Independent of the rest of trtpipe.
"""

from __future__ import annotations

import json
import platform
import sys
from importlib import metadata
from pathlib import Path
from typing import TypedDict

PACKAGES = {
    "tensorrt_rtx": ("tensorrt_rtx_cu13", "tensorrt_rtx_cu12", "tensorrt_rtx"),
    "tensorrt": ("tensorrt_cu13", "tensorrt_cu12", "tensorrt"),
}
"""Flavour → the distributions that hold its module, preferred first; the flavour is the module's name."""


class Found(TypedDict):
    """The facts about a TensorRT that was found."""

    version: str
    site: list[str]
    """The directories for `sys.path`."""
    libraries: dict[str, str]
    """Package → version of what it is made of."""


_PARTS = ("", "_bindings", "_libs")


def python_version() -> str:
    """Implementation and version of the running interpreter: `cpython 3.11.7`."""
    return f"{sys.implementation.name} {platform.python_version()}"


def find_packages(flavour: str, path: list[str]) -> Found | None:
    """Version, directories and parts of the TensorRT of a flavour on a search path, or None."""
    for name in PACKAGES[flavour]:
        version = next((one.version for one in metadata.distributions(name=name, path=path)), None)
        if not version:
            continue
        parts = {name + part: found for part in _PARTS if (found := _part(name + part, version, path))}
        site = list(dict.fromkeys(parts.values()))
        if any((Path(folder) / flavour).is_dir() for folder in site):
            return {"version": version, "site": site, "libraries": dict.fromkeys(parts, version)}
    return None


def _part(name: str, version: str, path: list[str]) -> str:
    """The directory of a distribution of exactly that version, because other versions' libraries would not load."""
    found = (one for one in metadata.distributions(name=name, path=path) if one.version == version)
    return next((str(Path(str(one.locate_file(""))).absolute()) for one in found), "")


def _find_by_import(flavour: str) -> Found | None:
    """Imports a TensorRT without package metadata, because only its module knows its version."""
    try:
        module = __import__(flavour)
    except ImportError:
        return None
    folder = str(Path(str(module.__file__)).absolute().parent.parent)
    return {"version": str(module.__version__), "site": [folder], "libraries": {}}


if __name__ == "__main__":
    asked = sys.argv[-1]
    answer = find_packages(asked, sys.path) or _find_by_import(asked)
    sys.stdout.write("\n" + json.dumps({"python": python_version(), "found": answer}) + "\n")
