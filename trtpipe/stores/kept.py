"""What a store keeps of the traces that other places gave, each place's apart.

    from/PLACE/place                   the place's name, for people; PLACE is a digest of it
    from/PLACE/traces/ab/abcd….json    a trace as it came from there, with its signature

Knows nothing of whether they are believed (`vouchers.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from trtpipe.digests import digest_bytes
from trtpipe.files import write_whole
from trtpipe.stores.judgement import text_of
from trtpipe.stores.local import note_use
from trtpipe.stores.strangers import Untrusted

FOLDER = "from"
_NAME = "place"


@dataclass(frozen=True, slots=True)
class Kept:
    """What a store keeps of one place's traces."""

    folder: Path
    place: str

    @classmethod
    def of(cls, store: Path, place: str) -> Kept:
        """What the store in this directory keeps of that place."""
        return cls(store / FOLDER / digest_bytes(place.encode()).hex[:16], place)

    def path(self, key: str) -> Path:
        """Where a trace is, if it is there."""
        return self.folder / "traces" / key[:2] / f"{key}.json"

    def read(self, key: str) -> bytes | None:
        """The trace as it came, or None."""
        path = self.path(key)
        try:
            text = text_of(path)
        except (OSError, Untrusted):
            return None
        note_use(path)
        return text

    def write(self, key: str, text: bytes) -> None:
        """Keep a trace. Raises OSError."""
        path = self.path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        name = self.folder / _NAME
        if not name.exists():
            write_whole(name, self.place.encode(), durable=False)
        write_whole(path, text, durable=False)  # it can be had again


def kept_places(store: Path) -> Iterator[Kept]:
    """Every place of which the store in this directory keeps something."""
    for folder in sorted((store / FOLDER).glob("?" * 16)):
        try:
            name = (folder / _NAME).read_text(encoding="utf-8", errors="replace")
        except OSError:
            name = "an unknown place"
        yield Kept(folder, name)
