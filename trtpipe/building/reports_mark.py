"""Whether the reports in `build/` may tell less than what is delivered: a mark that lies beside the state meanwhile.

A build sets it before it runs anything and lifts it once every report is written and says of every cell that it is
delivered. One that failed or was stopped leaves it, and so does one that was killed, at whatever point, or whose
reports could not be written. Then the next build writes them anew, even if it has nothing else to do.

The mark holds who set it last. A build that ends while a later one is under way leaves it to that one.
"""

from __future__ import annotations

import contextlib
import uuid
from dataclasses import dataclass
from pathlib import Path

from trtpipe.files import read_regular, write_whole
from trtpipe.stores.state import STATE_FILE

_NAME = "reports.behind"
_MOST_BYTES = 4096


@dataclass(frozen=True, slots=True)
class ReportsMark:
    """The mark as somebody set or found it."""

    path: Path
    text: bytes
    """Who set it; empty when nobody had."""

    @property
    def is_set(self) -> bool:
        """Whether reports may tell less than what is delivered."""
        return bool(self.text)

    def lift(self) -> None:
        """Take it away, unless somebody set it anew meanwhile."""
        if self.is_set and _read(self.path) == self.text:
            with contextlib.suppress(OSError):
                self.path.unlink()


def set_mark(state: Path) -> ReportsMark:
    """Set the mark beside a project's state; a project that cannot be written to does without."""
    mark = ReportsMark(_beside(state), uuid.uuid4().hex.encode())
    with contextlib.suppress(OSError):
        mark.path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(mark.path, mark.text, durable=False)
    return mark


def found_mark(state: Path) -> ReportsMark:
    """The mark beside a project's state as it is now."""
    return ReportsMark(_beside(state), _read(_beside(state)))


def is_marked(root: Path) -> bool:
    """Whether there is a mark in the project at `root`."""
    return _beside(root / STATE_FILE).exists()


def _beside(state: Path) -> Path:
    return state.with_name(_NAME)


def _read(path: Path) -> bytes:
    try:
        return read_regular(path, _MOST_BYTES) or b"?"
    except OSError:
        return b""
