"""Remembers which artifacts of the user's own store were verified, so that an untouched one is not read again.

    $XDG_CACHE_HOME/trtpipe/verified/STORE/ab/abcd…     the signature that the artifact's file had when it was verified

A signature is size, modification and change time, device and inode. The change time cannot be set by a program, so
whoever writes to the file, also through a hard link, changes it. Removing a hard link changes it too: then the file
is read once more. A signature is kept only if the file was not written within a clock's tick of its verification.

The records are outside every project and sealed (`homes.py`). They are kept for a store that the user chose, and never
for one that a project names, nor for files that others can write.
"""

from __future__ import annotations

import contextlib
import os
import stat
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from trtpipe.digests import Digest, digest_bytes
from trtpipe.files import read_regular, write_whole
from trtpipe.homes import cache_home, can_seal, is_sealed, seal_of

FOLDER = "verified"
_SEAL = 64
_MOST_BYTES = 4096
_TICK_NS = 50_000_000  # several ticks of the coarsest timestamps that file systems use


@dataclass(frozen=True, slots=True)
class FileSignature:
    """What changes whenever a file does."""

    size: int
    written: int
    """Time of the last write, in nanoseconds; any program can set it."""
    changed: int
    """Time of the last change of bytes, mode, name or number of links; no program can set it."""
    device: int
    inode: int

    def same_bytes(self, other: FileSignature) -> bool:
        """Whether only links, names or modes can have changed in between, by what this process did itself."""
        return (self.size, self.written, self.device, self.inode) == (
            other.size,
            other.written,
            other.device,
            other.inode,
        )


def file_signature(path: Path) -> FileSignature | None:
    """A regular file's signature; None if there is none, or somebody else can write to it."""
    try:
        found = path.lstat()
    except OSError:
        return None
    if os.name == "nt":  # there are neither owners nor change times
        return None
    others = found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    if not stat.S_ISREG(found.st_mode) or others or found.st_uid != os.getuid():
        return None
    return FileSignature(found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_dev, found.st_ino)


class VerifiedFiles:
    """The records about one store's artifacts."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @classmethod
    def of(cls, store: Path) -> VerifiedFiles | None:
        """The records about the store in this directory; None for a user without a home directory."""
        home = cache_home()
        if home is None:
            return None
        name = digest_bytes(os.fsencode(os.path.realpath(store))).hex[:16]
        return cls(home / FOLDER / name)

    def holds(self, digest: Digest, path: Path) -> bool:
        """Whether the file was verified to have this digest and is untouched since."""
        now = file_signature(path)
        if now is None or now.size != digest.size or not can_seal():
            return False
        try:
            text = read_regular(self._path(digest), _MOST_BYTES)
        except OSError:
            return False
        body = text[_SEAL:]
        return body == self._body(digest, now) and is_sealed(body, text[:_SEAL].decode("ascii", "replace"))

    def note(self, digest: Digest, path: Path) -> None:
        """Record that the file, as it is now, was verified to have this digest."""
        now = file_signature(path)
        if now is None or not can_seal():
            return
        body = self._body(digest, now)
        record = self._path(digest)
        with contextlib.suppress(OSError):  # it is verified again next time
            record.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_whole(record, seal_of(body).encode() + body, durable=False)

    def forget(self, artifacts: Iterable[str]) -> None:
        """Remove the records about artifacts that were removed."""
        for hex_ in artifacts:
            with contextlib.suppress(OSError):
                (self._folder / hex_[:2] / hex_).unlink()

    def _path(self, digest: Digest) -> Path:
        return self._folder / digest.hex[:2] / digest.hex

    def _body(self, digest: Digest, one: FileSignature) -> bytes:
        # The folder's name is the store's: a record cannot be moved to another store.
        numbers = one.size, one.written, one.changed, one.device, one.inode
        return " ".join(("verified", self._folder.name, str(digest), *map(str, numbers))).encode()


class Known:
    """What is known about an artifact's file while it is placed somewhere; nothing without `verified`."""

    def __init__(self, verified: VerifiedFiles | None, digest: Digest, source: Path) -> None:
        self._verified, self._digest, self._source = verified, digest, source
        self._began = time.time_ns()
        self._before = file_signature(source)
        self._held = verified is not None and verified.holds(digest, source)

    def is_untouched(self, placed: Path) -> bool:
        """Whether `placed` needs no reading: the file itself, linked, or a copy made while the file stayed the same."""
        now = file_signature(placed)
        if not self._held or self._verified is None or self._before is None or now is None:
            return False
        if (now.device, now.inode) == (self._before.device, self._before.inode):
            return now.same_bytes(self._before)  # making the link has changed its change time
        return now.size == self._digest.size and self._verified.holds(self._digest, self._source)

    def note(self) -> None:
        """Record the file's signature after its bytes were verified, unless they can have changed meanwhile."""
        now = file_signature(self._source)
        if self._verified is None or self._before is None or now is None:
            return
        settled = self._began - now.written >= _TICK_NS
        if settled and now.same_bytes(self._before) and not (self._held and now == self._before):
            self._verified.note(self._digest, self._source)
