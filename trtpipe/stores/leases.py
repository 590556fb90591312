"""Locks that are files which exist, for network file systems on which the system's locks do not work.

The holder's file holds a token and is touched every few seconds. Who waits takes it over when its owner is a process of
this machine that died, or when it was not touched for a minute by the waiting one's own clock: so no clock is compared
with another, and a machine that never came back blocks nobody. A holder that is stopped for longer than that loses its
lock; then two do the same work, which does no harm, for results are placed whole.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import threading
import time
from pathlib import Path
from types import TracebackType

from filelock import Timeout

from trtpipe.files import owner_is_dead, owner_prefix

LEASE_SECONDS = 60.0
_TOUCH_SECONDS = 10.0
_POLL_SECONDS = 0.05
_MOST_BYTES = 500


class FileLease:
    """One lock; use it from one thread."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._token = f"{owner_prefix()}{secrets.token_hex(8)}"
        self._done = threading.Event()
        self._seen: tuple[str, int] | None = None
        self._since = 0.0

    def acquire(self, timeout: float | None = None, poll_interval: float = _POLL_SECONDS) -> FileLease:
        """Take it, waiting so many seconds at most. Raises filelock's Timeout, OSError."""
        began = time.monotonic()
        while not self._take():
            self._break_if_left()
            if timeout is not None and time.monotonic() - began >= timeout:
                raise Timeout(str(self._path))
            time.sleep(poll_interval)
        self._done.clear()
        threading.Thread(target=self._keep, daemon=True).start()
        return self

    def release(self) -> None:
        """Let go of it, unless it was taken over."""
        self._done.set()
        with contextlib.suppress(OSError):
            if self._holder() == self._token:
                self._path.unlink()

    def __enter__(self) -> FileLease:
        return self.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def _take(self) -> bool:
        """Make the file whole, if there is none: a link to a name of our own fails where one stands."""
        own = self._path.with_name(f"{self._token}.own")
        own.write_text(self._token)
        try:
            os.link(own, self._path)
        except FileExistsError:
            return False
        except OSError:  # a file system without links: then the file is empty for a moment
            return self._take_by_making()
        finally:
            own.unlink(missing_ok=True)
        return True

    def _take_by_making(self) -> bool:
        try:
            handle = os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
        except FileExistsError:
            return False
        with os.fdopen(handle, "w") as file:
            file.write(self._token)
        return True

    def _keep(self) -> None:
        while not self._done.wait(_TOUCH_SECONDS):
            with contextlib.suppress(OSError):
                if self._holder() == self._token:
                    os.utime(self._path)

    def _holder(self) -> str:
        with self._path.open(encoding="ascii", errors="replace") as file:
            return file.read(_MOST_BYTES)

    def _break_if_left(self) -> None:
        try:
            seen = self._holder(), self._path.stat().st_mtime_ns
        except FileNotFoundError:
            return
        if seen != self._seen:
            self._seen, self._since = seen, time.monotonic()
        if owner_is_dead(seen[0]) or time.monotonic() - self._since >= LEASE_SECONDS:
            self._take_aside(seen[0])

    def _take_aside(self, token: str) -> None:
        """Remove the file of that token; that of another, which came in between, is put back."""
        aside = self._path.with_name(f"{self._token}.aside")
        with contextlib.suppress(FileNotFoundError):
            self._path.rename(aside)
            if aside.read_text(encoding="ascii", errors="replace") != token:
                with contextlib.suppress(OSError):
                    os.link(aside, self._path)
            aside.unlink()
