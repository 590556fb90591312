"""Buckets: storage elsewhere that holds whole objects by name. One module for each kind of place.

Buckets do not interpret digests or traces. Object names consist of digests and fixed words chosen by the callers; a
bucket only adds its own prefix.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol


class Absent(Exception):
    """There is no object with that name."""


class Unusable(Exception):
    """The bucket cannot be used now: it is unreachable, denies access, or takes too long."""

    def __init__(self, fact: str, remedy: str = "") -> None:
        super().__init__(fact)
        self.fact = fact
        self.remedy = remedy


Chunks = Callable[[], Iterator[bytes]]
"""A function that returns an object's bytes from the beginning at each call."""


class Bucket(Protocol):
    """A place for objects. Every method may be called from several threads, and raises Unusable."""

    def has(self, name: str) -> bool:
        """Whether there is an object with that name."""

    def read(self, name: str, most: int) -> bytes:
        """A small object: at most its first `most` + 1 bytes, so that a larger one is noticed. Raises Absent."""

    def stream(self, name: str, size: int) -> Iterator[bytes]:
        """An object of roughly at most `size` bytes, piece by piece. Raises Absent, also while it is iterated."""

    def write(self, name: str, chunks: Chunks, size: int | None) -> None:
        """Store an object; `size` in bytes is None when it is not known in advance."""
