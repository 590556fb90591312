"""Times two things in turn, so that whatever else the machine does falls on both."""

from __future__ import annotations

import os
import time
from collections.abc import Callable


def keep_stores_apart() -> None:
    """Let each project of a bench have its own store, so that nothing is left in the user's own."""
    os.environ.setdefault("TRTPIPE_STORE", ".trtpipe/store")


def interleaved(runs: int, *things: Callable[[], object]) -> list[list[float]]:
    """Seconds of each thing's runs; one run of each is thrown away first."""
    seconds: list[list[float]] = [[] for _ in things]
    for turn in range(runs + 1):
        for thing, taken in zip(things, seconds, strict=True):
            began = time.perf_counter()
            thing()
            if turn:
                taken.append(time.perf_counter() - began)
    return seconds
