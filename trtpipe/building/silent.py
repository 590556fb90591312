"""An observer for what is done in passing: nobody is told of it."""

from __future__ import annotations

from trtpipe.plan.events import Event


class Unheard:
    """Hears events for nobody: what matters is told by the command itself."""

    def emit(self, event: Event) -> None:
        """Let an event pass."""
