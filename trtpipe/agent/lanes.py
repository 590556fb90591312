"""The lanes of this machine: at most so many pieces of work at a time, and each GPU for one of them alone.

A GPU is leased by a lock on a file, so that also another agent of this user, or one that was started twice, keeps off
it: measuring kernels beside other work would choose the wrong ones. Whoever waits can be stopped meanwhile.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from trtpipe.digests import digest_bytes
from trtpipe.plan.control import Control

_POLL_SECONDS = 0.1


@dataclass
class AgentLanes:
    """The lanes of one agent. `folder` holds the files that GPUs are leased by."""

    lanes: int
    folder: Path
    _free: threading.Semaphore = field(init=False)

    def __post_init__(self) -> None:
        self._free = threading.Semaphore(self.lanes)

    @contextmanager
    def hold(self, gpu: str, control: Control) -> Iterator[float]:
        """Hold a GPU, or a lane without one if `gpu` is empty; gives the seconds that this took to get.

        Raises Interrupted when `control` says so.
        """
        began = time.monotonic()
        with ExitStack() as stack:
            if gpu:
                stack.enter_context(self._leased(gpu, control))
            else:
                while not self._free.acquire(timeout=_POLL_SECONDS):
                    control.check()
                stack.callback(self._free.release)
            yield time.monotonic() - began

    @contextmanager
    def _leased(self, gpu: str, control: Control) -> Iterator[None]:
        from filelock import FileLock, Timeout

        self.folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.folder / f"gpu-{digest_bytes(gpu.encode()).hex[:16]}.lock", thread_local=False)
        while True:
            try:
                lock.acquire(timeout=_POLL_SECONDS, poll_interval=_POLL_SECONDS / 2)
                break
            except Timeout:
                control.check()
        try:
            yield
        finally:
            lock.release()
