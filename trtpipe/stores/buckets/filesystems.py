"""Any other address that fsspec (an optional dependency) supports: sftp, smb, webdav, hdfs and more."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from trtpipe.errors import masked
from trtpipe.stores.buckets import Absent, Chunks, Unusable

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

_PIECE = 1 << 20


class FilesystemBucket:
    """Objects are files below an address of fsspec."""

    def __init__(self, url: str) -> None:
        try:
            from fsspec.core import url_to_fs
        except ImportError as error:
            raise Unusable("it needs the package fsspec", "pip install 'trtpipe[fsspec]'") from error
        with self._mapped():
            self._files: AbstractFileSystem
            self._files, self._root = url_to_fs(url)

    def has(self, name: str) -> bool:
        """Whether the file is there."""
        with self._mapped():
            return bool(self._files.isfile(self._at(name)))

    def read(self, name: str, most: int) -> bytes:
        """The file's first bytes."""
        with self._mapped(), self._files.open(self._at(name), "rb") as file:
            return bytes(file.read(most + 1))

    def stream(self, name: str, size: int) -> Iterator[bytes]:
        """The file in pieces."""
        with self._mapped(), self._files.open(self._at(name), "rb") as file:
            while piece := file.read(_PIECE):
                yield piece

    def write(self, name: str, chunks: Chunks, size: int | None) -> None:
        """Write the file. A reader may see half of it meanwhile, and detects that by its digest."""
        with self._mapped():
            path = self._at(name)
            self._files.makedirs(path.rpartition("/")[0], exist_ok=True)
            with self._files.open(path, "wb") as file:
                for piece in chunks():
                    file.write(piece)

    def _at(self, name: str) -> str:
        return f"{self._root.rstrip('/')}/{name}"

    @contextmanager
    def _mapped(self) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            raise Absent from error
        except Exception as error:  # any exception of a third-party file system means that it cannot be used
            if isinstance(error, (Absent, Unusable)):
                raise
            lines = str(error).splitlines() or [type(error).__name__]
            raise Unusable(masked(lines[0])[:200].lower()) from error
