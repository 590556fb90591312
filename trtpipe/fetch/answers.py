"""What a server answers when asked for a file from some byte on, and the three ways in which that can fail."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Answer:
    """Bytes from `start` on, of `total` (None: the server does not say).

    `mark` tells this file from a later one under the same address (`etag`, `modified`); `facts` are told to people.
    """

    start: int
    total: int | None
    mark: Mapping[str, str]
    pieces: Iterator[bytes]
    facts: Mapping[str, str] = field(default_factory=dict)


Ask = Callable[[int, Mapping[str, str]], AbstractContextManager[Answer]]
"""Asks for the bytes from an offset on, of the file that a mark tells; Broken, Other or Refused where it fails."""


class Broken(Exception):
    """It failed in a way that may pass: worth another try, after `wait` seconds at least."""

    def __init__(self, fact: str, wait: float = 0.0) -> None:
        super().__init__(fact)
        self.wait = wait


class Other(Exception):
    """The server has another file now, or cannot go on in the middle of this one: begin again."""


class Refused(Exception):
    """It cannot be had, and asking again would not help; `wrong_bytes` when what came is of no use."""

    def __init__(
        self, fact: str, remedy: str = "", *, wrong_bytes: bool = False, path: tuple[str | int, ...] = ()
    ) -> None:
        super().__init__(fact)
        self.fact = fact
        self.remedy = remedy
        self.wrong_bytes = wrong_bytes
        self.path = path
