"""How a build ended, as a value: the last event of `--json`.

A module of its own, because a build with nothing to do needs only this event and should not import the others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trtpipe.errors import Problem


@dataclass(frozen=True, slots=True)
class FailedItem:
    """A step or a cell that failed: what was wrong, and the end of its log if it has one."""

    name: str
    problems: tuple[Problem, ...]
    log: str = ""


@dataclass(frozen=True, slots=True)
class BuildEnded:
    """The build has ended, for whatever reason.

    `cli/build_end.py` creates and writes it directly, so that it is sent even if no observer was ever opened. `built`,
    `restored`, `up_to_date` and `not_built` are names of cells; `problems` are those that ended the build before it
    could run anything; `closing` is the line that a person would have read.
    """

    built: tuple[str, ...]
    restored: tuple[str, ...]
    up_to_date: tuple[str, ...]
    failed: tuple[FailedItem, ...]
    not_built: tuple[str, ...]
    lock_changed: bool
    interrupted: bool
    problems: tuple[Problem, ...]
    closing: str
