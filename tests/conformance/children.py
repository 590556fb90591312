"""Cases handed to child processes that a crash or a hang of one takes down alone.

A child gets one case a line on its stdin, as JSON, says `phase NAME` before each thing that may kill it, and ends a
case with `result JSON`. What died in one phase is tried again without that phase, so that the others are known.
"""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from tests.surroundings import child_environment

_PATIENCE = 120.0  # seconds without a word from a child before its phase counts as hung

Lost = Callable[[str, str], dict[str, Any]]
"""The result of a case, by name, of which nothing came but the phase in which its process died."""


class Child:
    """One process of a module of this folder, which is named first; replaced when it dies."""

    def __init__(self, command: Sequence[str], lost: Lost) -> None:
        self.command, self.lost = (
            [sys.executable, "-m", f"tests.conformance.{command[0]}", *command[1:]],
            lost,
        )
        self.process: subprocess.Popen[str] | None = None
        self.lines: queue.Queue[str] = queue.Queue()

    def run(self, name: str) -> dict[str, Any]:
        """The result of one case; a phase that takes the process down is skipped on the next try."""
        skip: list[str] = []
        while True:
            result, phase = self._try(name, skip)
            if result is not None:
                return result
            if phase in ("", *skip):
                return self.lost(name, phase)
            skip.append(phase)

    def _try(self, name: str, skip: Sequence[str]) -> tuple[dict[str, Any] | None, str]:
        if self.process is None:
            self._start()
        assert self.process is not None and self.process.stdin is not None
        phase = ""
        try:
            self.process.stdin.write(json.dumps({"name": name, "skip": list(skip)}) + "\n")
            self.process.stdin.flush()
            while True:
                line = self.lines.get(timeout=_PATIENCE)
                if line.startswith("result "):
                    return json.loads(line.removeprefix("result ")), phase
                if not line:
                    break
                phase = line.removeprefix("phase ").strip()
        except (OSError, queue.Empty):
            pass
        self.stop()
        return None, phase

    def _start(self) -> None:
        self.lines = queue.Queue()
        self.process = subprocess.Popen(
            self.command,
            env=child_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        threading.Thread(target=_forward, args=(self.process.stdout, self.lines), daemon=True).start()

    def stop(self) -> None:
        """Ends the process, if there is one."""
        process, self.process = self.process, None
        if process is not None:
            process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout):
                _close(stream)


def _close(stream: Any) -> None:
    try:
        stream.close()
    except OSError:
        return


def _forward(stream: Any, lines: queue.Queue[str]) -> None:
    try:
        for line in stream:
            lines.put(line)
    except ValueError:
        return
    lines.put("")


def in_children(
    command: Sequence[str], lost: Lost, names: Sequence[str], jobs: int, progress: bool = False
) -> list[dict[str, Any]]:
    """The results of cases, in their order, out of as many children as there are jobs."""
    waiting: queue.Queue[tuple[int, str]] = queue.Queue()
    for item in enumerate(names):
        waiting.put(item)
    results: list[dict[str, Any]] = [{} for _ in names]

    def work() -> None:
        child = Child(command, lost)
        try:
            while True:
                index, name = waiting.get_nowait()
                started = time.monotonic()
                results[index] = child.run(name) | {"seconds": round(time.monotonic() - started, 2)}
                if progress and index % 100 == 0:
                    print(f"{index} of {len(names)}", file=sys.stderr)
        except queue.Empty:
            return
        finally:
            child.stop()

    threads = [threading.Thread(target=work) for _ in range(jobs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def sample(names: Sequence[str], size: int) -> list[str]:
    """`size` names, evenly spread over the sorted list: the same ones every time."""
    ordered = sorted(names)
    return [ordered[index * len(ordered) // size] for index in range(min(size, len(ordered)))]
