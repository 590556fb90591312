"""Unfinished uploads to an agent: one file for each client and digest, which becomes an artifact when it is whole.

A client names its uploads with an id of its own, so two clients that send the same artifact write to different files.
When a connection breaks, the client connects again and goes on where the file ends, possibly before the agent notices
that the first connection is gone. So an upload has one writer at a time: a later request takes the upload over, and
what still arrives on the earlier connection is not written.

Every method that reads or writes the file blocks, and is called by one holder of `lock` at a time.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import time
from weakref import WeakValueDictionary

from blake3 import blake3

from trtpipe.digests import Digest, same_digest
from trtpipe.stores.local import LocalStore
from trtpipe.stores.scratches import remove_older

PIECE = 1 << 20
"""How many bytes of an artifact are in memory at once, for each transfer."""
_PREFIX = "upload-"
_ABANDONED_SECONDS = 24 * 3600


class Upload:
    """What one client has sent of one artifact."""

    def __init__(self, store: LocalStore, digest: Digest, client: str) -> None:
        self.lock = asyncio.Lock()
        self.writer: object = None
        """The request that may append; others were taken over from."""
        self.size = 0
        self._store = store
        self._digest = digest
        self._key = f"{_PREFIX}{digest.hex}-{client}"
        self._hash = blake3()

    def recall(self) -> int:
        """Read what is there already; returns how many bytes that is. Raises OSError and StoreError."""
        self._file = self._store.partial(self._key) / "file"
        self._hash, self.size = blake3(), 0
        with contextlib.suppress(FileNotFoundError), self._file.open("rb") as file:
            while piece := file.read(PIECE):
                self._hash.update(piece)
                self.size += len(piece)
        return self.size

    def append(self, piece: bytes) -> None:
        """Write the next bytes. Raises OSError."""
        with self._file.open("ab", buffering=0) as file:
            view = memoryview(piece)
            while view:
                view = view[file.write(view) :]
        self._hash.update(piece)
        self.size += len(piece)

    def finish(self) -> bool:
        """Put the file into the store, if its bytes are those of the digest. Raises OSError and StoreError."""
        self._file.touch()
        found = Digest(self._hash.hexdigest(), self.size)
        right = same_digest(found, self._digest)
        if right:
            self._store.put(self._file, found)
        self.remove()
        return right

    def remove(self) -> None:
        """Remove the file."""
        self._store.forget_partial(self._key)
        self._hash, self.size = blake3(), 0

    def space_is_short(self) -> bool:
        """Whether the disk has less space than what is still to come. Raises OSError."""
        return shutil.disk_usage(self._store.root).free < self._digest.size - self.size


class Uploads:
    """The uploads of all clients into one store."""

    def __init__(self, store: LocalStore) -> None:
        self._store = store
        # An upload between two connections is only its file, so that clients that never come back cost no memory.
        self._active: WeakValueDictionary[tuple[Digest, str], Upload] = WeakValueDictionary()

    def open(self) -> None:
        """Make sure that the store is writable, and remove uploads that nobody continued. Raises StoreError."""
        self._store.open()
        before = time.time() - _ABANDONED_SECONDS
        remove_older(self._store.root / "tmp", f"partial-{_PREFIX}*", before)

    def of(self, digest: Digest, client: str) -> Upload:
        """The upload of one artifact by one client: the same object for all requests that are about it."""
        found = self._active.get((digest, client))
        if found is None:
            found = self._active[digest, client] = Upload(self._store, digest, client)
        return found
