"""The lanes of this machine: at most so many pieces of work at a time, and each GPU for one of them alone.

A GPU is leased (`leases.py`), so that other agents, also one that was started twice, keep off it: measuring kernels
beside other work would choose the wrong ones. Whoever waits can be stopped meanwhile.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from trtpipe.agent.leases import leased
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

        Raises Interrupted when `control` says so, and ToolchainError when the GPU cannot be leased.
        """
        began = time.monotonic()
        with ExitStack() as stack:
            if gpu:
                stack.enter_context(leased(self.folder, gpu, control))
            else:
                while not self._free.acquire(timeout=_POLL_SECONDS):
                    control.check()
                stack.callback(self._free.release)
            yield time.monotonic() - began
