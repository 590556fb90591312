"""An observer for what is done in passing: nobody is told of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class Unheard:
    """Hears events for nobody: what matters is told by the command itself."""

    def emit(self, event: Mapping[str, Any]) -> None:
        """Let an event pass."""
