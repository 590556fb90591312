"""How a running action is asked to stop: first gracefully, then at once."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from trtpipe.errors import Interrupted
from trtpipe.problem_codes import Code


@dataclass(frozen=True, slots=True)
class Control:
    """Two signals from the thread that manages the build to the thread that runs an action."""

    cancelled: threading.Event = field(default_factory=threading.Event)
    killed: threading.Event = field(default_factory=threading.Event)

    def check(self) -> None:
        """Raises Interrupted when the build is being stopped."""
        if self.cancelled.is_set():
            raise Interrupted(Code.INTERRUPTED, "interrupted")
