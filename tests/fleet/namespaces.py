"""Machines that are network namespaces of this one, on one bridge: their links can be cut. Needs root and `ip`."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field


def why_none() -> str:
    """Why there can be no namespaces here; empty if there can."""
    if shutil.which("ip") is None:
        return "needs the program ip"
    if os.geteuid() != 0:
        return "needs root, to make network namespaces"
    made = subprocess.run(["ip", "netns", "add", "tp-probe"], capture_output=True, check=False)
    subprocess.run(["ip", "netns", "del", "tp-probe"], capture_output=True, check=False)
    return "" if made.returncode == 0 else "needs the right to make network namespaces"


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


@dataclass
class Network:
    """A bridge in a namespace of its own, and machines that hang on it."""

    tag: str = field(default_factory=lambda: f"tp{os.getpid() % 10000}")
    machines: dict[str, str] = field(default_factory=dict)
    """Name → address."""

    @property
    def _hub(self) -> str:
        return f"{self.tag}-hub"

    def add(self, name: str) -> str:
        """A machine of that name; its address."""
        number = len(self.machines) + 1
        space, inner, outer = f"{self.tag}-{name}", f"{self.tag}i{number}", f"{self.tag}o{number}"
        address = f"10.231.7.{number}"
        _ip("netns", "add", space)
        self.machines[name] = address
        _ip("link", "add", inner, "type", "veth", "peer", "name", outer)
        _ip("link", "set", inner, "netns", space)
        _ip("link", "set", outer, "netns", self._hub)
        _ip("-n", space, "addr", "add", f"{address}/24", "dev", inner)
        for device in ("lo", inner):
            _ip("-n", space, "link", "set", device, "up")
        _ip("-n", self._hub, "link", "set", outer, "master", "bridge", "up")
        return address

    def inside(self, name: str) -> list[str]:
        """What begins a command line that runs on a machine."""
        return ["ip", "netns", "exec", f"{self.tag}-{name}"]

    def cut(self, name: str, *, up: bool = False) -> None:
        """Cut the cable of a machine, or plug it in again."""
        number = list(self.machines).index(name) + 1
        _ip("-n", self._hub, "link", "set", f"{self.tag}o{number}", "up" if up else "down")


@contextlib.contextmanager
def network() -> Iterator[Network]:
    """A network without machines, all of which are gone at the end."""
    found = Network()
    _ip("netns", "add", f"{found.tag}-hub")
    try:
        _ip("-n", f"{found.tag}-hub", "link", "add", "bridge", "type", "bridge")
        _ip("-n", f"{found.tag}-hub", "link", "set", "bridge", "up")
        yield found
    finally:
        for name in ["hub", *found.machines]:
            subprocess.run(["ip", "netns", "del", f"{found.tag}-{name}"], check=False, capture_output=True)
