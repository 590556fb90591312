"""A partly downloaded file: its bytes so far, and what identifies the server's version of the file.

The folder holds two files: `file`, and `mark.json` with the identifier (ETag or date) and the size that the server
announced. Callers hold a lock on the folder. Makes no network requests.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from pathlib import Path
from typing import BinaryIO

from trtpipe.fetch.answers import Answer, Other
from trtpipe.files import write_whole
from trtpipe.json_values import Malformed, integer_in, object_in, read_object, text_in

_PIECE = 1 << 20


class Partial:
    """A context manager; `furthest` is the largest size ever reached, also when those bytes were discarded."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "file"
        self._about = folder / "mark.json"
        self.mark: dict[str, str] = {}
        self.total: int | None = None
        self.size = 0
        self.furthest = 0
        self._hash = hashlib.sha256()
        self._stream: BinaryIO

    def __enter__(self) -> Partial:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._stream = self.file.open("ab", buffering=0)
        self._recall()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stream.close()

    def _recall(self) -> None:
        """Take up what an earlier process left; without a mark, existing bytes cannot be trusted."""
        try:
            about = read_object(self._about.read_bytes())
            mark = object_in(about, "mark")
            self.mark = {name: text_in(mark, name) for name in mark}
            self.total = None if about.get("total") is None else integer_in(about, "total")
            size = self.file.stat().st_size
        except (OSError, Malformed):
            self.clear()
            return
        if self.total is not None and size > self.total:
            self.clear()
            return
        with self.file.open("rb") as file:
            while piece := file.read(_PIECE):
                self._hash.update(piece)
        self.size = self.furthest = size

    @property
    def is_complete(self) -> bool:
        """Whether all bytes that the server announced have arrived."""
        return self.total is not None and self.size == self.total

    def go_on(self, answer: Answer) -> None:
        """Prepare to append an answer's bytes. Raises Other when they do not continue the existing ones."""
        if answer.start not in (0, self.size):
            raise Other(f"the server sent bytes from {answer.start} on instead of {self.size}")
        if answer.start == 0:
            self.clear()
        elif self._differs(answer):
            raise Other("the file on the server has changed")
        self.mark, self.total = dict(answer.mark), answer.total
        about = {"mark": self.mark, "total": self.total}
        write_whole(self._about, json.dumps(about).encode(), durable=False)

    def _differs(self, answer: Answer) -> bool:
        both = self.mark.keys() & answer.mark.keys()
        known = None not in (self.total, answer.total)
        return any(self.mark[name] != answer.mark[name] for name in both) or (
            known and self.total != answer.total
        )

    def write(self, piece: bytes | memoryview) -> None:
        """Append bytes."""
        view = memoryview(piece)
        while view:
            view = view[self._stream.write(view) :]
        self._hash.update(piece)
        self.size += len(piece)
        self.furthest = max(self.furthest, self.size)

    def sha256(self) -> str:
        """The SHA-256 of the bytes so far, in hex; they are flushed to the disk."""
        os.fsync(self._stream.fileno())
        return self._hash.hexdigest()

    def clear(self) -> None:
        """Discard the bytes so far."""
        self._stream.truncate(0)
        self._stream.seek(0)
        self.size, self.total, self.mark = 0, None, {}
        self._hash = hashlib.sha256()

    def remove(self) -> None:
        """Remove all files of this download."""
        self.clear()
        for path in (self._about, self.file):
            with contextlib.suppress(OSError):
                path.unlink()
