"""The commit that last changed a file, or a line of it. Limited in time; without git there is simply no answer.

Git runs no program that the repository configures; for files that it would pass through a filter there is no answer.
Independent of plans.
"""

from __future__ import annotations

import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from trtpipe.git.command import ask_git, is_filtered

_SECONDS_EACH = 2.0
_SECONDS_IN_ALL = 5.0
_FORMAT = "%h%x00%cs%x00%s"


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit, or a change that is not committed yet (`short` is empty then)."""

    short: str
    date: str = ""
    subject: str = ""

    def __str__(self) -> str:
        return f"{self.short} {self.date} {self.subject}" if self.short else "not committed"

    def to_json(self) -> dict[str, str | bool]:
        """The commit as a JSON object."""
        return {
            "committed": bool(self.short),
            "commit": self.short,
            "date": self.date,
            "subject": self.subject,
        }


NOT_COMMITTED = Commit("")


@dataclass(slots=True)
class History:
    """The history of one working tree; every answer is None when git has none, or took too long."""

    root: Path
    _left: float = _SECONDS_IN_ALL
    _known: dict[tuple[Path, int | None], Commit | None] = field(default_factory=dict)
    _filters: dict[Path, bool] = field(default_factory=dict)

    def last_change(self, path: Path, line: int | None = None) -> Commit | None:
        """The commit that last changed a file, or the given line (counted from 1) of it."""
        if (path, line) not in self._known:
            self._known[path, line] = self._of_line(path, line) if line else self._of_file(path)
        return self._known[path, line]

    def _of_file(self, path: Path) -> Commit | None:
        told = self._git("log", "-1", f"--format={_FORMAT}", "--", str(path))
        if told is None or self._filtered(path):
            return None
        changed = self._git("status", "--porcelain", "--", str(path))
        if changed is None:
            return None
        return _commit(told) if told.strip() and not changed.strip() else NOT_COMMITTED

    def _of_line(self, path: Path, line: int) -> Commit | None:
        if self._filtered(path):
            return None
        told = self._git("blame", "--no-textconv", "--porcelain", "-L", f"{line},{line}", "--", str(path))
        words = (told or "").split(maxsplit=1)
        if not words or len(words[0]) < 40:
            return None
        if not words[0].strip("0"):
            return NOT_COMMITTED
        named = self._git("log", "-1", f"--format={_FORMAT}", words[0])
        return _commit(named) if named else None

    def _git(self, *arguments: str) -> str | None:
        if self._left <= 0:
            return None
        began = time.monotonic()
        try:
            done = ask_git(self.root, *arguments, seconds=min(self._left, _SECONDS_EACH))
        except (OSError, subprocess.TimeoutExpired):
            return None
        finally:
            self._left -= time.monotonic() - began
        return done.stdout.decode(errors="replace") if done.returncode == 0 else None

    def _filtered(self, path: Path) -> bool:
        """Whether git would run a filter program, configured by the repository, to read the file."""
        if path not in self._filters:
            self._filters[path] = is_filtered(self.root, path, _SECONDS_EACH)
        return self._filters[path]


def _commit(told: str) -> Commit | None:
    parts = told.strip("\n").split("\0")
    return Commit(*parts) if len(parts) == 3 else None
