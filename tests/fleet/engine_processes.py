"""The processes that run engines for agents, and clients that wait for them, while a test looks on."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from tests.fleet.fleets import ROOT, TestFleet


@dataclass
class EngineProcess:
    """A process that ran an engine: when it was seen, and what it was given."""

    pid: int
    began: float
    ended: float
    variables: Mapping[str, str]
    agent: int
    """The agent's process."""


@dataclass
class Watched:
    """The processes of engines that agents of a fleet start, looked at every few milliseconds."""

    fleet: TestFleet
    seen: dict[int, EngineProcess] = field(default_factory=dict)
    _over: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Watched:
        self._thread = threading.Thread(target=self._look_on, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._over.set()
        self._thread.join()

    def _look_on(self) -> None:
        while not self._over.wait(0.03):
            self.look()

    def look(self) -> None:
        for one in psutil.process_iter():
            try:
                if one.pid in self.seen:
                    if one.status() != psutil.STATUS_ZOMBIE:
                        self.seen[one.pid].ended = time.monotonic()
                elif "engine_process.main" in one.cmdline() and one.status() != psutil.STATUS_ZOMBIE:
                    self._note(one)
            except psutil.Error:  # noqa: PERF203 - it has ended, which is no reason to look at no other
                continue

    def _note(self, process: Any) -> None:
        agents = {one.child.pid for one in self.fleet.others}
        mine = [parent.pid for parent in process.parents() if parent.pid in agents]
        if mine:
            now = time.monotonic()
            self.seen[process.pid] = EngineProcess(process.pid, now, now, process.environ(), mine[0])

    def in_order(self) -> list[EngineProcess]:
        return sorted(self.seen.values(), key=lambda one: one.began)


def runs(pid: int) -> bool:
    """Whether a process is there and does something yet."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@contextmanager
def started_client(fleet: TestFleet, folder: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A user's command that goes on while the test does, and no longer."""
    home = {"XDG_CACHE_HOME": str(folder / "cache"), "XDG_CONFIG_HOME": str(folder / "config")}
    root = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    child = subprocess.Popen(
        [sys.executable, "-m", "trtpipe", *arguments, "--executor", "dask", *fleet.options],
        cwd=folder, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env={**os.environ, **home, "PYTHONPATH": root, "TRTPIPE_SCHEDULER": fleet.address},
    )  # fmt: skip
    with child:
        try:
            yield child
        finally:
            child.kill()
