"""Engine workers that are started before there is work for them, so that a build does not wait for TensorRT's import.

A waiting worker fits one interpreter, one kind of request and one environment; it is given a folder and then does what
a new worker would do there. One that ended meanwhile is not used.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from trtpipe.launcher.children import kill

Starts = Callable[["Wanted"], "subprocess.Popen[bytes]"]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a waiting worker is for."""

    python: tuple[str, ...]
    flavour: str
    action: str
    site: tuple[str, ...]
    environment: tuple[tuple[str, str], ...]
    """What it sees beside the variables that every worker sees."""

    @classmethod
    def of(
        cls, python: Sequence[str], flavour: str, action: str, site: Sequence[str], seen: Mapping[str, str]
    ) -> Wanted:
        """The same from any sequences."""
        return cls(tuple(python), flavour, action, tuple(site), tuple(sorted(seen.items())))


class WaitingWorkers:
    """The workers of this process that have nothing to do yet."""

    def __init__(self) -> None:
        self._waiting: list[tuple[Wanted, subprocess.Popen[bytes]]] = []
        self._lock = threading.Lock()

    def expect(self, wanted: Wanted, start: Starts) -> None:
        """Start a worker that waits. The thread that calls this must live as long as the worker: see `lifeline`."""
        try:
            child = start(wanted)
            said = {"flavour": wanted.flavour, "action": wanted.action, "site": wanted.site}
            _tell(child, json.dumps(said))
        except OSError:  # then it is started when it is needed, which reports what is wrong
            return
        with self._lock:
            self._waiting.append((wanted, child))

    def take(self, wanted: Wanted, folder: Path) -> subprocess.Popen[bytes] | None:
        """A worker that now works in this folder; None if none fits."""
        with self._lock:
            found = next((one for one in self._waiting if one[0] == wanted), None)
            if found is None:
                return None
            self._waiting.remove(found)
        child = found[1]
        with contextlib.suppress(OSError):
            if child.poll() is None:
                _tell(child, str(folder.absolute()), last=True)
                return child
        _end(child)
        return None

    def dismiss(self) -> None:
        """End those that were not needed."""
        with self._lock:
            unused, self._waiting = self._waiting, []
        for _, child in unused:
            _end(child)


def _tell(child: subprocess.Popen[bytes], line: str, *, last: bool = False) -> None:
    assert child.stdin is not None
    child.stdin.write(line.encode() + b"\n")
    child.stdin.flush()
    if last:
        child.stdin.close()


def _end(child: subprocess.Popen[bytes]) -> None:
    kill(child)
    for stream in (child.stdin, child.stdout):
        if stream is not None:
            with contextlib.suppress(OSError):
                stream.close()


WAITING_WORKERS = WaitingWorkers()
