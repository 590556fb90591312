"""Fleets on this machine for tests: a scheduler and agents in processes of their own, over loopback."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests import warm_commands

ROOT = Path(__file__).resolve().parents[2]
AGENT = warm_commands.AGENT
warm_commands.serve_for(ROOT)
_PATIENCE = 60.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(done: Callable[[], bool], what: str, seconds: float = _PATIENCE) -> None:
    ends = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < ends, f"waited {seconds:g} s in vain: {what}"
        time.sleep(0.05)


@dataclass
class Process:
    """A scheduler or an agent, and what it prints."""

    child: subprocess.Popen[bytes] | warm_commands.WarmProcess
    log: Path

    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def kill(self) -> None:
        """The whole process group at once, as when a machine loses power."""
        if self.child.poll() is None:
            os.killpg(self.child.pid, signal.SIGKILL)
        self.child.wait()

    def end(self) -> int:
        if self.child.poll() is None:
            self.child.terminate()
        return self.child.wait(_PATIENCE)


@dataclass
class TestFleet:
    """A scheduler and its agents, each with a home, and so a store, of its own below `folder`."""

    __test__ = False

    folder: Path
    options: tuple[str, ...] = ()
    scheme: str = "tcp"
    port: int = field(default_factory=free_port)
    scheduler: Process | None = None
    agents: dict[str, Process] = field(default_factory=dict)
    others: list[Process] = field(default_factory=list)
    variables: dict[str, str] = field(default_factory=dict)
    """Environment variables of every process."""

    @property
    def address(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    def start(self) -> TestFleet:
        command = [sys.executable, "-m", "trtpipe", "fleet", "scheduler", self.address, *self.options]
        before = self.scheduler.said().count("serves") if self.scheduler is not None else 0
        started = self.scheduler = self.process("scheduler", command)
        wait_until(lambda: started.said().count("serves") > before, "the scheduler starts")
        return self

    def agent(self, name: str, *arguments: str, waits: bool = True, **pretended: Any) -> Process:
        """Start an agent that pretends something."""
        command = [sys.executable, str(AGENT), json.dumps(pretended), "agent", self.address, "--name", name]
        process = self.process(name, [*command, *self.options, *arguments])
        self.agents[name] = process
        if waits:
            wait_until(lambda: " serves " in process.said() or process.child.poll() is not None, name)
        return process

    def process(self, name: str, command: list[str]) -> Process:
        home = self.folder / name
        home.mkdir(parents=True, exist_ok=True)
        log = home / "log"
        environment = _environment(home)
        environment.pop("TRTPIPE_STORE", None)
        environment |= self.variables
        with log.open("ab") as stream:
            child = warm_commands.popen([*self.prefix(name), *command], home, environment, stream)
        found = Process(child, log)
        self.others.append(found)
        return found

    def prefix(self, name: str) -> list[str]:
        """What begins the command line of a process, to run it on another machine."""
        return []

    def close(self) -> None:
        for one in self.others:
            one.kill()


def digits_project(folder: Path) -> Path:
    """The project of the README."""
    for name in ("pipelines", "calibration"):
        shutil.copytree(ROOT / name, folder / name)
    return folder


def stand_in_project(folder: Path) -> Path:
    """The same with limits that stand-in stages meet, and without the step that needs a real network."""
    spec = digits_project(folder) / "pipelines" / "digits.yaml"
    text = spec.read_text()
    spec.write_text(text[: text.index("  thresholds:")] + "  readback: {run: false}\n")
    return folder


def trtpipe(
    folder: Path, *arguments: str, home: Path, scheduler: str = "", timeout: float = 300
) -> subprocess.CompletedProcess[str]:
    """Run a command as the client of a fleet, with a home of its own."""
    environment = _environment(home)
    if scheduler:
        environment["TRTPIPE_SCHEDULER"] = scheduler
    return warm_commands.run([*warm_commands.COMMAND, *arguments], folder, environment, timeout)


def _environment(home: Path) -> dict[str, str]:
    return {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "XDG_CACHE_HOME": str(home / "cache"),
        "XDG_CONFIG_HOME": str(home / "config"),
    }
