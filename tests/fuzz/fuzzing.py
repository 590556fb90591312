"""Feeds readers with damaged files: each is read or refused by a TrtpipeError, soon and in bounded memory."""

from __future__ import annotations

import queue
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tests.fuzz.fuzz_child import case_of
from tests.fuzz.fuzz_readers import READERS, available
from tests.surroundings import child_environment

HERE = Path(__file__).resolve().parent

__all__ = ["Found", "Tally", "available", "fuzz"]

PATIENCE = 20.0
"""Seconds for one case; a start, with what it imports, may take longer."""
_START = 120.0


@dataclass(frozen=True)
class Found:
    """A case that went wrong, and where its files are kept."""

    reader: str
    number: int
    why: str
    saved: Path


@dataclass
class Tally:
    """What came of the cases of a reader."""

    counts: Counter[str] = field(default_factory=Counter)
    found: list[Found] = field(default_factory=list)
    seconds: float = 0.0


@dataclass(frozen=True)
class Bounds:
    """How much is done: until a moment of the monotonic clock, or so many cases."""

    until: float | None
    cases: int | None

    def reached(self, number: int) -> bool:
        """Whether the case of this number is one too many."""
        over = self.until is not None and time.monotonic() > self.until
        return over or (self.cases is not None and number >= self.cases)


def fuzz(
    name: str, *, seed: int, keep: Path, seconds: float | None = None, cases: int | None = None
) -> Tally:
    """Runs so many cases of a reader, or for so long; the files of those that go wrong are put into `keep`."""
    tally, begin, number = Tally(), time.monotonic(), 0
    bounds = Bounds(None if seconds is None else begin + seconds, cases)
    while not bounds.reached(number):
        command = [sys.executable, str(HERE / "fuzz_child.py"), name, str(seed), str(number)]
        child = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=child_environment()
        )
        lines, patience = _lines_of(child), _START
        try:
            while not bounds.reached(number):
                why = _one_case(child, lines, number, patience, tally)
                if why:
                    tally.found.append(_kept(name, seed, number, why, keep))
                number, patience = number + 1, PATIENCE
                if why.startswith("the child"):
                    break
        finally:
            child.kill()
            child.communicate()
    tally.seconds = time.monotonic() - begin
    return tally


def _one_case(
    child: subprocess.Popen[str], lines: queue.Queue[str | None], number: int, patience: float, tally: Tally
) -> str:
    """Waits for what comes of a case; why it failed, or nothing."""
    started = _next(lines, patience)
    assert started == str(number), f"a child said {started!r} instead of {number}: {_errors(child)}"
    said = _next(lines, PATIENCE)
    if said is None:
        tally.counts["failed"] += 1
        hung = lines.empty() and child.poll() is None
        return f"the child hung for {PATIENCE:.0f} s" if hung else f"the child died: {child.wait()}"
    kind, _, why = said.partition(" ")
    tally.counts[kind] += 1
    return why.replace("\\n", "\n")


def _lines_of(child: subprocess.Popen[str]) -> queue.Queue[str | None]:
    lines: queue.Queue[str | None] = queue.Queue()

    def pump() -> None:
        assert child.stdout is not None
        try:
            for line in child.stdout:
                lines.put(line.rstrip("\n"))
        except ValueError:  # closed: enough cases
            pass
        lines.put(None)

    threading.Thread(target=pump, daemon=True).start()
    return lines


def _next(lines: queue.Queue[str | None], patience: float) -> str | None:
    try:
        return lines.get(timeout=patience)
    except queue.Empty:
        return None


def _errors(child: subprocess.Popen[str]) -> str:
    child.kill()
    return child.communicate()[1][-2000:]


def _kept(name: str, seed: int, number: int, why: str, keep: Path) -> Found:
    reader = READERS[name]
    folder = keep / f"{name.replace(' ', '-')}-{seed}-{number}"
    folder.mkdir(parents=True, exist_ok=True)
    for file, data in case_of(reader, reader.corpus(), name, seed, number).items():
        (folder / file).write_bytes(data)
    return Found(name, number, why, folder)
