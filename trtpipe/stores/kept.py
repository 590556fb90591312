"""Local copies of traces from other places (remotes, shared directories), in a separate folder for each place.

    from/PLACE/place                   the place's name, for people; PLACE is a digest of it
    from/PLACE/traces/ab/abcd….json    a trace as it came from there, with its signature

Whether they are trusted is decided in `vouchers.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from trtpipe.digests import digest_bytes
from trtpipe.files import write_whole
from trtpipe.stores.judgement import text_of
from trtpipe.stores.strangers import Untrusted
from trtpipe.stores.traces import note_use

FOLDER = "from"
_NAME = "place"


@dataclass(frozen=True, slots=True)
class Kept:
    """A store's copies of one place's traces."""

    folder: Path
    place: str

    @classmethod
    def of(cls, store: Path, place: str) -> Kept:
        """The copies that the store in this directory has of that place's traces."""
        return cls(store / FOLDER / digest_bytes(place.encode()).hex[:16], place)

    def path(self, key: str) -> Path:
        """The file of a trace, if it exists."""
        return self.folder / "traces" / key[:2] / f"{key}.json"

    def read(self, key: str) -> bytes | None:
        """The trace as it was received, or None."""
        path = self.path(key)
        try:
            text = text_of(path)
        except (OSError, Untrusted):
            return None
        note_use(path)
        return text

    def write(self, key: str, text: bytes) -> None:
        """Store a trace. Raises OSError."""
        path = self.path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        name = self.folder / _NAME
        if not name.exists():
            write_whole(name, self.place.encode(), durable=False)
        write_whole(path, text, durable=False)  # the trace can be fetched again


def kept_places(store: Path) -> Iterator[Kept]:
    """Every place from which the store in this directory has traces."""
    for folder in sorted((store / FOLDER).glob("?" * 16)):
        try:
            name = (folder / _NAME).read_text(encoding="utf-8", errors="replace")
        except OSError:
            name = "an unknown place"
        yield Kept(folder, name)
