"""Decides whose traces are trusted: those from other places are kept separate and checked each time they are read.

What a trace claims is only as trustworthy as its writer. Traces that were made on this machine are trusted by all
projects that use a store. Those that came from a remote, a shared directory or a project's former store are trusted
only by projects whose configuration names that place, and only as long as it does. If there are trusted keys, one of
them must have signed the trace, and it must be trusted at the time of reading: once a key is removed, all traces that
it signed lose their validity at once, whatever was kept.

Artifacts need no trust because they are named by their digests.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from trtpipe.errors import StoreError
from trtpipe.plan.trace import Trace
from trtpipe.stores.judgement import text_of, vouched
from trtpipe.stores.kept import Kept
from trtpipe.stores.local import LocalStore
from trtpipe.stores.remote import Remote
from trtpipe.stores.signatures import Unsigned
from trtpipe.stores.strangers import Untrusted


class Voucher(Protocol):
    """A place with traces that are not this user's own."""

    def trace(self, key: str) -> Trace | None:
        """The trace of a key, if there is a trusted one. Raises StoreError."""

    def has(self, key: str) -> bool:
        """Whether this machine has a trace of that key from there, trusted or not."""


@dataclass(slots=True)
class SharedDirectory:
    """A store in a directory that is only read, in place."""

    store: LocalStore
    trusted: tuple[str, ...]
    warn: Callable[[str], None]
    _told: bool = False
    _judged: dict[str, Trace] = field(default_factory=dict)

    def trace(self, key: str) -> Trace | None:
        """The trace of a key, if there is a trusted one."""
        try:
            if key not in self._judged:
                self._judged[key] = vouched(text_of(self.store.trace_path(key)), key, self.trusted)
            return self._judged[key]
        except OSError:
            return None
        except (Untrusted, Unsigned) as error:
            self._tell(f"its trace {key[:12]} is ignored: {error}")
            return None

    def has(self, key: str) -> bool:
        """Whether a trace of that key is there."""
        return self.store.trace_path(key).exists()

    def _tell(self, fact: str) -> None:
        if not self._told:
            self._told = True
            self.warn(f"the shared store {self.store.root}: {fact}")


@dataclass(slots=True)
class KeptAlone:
    """Stored traces of a place that no longer exists, such as a project's former store."""

    kept: Kept
    trusted: tuple[str, ...]
    warn: Callable[[str], None]
    _told: bool = False

    def trace(self, key: str) -> Trace | None:
        """The trace of a key, if there is a trusted one."""
        text = self.kept.read(key)
        if text is None:
            return None
        try:
            return vouched(text, key, self.trusted, fetched=True)
        except (Untrusted, Unsigned) as error:
            if not self._told:
                self._told = True
                self.warn(f"what came from {self.kept.place}: trace {key[:12]} is ignored: {error}")
            return None

    def has(self, key: str) -> bool:
        """Whether a trace of that key is kept."""
        return self.kept.path(key).exists()


@dataclass(slots=True)
class AskedRemote:
    """A remote store and the local copies of its traces; `open_store` makes sure that these can be written."""

    remote: Remote
    kept: Kept | None
    open_store: Callable[[], None]
    _judged: dict[str, Trace] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.remote.keep = self._keep

    def trace(self, key: str) -> Trace | None:
        """The trace of a key: the local copy if it is trusted, else as the remote returns it."""
        if key in self._judged:
            return self._judged[key]
        text = self.kept.read(key) if self.kept is not None else None
        if text is not None:
            try:
                self._judged[key] = self.remote.judged(text, key)
                return self._judged[key]
            except (Untrusted, Unsigned) as error:
                if not self.remote.is_up:
                    self.remote.doubt(key, error)
        return self.remote.trace(key)

    def has(self, key: str) -> bool:
        """Whether there is a local copy of a trace of that key."""
        return self.kept is not None and self.kept.path(key).exists()

    def _keep(self, key: str, text: bytes) -> None:
        if self.kept is None:
            return
        with contextlib.suppress(StoreError, OSError):  # a read-only store can still be used
            self.open_store()
            self.kept.write(key, text)
