"""A directory as a bucket: a mounted share, a disk, or a cache directory that a CI service keeps."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from trtpipe.files import open_beside, open_regular
from trtpipe.stores.buckets import Absent, Chunks, Unusable

_PIECE = 1 << 20


class DirectoryBucket:
    """Objects are files below `root`, which must exist, so that an unmounted share's mount point is not filled."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def has(self, name: str) -> bool:
        """Whether the file is there."""
        with self._mapped():
            if not self.root.is_dir():
                raise Unusable(f"there is no directory {self.root}", "make it, or mount it")
            return (self.root / name).is_file()

    def read(self, name: str, most: int) -> bytes:
        """The file's first bytes."""
        with self._mapped(), self._open(name) as file:
            return file.read(most + 1)

    def stream(self, name: str, size: int) -> Iterator[bytes]:
        """The file in pieces."""
        with self._mapped(), self._open(name) as file:
            while piece := file.read(_PIECE):
                yield piece

    def write(self, name: str, chunks: Chunks, size: int | None) -> None:
        """Write the file, completely or not at all."""
        with self._mapped():
            if not self.root.is_dir():
                raise Unusable(f"there is no directory {self.root}", "make it, or mount it")
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, temporary = open_beside(path)
            try:
                with os.fdopen(handle, "wb") as file:
                    for piece in chunks():
                        file.write(piece)
                    file.flush()
                    os.fsync(file.fileno())
                temporary.chmod(0o644)
                temporary.replace(path)
            finally:
                temporary.unlink(missing_ok=True)

    def _open(self, name: str) -> BinaryIO:
        try:
            return open_regular(self.root / name)
        except FileNotFoundError:
            if not self.root.is_dir():
                raise Unusable(f"there is no directory {self.root}", "make it, or mount it") from None
            raise Absent(name) from None

    @contextmanager
    def _mapped(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise Unusable(f"{self.root}: {(error.strerror or str(error)).lower()}") from error
