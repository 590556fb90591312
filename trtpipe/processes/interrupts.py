"""Ctrl-C and SIGTERM during a build: counted, so that running steps can end in an orderly way."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def counting_interrupts() -> Iterator[Callable[[], int]]:
    """Count Ctrl-C instead of raising KeyboardInterrupt at an arbitrary place; SIGTERM counts as two."""
    count = 0

    def press(number: int, _: FrameType | None) -> None:
        nonlocal count
        count += 1 if number == signal.SIGINT else 2

    if threading.current_thread() is not threading.main_thread():
        yield lambda: count
        return
    kinds = [signal.SIGINT, signal.SIGTERM]
    before = {kind: signal.signal(kind, press) for kind in kinds}
    try:
        yield lambda: count
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)
