"""The machine and software that a build ran on, for its report; without host and user names."""

from __future__ import annotations

import platform
from importlib import metadata

from trtpipe import __version__

_PACKAGES = (
    "onnx",
    "onnxruntime",
    "numpy",
    "tensorrt-rtx-cu13",
    "tensorrt-cu13",
    "cuda-python",
    "matplotlib",
)


def environment_facts() -> dict[str, str]:
    """Names and values: trtpipe, Python, the system, and the versions of packages that are installed."""
    found = {
        "trtpipe": __version__,
        "python": f"{platform.python_implementation().lower()} {platform.python_version()}",
        "system": f"{platform.system()} {platform.machine()}",
    }
    return found | {name: version for name in _PACKAGES if (version := _version(name))}


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""
