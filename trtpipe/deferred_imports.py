"""Defers the import of slow modules until first use: sympy, which onnx_ir needs for sums of dimensions.

trtpipe never adds dimensions, and importing sympy takes as long as everything else in a command together. Uses Python's
own `LazyLoader`; modules that are not installed are ignored.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

_DEFERRED = frozenset({"sympy", "onnx_ir._symbolic_shapes"})
"""The second looks functions of the first up while it is imported."""


class _Deferring:
    """An import finder that locates these modules normally and defers running them.

    It is none of `importlib.abc`, whose import takes longer than what it would check.
    """

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in _DEFERRED:
            return None
        found = PathFinder.find_spec(fullname, path, target)
        if found is not None and found.loader is not None:
            found.loader = importlib.util.LazyLoader(found.loader)
        return found


def defer_imports() -> None:
    """Installs the finder; calling it once is enough."""
    if not any(isinstance(finder, _Deferring) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Deferring())
