"""trtpipe: a declarative YAML build system for NVIDIA TensorRT engines."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trtpipe.selection import select

__all__ = ["__version__", "select"]
__version__ = "0.1.0"

# ONNX Runtime reads this variable when it is loaded: from 1.29 on it sends telemetry and leaves files unless it is set.
# So it is set for this process and its children. Users who want the telemetry can set it to another value.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


def __getattr__(name: str) -> object:
    """`trtpipe.select`, imported when it is first used: the commands of this package need no such thing."""
    if name == "select":
        from trtpipe.selection import select

        return select
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
