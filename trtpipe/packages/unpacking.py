"""Verifies a package with its signature, and unpacks an archive: what is not proved is never at its place."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from trtpipe.errors import PackageError
from trtpipe.files import temporary_folder
from trtpipe.packages.directory import is_package_directory
from trtpipe.packages.index_file import reason_of
from trtpipe.packages.places import new_place, settle
from trtpipe.packages.verification import Verified, verify_archive, verify_files
from trtpipe.problem_codes import Code


def verify_package(package: Path, key: Path | None = None) -> Verified:
    """Verifies a directory or an archive, and its signature if a public key is given. Raises TrtpipeError."""
    if key is None:
        return verify_files(package)
    from trtpipe.packages.signatures import verify_signature

    if package.is_dir():
        found = verify_files(package)
        verify_signature(package, key, str(package))
        return found
    with _temporary() as folder:
        return _unpacked(package, folder / "package", key)


def unpack(package: Path, out: Path, key: Path | None = None, *, force: bool = False) -> Verified:
    """Unpacks an archive to a new directory, once it is verified. Raises TrtpipeError."""
    if package.is_dir():
        raise PackageError(
            Code.BAD_ARGUMENT, f"package '{package}' is a directory, so there is nothing to unpack"
        )
    with new_place(out, is_package_directory, force=force) as place:
        return _unpacked(package, place, key)


def _unpacked(package: Path, folder: Path, key: Path | None) -> Verified:
    folder.mkdir()
    with contextlib.closing(_Files(folder)) as files:
        found = verify_archive(package, files.take)
    settle(folder)
    if key is not None:
        from trtpipe.packages.signatures import verify_signature

        verify_signature(folder, key, str(package))
    return found


class _Files:
    """Writes the files of an archive one after the other, each new."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._path = folder, ""
        self._file: BinaryIO | None = None

    def take(self, path: str, chunk: bytes) -> None:
        """The next bytes of a file whose path was found to be inside the package. Raises OSError."""
        if path != self._path or self._file is None:
            self.close()
            target = self._folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            self._file, self._path = target.open("xb"), path
        self._file.write(chunk)

    def close(self) -> None:
        """Flushes and closes the last file."""
        if self._file is not None:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            self._file = None


@contextlib.contextmanager
def _temporary() -> Iterator[Path]:
    """A temporary folder; a full disk is told as such."""
    try:
        with temporary_folder("package") as folder:
            yield folder
    except OSError as error:
        fact = f"cannot unpack the package to verify it: {reason_of(error)}"
        raise PackageError(Code.CANNOT_WRITE, fact) from error
