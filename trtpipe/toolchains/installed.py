"""Finds the TensorRT of the running interpreter without importing it, because an import is slow and takes memory."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from trtpipe.targets.toolchain import Flavour, Toolchain
from trtpipe.toolchains.lookup import find_packages, python_version


def installed_toolchain(flavour: Flavour, path: Sequence[str] | None = None) -> Toolchain | None:
    """The installed TensorRT of a flavour (the CUDA 13 packages before the CUDA 12 ones), or None.

    `path` replaces `sys.path`.
    """
    found = find_packages(flavour, list(sys.path if path is None else path))
    if found is None:
        return None
    return Toolchain(
        flavour,
        found["version"],
        (sys.executable,),
        tuple(found["site"]),
        python_version(),
        found["libraries"],
    )
