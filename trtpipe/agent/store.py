"""The store of an agent: its own, kept below a size by the collector while the agent runs.

It holds what clients sent and what was made for them. Nothing in it is needed for ever: a client sends again what is
missing. `$TRTPIPE_STORE` gives an agent another store, such as that of a client on the same machine; then whoever owns
that store collects it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from trtpipe.errors import StoreError
from trtpipe.homes import cache_home
from trtpipe.loader.project import Project
from trtpipe.stores.collector import Limits, Roots, collect
from trtpipe.stores.local import LocalStore
from trtpipe.workspace.stores import open_store

_VARIABLE = "TRTPIPE_STORE"
_FOLDER = "agent-store"
_EVERY_SECONDS = 600.0
_GRACE_SECONDS = 3600.0
"""What was sent this recently stays, because the action that needs it may not have begun yet."""


@dataclass(frozen=True, slots=True)
class AgentStore:
    """An agent's store, and the bytes that its artifacts may take; None if the agent does not collect it."""

    store: LocalStore
    most: int | None = None

    async def keep_small(self, say: Callable[[str], None]) -> None:
        """Run the collector now and then, until cancelled."""
        while self.most is not None:
            await asyncio.to_thread(self._collect, say)
            await asyncio.sleep(_EVERY_SECONDS)

    def _collect(self, say: Callable[[str], None]) -> None:
        with contextlib.suppress(
            StoreError
        ):  # another collector runs, or the disk is full; it is tried again
            found = collect(self.store, Roots(), Limits(max_size=self.most, grace=_GRACE_SECONDS))
            if found.artifacts:
                say(
                    f"removed {len(found.artifacts)} artifacts that were used longest ago from {self.store.root}"
                )


def open_agent_store(project: Path, most: int) -> AgentStore:
    """The store of an agent whose project is an empty directory. Raises SpecError, StoreError."""
    own = _VARIABLE not in os.environ
    home = cache_home()
    if own and home is not None:
        os.environ[_VARIABLE] = str(home / _FOLDER)  # for this process and the children that it starts
    store = open_store(Project(project))
    store.open()
    return AgentStore(store, most if own else None)
