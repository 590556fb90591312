"""Lock files for network file systems on which the operating system's locks do not work.

The lock file contains the holder's token and is touched every few seconds. A waiting process takes the lock over when
the holder was a process of this machine that has died, or when the file was not touched for a minute by the waiting
process's own clock. So clocks of different machines are never compared, and a machine that never comes back blocks
nobody. A holder that is suspended for longer than a minute loses its lock; two processes then do the same work, which
is harmless because results are put in place as a whole.
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
    """One lock; use it from one thread only."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._token = f"{owner_prefix()}{secrets.token_hex(8)}"
        self._done = threading.Event()
        self._seen: tuple[str, int] | None = None
        self._since = 0.0

    def acquire(self, timeout: float | None = None, poll_interval: float = _POLL_SECONDS) -> FileLease:
        """Acquire it, waiting at most `timeout` seconds. Raises filelock's Timeout, OSError."""
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
        """Release it, unless another process took it over."""
        self._done.set()
        with contextlib.suppress(OSError):
            # After a take-over the file is another process's lock.
            if self._holder() == self._token:
                self._path.unlink()

    def __enter__(self) -> FileLease:
        return self.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def _take(self) -> bool:
        """Create the complete lock file atomically: hard-linking a temporary file fails if the lock file exists."""
        own = self._path.with_name(f"{self._token}.own")
        own.write_text(self._token)
        try:
            os.link(own, self._path)
        except FileExistsError:
            return False
        except OSError:  # the file system has no hard links: then the file is empty for a moment
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
        # Any change shows that the holder lives. The time since then is taken from our own clock, because
        # the clocks of two machines differ.
        if seen != self._seen:
            self._seen, self._since = seen, time.monotonic()
        if owner_is_dead(seen[0]) or time.monotonic() - self._since >= LEASE_SECONDS:
            self._take_aside(seen[0])

    def _take_aside(self, token: str) -> None:
        """Remove the lock file with that token; if another process's file has replaced it meanwhile, put that back."""
        aside = self._path.with_name(f"{self._token}.aside")
        with contextlib.suppress(FileNotFoundError):
            # Renaming is atomic: of several waiting processes only one gets the file.
            self._path.rename(aside)
            if aside.read_text(encoding="ascii", errors="replace") != token:
                with contextlib.suppress(OSError):
                    os.link(aside, self._path)
            aside.unlink()
