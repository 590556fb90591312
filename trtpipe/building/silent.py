"""An observer that ignores all events, for work that is not reported."""

from __future__ import annotations

from trtpipe.plan.events import Event


class Unheard:
    """Ignores all events; the command itself reports what matters."""

    def emit(self, event: Event) -> None:
        """Ignore an event."""
