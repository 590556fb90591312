"""Gives each piece of work a lane of an agent: a GPU for itself, or one of the lanes for work without a GPU.

A client takes no more lanes of an agent than it has, and prefers the agent with the most free ones. Clients do not know
of each other: an agent that serves several keeps the rest waiting (`agent/lanes.py`).
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from threading import Condition

from trtpipe.errors import FleetError, Problem
from trtpipe.fleet.connection import Fleet, SeenAgent
from trtpipe.fleet.labels import gpu_key
from trtpipe.fleet.placement import Need, fitting_gpus, reason_lines, why_not
from trtpipe.plan.control import Control
from trtpipe.problem_codes import Code

_TICK_SECONDS = 0.5
NO_AGENT = "no agent is connected: start one with `trtpipe agent ADDRESS`"


@dataclass(frozen=True, slots=True)
class Lane:
    """One lane of an agent; `gpu` is the key of a GPU, or empty."""

    agent: SeenAgent
    gpu: str = ""

    def __str__(self) -> str:
        found = [gpu for gpu in self.agent.labels.gpus if gpu_key(gpu) == self.gpu]
        return f"{self.agent.name} gpu {found[0].index}" if found else self.agent.name


@dataclass
class Lanes:
    """The lanes of a fleet that this client uses."""

    fleet: Fleet
    wait_seconds: float = 0.0
    """How long to wait for agents that can do what none can do now."""
    _used: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(agent's address, GPU or nothing) → how many pieces of work of this client are there."""
    _busy: Counter[tuple[str, bool]] = field(default_factory=Counter)
    """(agent's address, whether on a GPU) → the same, added up."""
    _spent: set[str] = field(default_factory=set)
    """Agents that were given work; those that take one piece of work only get no second one."""
    _luck: dict[tuple[str, str], float] = field(default_factory=dict)
    """This client's order of lanes that are equal otherwise."""
    _unreachable: dict[str, str] = field(default_factory=dict)
    """Address of an agent that this client cannot exchange artifacts with → why."""

    @property
    def _changed(self) -> Condition:
        return self.fleet.changed

    def total(self) -> int:
        """How many pieces of work the fleet does at a time."""
        return sum(one.labels.lanes + len(one.labels.gpus) for one in self.fleet.agents())

    def wait_for(self, needs: Collection[Need]) -> None:
        """Wait until every need is served by some agent, or `wait_seconds` are over."""
        ends = time.monotonic() + self.wait_seconds
        with self._changed:
            while time.monotonic() < ends:
                agents = self.fleet.agents()
                if not any(all(self.why_not(one, need) for one in agents) for need in needs):
                    return
                self._changed.wait(_TICK_SECONDS)

    def take(self, need: Need, control: Control, avoid: Collection[str] = ()) -> Lane:
        """Wait for a free lane that fits; agents in `avoid` are taken only if nobody else fits.

        Raises FleetError when no agent fits, Interrupted when `control` says so.
        """
        ends = time.monotonic() + self.wait_seconds
        while True:
            control.check()
            with self._changed:
                able = [one for one in self.fleet.agents() if not self.why_not(one, need)]
                others = [one for one in able if one.address not in avoid] or able
                if not others and time.monotonic() >= ends:
                    raise self._nobody(need)
                lane = self._free(others, need)
                if lane is not None:
                    self._count(lane, 1)
                    self._spent.add(lane.agent.address)
                    return lane
                self._changed.wait(_TICK_SECONDS)

    def leave_out(self, agent: SeenAgent, why: str) -> None:
        """Give no more work to an agent that cannot be sent artifacts."""
        with self._changed:
            self._unreachable[agent.address] = why
            self._changed.notify_all()

    def why_not(self, agent: SeenAgent, need: Need) -> str:
        """Why an agent cannot do this work for this client; empty if it can."""
        return self._unreachable.get(agent.address) or why_not(agent.labels, need)

    def _nobody(self, need: Need) -> FleetError:
        """The error for work that no agent can do, with the reason of each."""
        reasons = reason_lines({one.name: self.why_not(one, need) for one in self.fleet.agents()})
        fact = f"no agent of the fleet can do a step, which needs {need_words(need)}"
        remedy = "" if reasons else NO_AGENT
        return FleetError(Problem(Code.NOBODY_SERVES, fact, remedy, details="\n".join(reasons)))

    def give(self, lane: Lane) -> None:
        """A lane is free again."""
        with self._changed:
            self._count(lane, -1)
            self._changed.notify_all()

    def _count(self, lane: Lane, change: int) -> None:
        self._used[lane.agent.address, lane.gpu] += change
        self._busy[lane.agent.address, bool(lane.gpu)] += change

    def _free(self, agents: Collection[SeenAgent], need: Need) -> Lane | None:
        """The best free lane: of an agent for one piece of work, else of the least busy one, else any.

        Among equals each client has an order of its own, so that clients which do not know of each other spread.
        """
        free = [
            lane
            for agent in agents
            if not (agent.labels.one and agent.address in self._spent)
            for lane in self._free_of(agent, need)
        ]
        return min(free, key=self._worth) if free else None

    def _free_of(self, agent: SeenAgent, need: Need) -> list[Lane]:
        if need.gpu is not None:
            gpus = fitting_gpus(agent.labels, need)
            return [Lane(agent, gpu) for gpu in gpus if not self._used[agent.address, gpu]]
        return [Lane(agent)] if self._used[agent.address, ""] < agent.labels.lanes else []

    def _worth(self, lane: Lane) -> tuple[bool, float, float]:
        labels, address = lane.agent.labels, lane.agent.address
        used = self._busy[address, bool(lane.gpu)]
        places = len(labels.gpus) if lane.gpu else labels.lanes
        return not labels.one, used / places, self._luck.setdefault((address, lane.gpu), random.random())  # noqa: S311


def need_words(need: Need) -> str:
    """What work needs, as text: `an NVIDIA L4, TensorRT 10.16.1.11`."""
    parts = [str(need.gpu)] if need.gpu is not None else []
    if need.toolchain is not None:
        from trtpipe.targets.toolchain import TITLES

        parts.append(f"{TITLES[need.toolchain.flavour]} {need.toolchain.version}")
    parts += [f"{name} {version}" for name, version in need.packages.items()]
    return ", ".join(parts) or "nothing but trtpipe"
