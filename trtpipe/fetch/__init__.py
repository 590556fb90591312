"""Downloads a RemoteFile to this machine, completely or not at all.

`download` does what all kinds of addresses share: it resumes an interrupted download, checks the disk space, retries
with pauses and verifies the pinned digest. The requests themselves are made by `http` and `objects`. Independent of
stores and plans.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from trtpipe.errors import Problem, StepFailed
from trtpipe.fetch.answers import Ask, Broken, Other, Refused
from trtpipe.fetch.partial import Partial
from trtpipe.fetch.patience import seconds_from
from trtpipe.plan.child_reports import Download, DownloadState
from trtpipe.problem_codes import Code
from trtpipe.shapes import format_size
from trtpipe.spec.remote import RemoteFile

Hear = Callable[[Download], None]

RESERVE = 64 << 20
"""Bytes of disk space that must remain free."""
_LOOK_EVERY = 32 << 20
_TELL_SECONDS = 0.25
_LEAST_BYTES = 16 << 10
"""A server that sends fewer bytes in `stall` seconds, or a try that brings fewer, counts as failed."""


@dataclass(frozen=True, slots=True)
class Patience:
    """Limits for a slow server: seconds without data, tries in a row without progress, and the pauses between them."""

    stall: float = 60.0
    tries: int = 6
    pause: float = 0.5
    longest_pause: float = 30.0

    @classmethod
    def from_environment(cls) -> Patience:
        """The default limits, with `$TRTPIPE_FETCH_TIMEOUT` as the seconds without data. Raises SpecError."""
        return cls(stall=seconds_from("TRTPIPE_FETCH_TIMEOUT", cls().stall))


@dataclass(frozen=True, slots=True)
class Fetched:
    """A downloaded file: its path in the given folder, its SHA-256 and size, and the server's metadata."""

    path: Path
    sha256: str
    size: int
    facts: Mapping[str, str] = field(default_factory=dict)


def ask_for(remote: RemoteFile, patience: Patience) -> Ask:
    """The function that requests a file of this kind. Raises StepFailed when a package that it needs is missing."""
    if remote.scheme in ("s3", "gs"):
        from trtpipe.fetch.objects import asking
    else:
        from trtpipe.fetch.http import asking
    return asking(remote, patience.stall)


def download(
    remote: RemoteFile,
    folder: Path,
    hear: Hear,
    patience: Patience | None = None,
    path: tuple[str | int, ...] = (),
) -> Fetched:
    """Download a file into `folder`, resuming what an earlier call left there.

    After an interrupt the bytes received so far stay. Raises StepFailed, at `path` in the spec, when the file cannot be
    downloaded, does not match its pin, or does not fit on the disk.
    """
    patience = patience or Patience.from_environment()
    with Partial(folder) as partial:
        try:
            return _Course(remote, partial, hear, patience, ask_for(remote, patience)).run()
        except Refused as error:
            if error.wrong_bytes:
                partial.remove()
            at = error.path or path
            raise StepFailed(
                Problem(
                    Code.FETCH_FAILED, f"cannot fetch {remote.shown}: {error.fact}", error.remedy, path=at
                )
            ) from None


@dataclass(slots=True)
class _Course:
    """One download, with as many tries as it takes."""

    remote: RemoteFile
    partial: Partial
    hear: Hear
    patience: Patience
    ask: Ask
    facts: dict[str, str] = field(default_factory=dict)
    _told: float = 0.0

    def run(self) -> Fetched:
        failures, furthest = 0, self.partial.size
        while True:
            resumed = self.partial.size > 0
            try:
                self._try()
                found = self.partial.sha256()
                if self.remote.sha256 in ("", found):
                    break
                # A resumed file may mix two versions, so a wrong digest is final only for a file fetched in one go.
                if not resumed:
                    raise _wrong_pin(found)
                raise Other("the resumed download is not the pinned file")
            except Other as error:  # the file has changed, or cannot be resumed: start over
                self.partial.clear()
                trouble, wait = str(error), 0.0
                failures += 1
            except Broken as error:
                # A try that made progress does not count: a long download may be cut off many times.
                failures = 0 if self.partial.furthest - furthest >= _LEAST_BYTES else failures + 1
                trouble, wait = str(error), error.wait
            furthest = self.partial.furthest
            if failures >= self.patience.tries:
                raise Refused(
                    f"{trouble} (tried {failures} times)",
                    "try again later: the download resumes where it stopped",
                )
            self._pause(failures, trouble, wait)
        self._tell("end")
        return Fetched(self.partial.file, found, self.partial.size, self.facts)

    def _try(self) -> None:
        """One try: request the file and write what arrives. Raises Broken when less arrives than was announced."""
        if self.remote.sha256 and self.partial.is_complete:
            return
        # Without a pin or an identifier a changed file on the server would go unnoticed, so begin again.
        certain = bool(self.remote.sha256 or self.partial.mark)
        with self.ask(self.partial.size if certain else 0, self.partial.mark) as answer:
            self.facts |= answer.facts
            self.partial.go_on(answer)
            total = answer.total
            self._refuse_too_large(total)
            self._tell("begin")
            for piece in _lively(answer.pieces, self.patience.stall):
                if total is not None and self.partial.size + len(piece) > total:
                    raise Other(f"the server sent more than the announced {total} bytes")
                self.partial.write(piece)
                self._look_around(len(piece))
        if total is not None and self.partial.size < total:
            raise Broken(f"the connection ended after {self.partial.size} of {total} bytes")

    def _look_around(self, written: int) -> None:
        if self.partial.size // _LOOK_EVERY != (self.partial.size - written) // _LOOK_EVERY:
            self._refuse_too_large(None)
        if time.monotonic() - self._told > _TELL_SECONDS:
            self._tell("progress")

    def _refuse_too_large(self, total: int | None) -> None:
        free = shutil.disk_usage(self.partial.folder).free
        more = total - self.partial.size if total is not None else 0
        if more + RESERVE > free:
            need = (
                f"it needs {format_size(more)} more"
                if total is not None
                else "the server does not report its size"
            )
            fact = f"{need}, and {format_size(free)} are free where {self.partial.folder} is"
            if total is None:
                self.partial.remove()
            raise Refused(fact, "free some space, or set $TRTPIPE_STORE to a directory on another disk")

    def _pause(self, failures: int, trouble: str, wait: float) -> None:
        pause = min(self.patience.pause * 2 ** max(failures - 1, 0), self.patience.longest_pause)
        self._tell("retry", trouble)
        time.sleep(max(pause, min(wait, self.patience.stall)))

    def _tell(self, state: DownloadState, trouble: str = "") -> None:
        self._told = time.monotonic()
        self.hear(Download(state, self.remote.shown, self.partial.size, self.partial.total, trouble))


def _lively(pieces: Iterator[bytes], stall: float) -> Iterator[bytes]:
    """The pieces, as long as they arrive fast enough. Raises Broken when they do not."""
    began, brought = time.monotonic(), 0
    for piece in pieces:
        yield piece
        brought += len(piece)
        now = time.monotonic()
        if now - began < stall:
            continue
        if brought < _LEAST_BYTES:
            raise Broken(f"the server sent only {brought} bytes in {now - began:.0f} s")
        began, brought = now, 0


def _wrong_pin(found: str) -> Refused:
    return Refused(
        f"it is not the pinned file: its sha256 is {found}",
        f"check the file's origin, then pin this digest: sha256: {found}",
        wrong_bytes=True,
    )
