"""Gives each piece of work a lane of an agent: a GPU for itself, or one of the lanes for work without a GPU.

A client takes no more lanes of an agent than it has, and prefers the agent with the most free ones. Clients do not know
of each other: an agent that serves several keeps the rest waiting (`agent/lanes.py`).

There is a pool for each need, with the agents that fit it, best first. It is kept up to date with what changes, so that
taking a lane costs the same among ten agents and among a thousand.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from threading import Condition, Lock

from trtpipe.errors import FleetError, Problem
from trtpipe.fleet.connection import Fleet, SeenAgent
from trtpipe.fleet.labels import gpu_key
from trtpipe.fleet.placement import Need, fitting_gpus, reason_lines, why_not
from trtpipe.plan.control import Control
from trtpipe.problem_codes import Code

_TICK_SECONDS = 0.5
_MOST_STALE = 64
NO_AGENT = "no agent is connected: start one with `trtpipe agent ADDRESS`"


@dataclass(frozen=True, slots=True)
class Lane:
    """One lane of an agent; `gpu` is the key of a GPU, or empty."""

    agent: SeenAgent
    gpu: str = ""

    def __str__(self) -> str:
        found = [gpu for gpu in self.agent.labels.gpus if gpu_key(gpu) == self.gpu]
        return f"{self.agent.name} gpu {found[0].index}" if found else self.agent.name


Worth = tuple[bool, float, float]
"""Lanes with less are taken first."""


@dataclass
class _Pool:
    """The agents that fit one need, and the best free lane of each."""

    need: Need
    freed: Condition
    """Notified when a lane of the pool is free, or when other agents fit."""
    able: dict[str, SeenAgent] = field(default_factory=dict)
    heap: list[tuple[Worth, str, int, str]] = field(default_factory=list)
    """Worth, address, the agent's stamp at that time, GPU. One with an older stamp counts no longer."""

    def offer(self, worth: Worth, lane: Lane, stamps: Counter[str]) -> None:
        """Add the best free lane of an agent."""
        heappush(self.heap, (worth, lane.agent.address, stamps[lane.agent.address], lane.gpu))
        if len(self.heap) > 2 * len(self.able) + _MOST_STALE:
            self.heap = [one for one in self.heap if stamps[one[1]] == one[2]]
            heapify(self.heap)
        self.freed.notify()

    def best(self, stamps: Counter[str], avoid: Collection[str]) -> Lane | None:
        """The best free lane, which is taken out; agents in `avoid` count only if nobody else fits."""
        if sum(address in self.able for address in avoid) == len(self.able):
            avoid = ()
        avoided = []
        found = None
        while self.heap and found is None:
            entry = _, address, stamp, gpu = heappop(self.heap)
            if stamps[address] != stamp:
                continue
            if address in avoid:
                avoided.append(entry)
            else:
                found = Lane(self.able[address], gpu)
        for entry in avoided:
            heappush(self.heap, entry)
        return found


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
    _pools: dict[str, _Pool] = field(default_factory=dict)
    _seen: tuple[SeenAgent, ...] = ()
    _agents: dict[str, SeenAgent] = field(default_factory=dict)
    """The agents that are in the pools which they fit: those of `_seen` by address."""
    _stamps: Counter[str] = field(default_factory=Counter)
    """Address of an agent → how often its lanes have changed."""
    _mutex: Lock = field(default_factory=Lock)

    def total(self) -> int:
        """How many pieces of work the fleet does at a time."""
        return sum(one.labels.lanes + len(one.labels.gpus) for one in self.fleet.agents())

    def wait_for(self, needs: Collection[Need]) -> None:
        """Wait until every need is served by some agent, or `wait_seconds` are over."""
        ends = time.monotonic() + self.wait_seconds
        with self.fleet.changed:
            while time.monotonic() < ends:
                agents = self.fleet.agents()
                if not any(all(self.why_not(one, need) for one in agents) for need in needs):
                    return
                self.fleet.changed.wait(_TICK_SECONDS)

    def take(self, need: Need, control: Control, avoid: Collection[str] = ()) -> Lane:
        """Wait for a free lane that fits; agents in `avoid` are taken only if nobody else fits.

        Raises FleetError when no agent fits, Interrupted when `control` says so.
        """
        ends = time.monotonic() + self.wait_seconds
        with self._mutex:
            pool = self._pool(need)
            while True:
                control.check()
                self._follow()
                if not pool.able and time.monotonic() >= ends:
                    raise self._nobody(need)
                lane = pool.best(self._stamps, avoid)
                if lane is not None:
                    self._spent.add(lane.agent.address)
                    self._count(lane, 1)
                    return lane
                pool.freed.wait(_TICK_SECONDS)

    def leave_out(self, agent: SeenAgent, why: str) -> None:
        """Give no more work to an agent that cannot be sent artifacts."""
        with self._mutex:
            self._unreachable[agent.address] = why
            self._remove(agent.address)

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
        with self._mutex:
            self._count(lane, -1)

    def _count(self, lane: Lane, change: int) -> None:
        address = lane.agent.address
        self._used[address, lane.gpu] += change
        self._busy[address, bool(lane.gpu)] += change
        self._stamps[address] += 1
        for pool in self._pools.values():
            if address in pool.able:
                self._offer(pool, pool.able[address])

    def _pool(self, need: Need) -> _Pool:
        """The pool of a need; the first time every agent is asked whether it fits."""
        name = repr(need)
        pool = self._pools.get(name)
        if pool is None:
            pool = self._pools[name] = _Pool(need, Condition(self._mutex))
            for agent in self._agents.values():
                self._add(pool, agent)
        return pool

    def _follow(self) -> None:
        """Take note of the agents that came or went. Raises FleetError when the connection is broken."""
        agents = self.fleet.agents()
        if agents is self._seen:
            return
        present = {one.address: one for one in agents}
        for address in self._agents.keys() - present.keys():
            self._remove(address)
        for address in present.keys() - self._agents.keys():
            for pool in self._pools.values():
                self._add(pool, present[address])
        self._seen, self._agents = agents, present

    def _add(self, pool: _Pool, agent: SeenAgent) -> None:
        if not self.why_not(agent, pool.need):
            pool.able[agent.address] = agent
            self._offer(pool, agent)

    def _remove(self, address: str) -> None:
        """Take an agent out of all pools; whoever waits there may be in vain now."""
        self._stamps[address] += 1
        for pool in self._pools.values():
            if pool.able.pop(address, None) is not None:
                pool.freed.notify_all()

    def _offer(self, pool: _Pool, agent: SeenAgent) -> None:
        """Put the best free lane of an agent into a pool, if it has one.

        An agent for one piece of work is the best, then the least busy one. Among equals each client has an order of
        its own, so that clients which do not know of each other spread.
        """
        if agent.labels.one and agent.address in self._spent:
            return
        free = self._free_of(agent, pool.need)
        if free:
            worth, lane = min(((self._worth(one), one) for one in free), key=lambda found: found[0])
            pool.offer(worth, lane, self._stamps)

    def _free_of(self, agent: SeenAgent, need: Need) -> list[Lane]:
        if need.gpu is not None:
            gpus = fitting_gpus(agent.labels, need)
            return [Lane(agent, gpu) for gpu in gpus if not self._used[agent.address, gpu]]
        return [Lane(agent)] if self._used[agent.address, ""] < agent.labels.lanes else []

    def _worth(self, lane: Lane) -> Worth:
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
