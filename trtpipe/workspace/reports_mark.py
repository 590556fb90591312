"""A marker file that says that the reports in `build/` may not include everything that is delivered.

A build creates it before it runs anything, and removes it once every report is written and lists every cell as
delivered. It stays if the build failed, was interrupted or killed at any point, or could not write its reports. Then
the next build writes the reports again, even if it has nothing else to do.

The marker names the build that created it last. A build that ends while a later one is running leaves the later one's
marker in place.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

from trtpipe.files import read_regular, write_whole
from trtpipe.stores.state import STATE_FILE

_NAME = "reports.behind"
_MOST_BYTES = 4096


@dataclass(frozen=True, slots=True)
class ReportsMark:
    """The marker, as this build created or found it."""

    path: Path
    text: bytes
    """Who set it; empty when nobody had."""

    @property
    def is_set(self) -> bool:
        """Whether reports may be incomplete."""
        return bool(self.text)

    def lift(self) -> None:
        """Remove the marker, unless another build has created it again meanwhile."""
        if self.is_set and _read(self.path) == self.text:
            with contextlib.suppress(OSError):
                self.path.unlink()


def set_mark(state: Path) -> ReportsMark:
    """Create the marker beside a project's state; skipped in a read-only project."""
    import uuid  # imported here, because a build with nothing to do only looks for the marker

    mark = ReportsMark(_beside(state), uuid.uuid4().hex.encode())
    with contextlib.suppress(OSError):
        mark.path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(mark.path, mark.text, durable=False)
    return mark


def found_mark(state: Path) -> ReportsMark:
    """The marker beside a project's state as it is now."""
    return ReportsMark(_beside(state), _read(_beside(state)))


def is_marked(root: Path) -> bool:
    """Whether the project at `root` has the marker."""
    return _beside(root / STATE_FILE).exists()


def _beside(state: Path) -> Path:
    return state.with_name(_NAME)


def _read(path: Path) -> bytes:
    try:
        return read_regular(path, _MOST_BYTES) or b"?"
    except OSError:
        return b""
