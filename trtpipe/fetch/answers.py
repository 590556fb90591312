"""A server's answer to a request for a file from a given byte on, and the three ways in which a request can fail."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Answer:
    """The bytes from `start` on, out of `total` (None: the server does not say).

    `mark` distinguishes this file from a later one at the same address (`etag`, `modified`); `facts` are shown to the
    user.
    """

    start: int
    total: int | None
    mark: Mapping[str, str]
    pieces: Iterator[bytes]
    facts: Mapping[str, str] = field(default_factory=dict)


Ask = Callable[[int, Mapping[str, str]], AbstractContextManager[Answer]]
"""Requests the bytes from an offset on, of the file version in a mark; raises Broken, Other or Refused."""


class Broken(Exception):
    """A temporary failure: worth another try, after at least `wait` seconds."""

    def __init__(self, fact: str, wait: float = 0.0) -> None:
        super().__init__(fact)
        self.wait = wait


class Other(Exception):
    """The file on the server has changed, or the server cannot resume: start over."""


class Refused(Exception):
    """A permanent failure: retrying would not help. `wrong_bytes` is set when the received bytes are useless."""

    def __init__(
        self, fact: str, remedy: str = "", *, wrong_bytes: bool = False, path: tuple[str | int, ...] = ()
    ) -> None:
        super().__init__(fact)
        self.fact = fact
        self.remedy = remedy
        self.wrong_bytes = wrong_bytes
        self.path = path
