"""Buckets: whole objects by name, somewhere else. One file a kind of place; they know neither digests nor traces.

Names are made of what this package's users give: digests and fixed words. A bucket adds nothing but its own prefix.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol


class Absent(Exception):
    """There is no object of that name."""


class Unusable(Exception):
    """The place cannot be used now: it is not there, says no, or takes too long."""

    def __init__(self, fact: str, remedy: str = "") -> None:
        super().__init__(fact)
        self.fact = fact
        self.remedy = remedy


Chunks = Callable[[], Iterator[bytes]]
"""An object's bytes, from the beginning each time that it is called."""


class Bucket(Protocol):
    """A place for objects. Every method may be called from several threads, and raises Unusable."""

    def has(self, name: str) -> bool:
        """Whether there is an object of that name."""

    def read(self, name: str, most: int) -> bytes:
        """A small object, or as many bytes of it as `most` and one more. Raises Absent."""

    def stream(self, name: str, size: int) -> Iterator[bytes]:
        """An object of at most about so many bytes, piece by piece. Raises Absent, also while it is iterated."""

    def write(self, name: str, chunks: Chunks, size: int | None) -> None:
        """Store an object; `size` in bytes is None when it is not known before."""
