"""Random histories of a build: edits, partial builds, crashes and losses; then one build that must equal a clean one.

Two worlds live through them: one in memory, thousands of builds a second, and the real store on a disk, with the real
executor, whose files are cut short, flipped and removed.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.building.world import World, compute, plan, step
from trtpipe.digests import Digest, digest_bytes
from trtpipe.errors import ArtifactMissing, StoreError
from trtpipe.executors.local import LocalExecutor
from trtpipe.plan.address import Address
from trtpipe.plan.dispatcher import Dispatcher
from trtpipe.plan.events import Event
from trtpipe.plan.graph import Action, Plan, Step
from trtpipe.plan.ports import ActionResult, Performed
from trtpipe.plan.rebuilder import Past, Rebuilder, decide_all
from trtpipe.plan.scheduler import Done, Result, Scheduler
from trtpipe.plan.trace import Trace
from trtpipe.problem_codes import Code
from trtpipe.stores.local import LocalStore
from trtpipe.stores.state import ProjectState

SOURCES = [b"one", b"two", b"three", b"two more"]
RebuilderOf = Callable[[Any], Rebuilder]
ROUNDS = 3


class Killed(BaseException):
    """The process is gone: whatever was not on the disk yet never will be."""


@dataclass
class Spec:
    """A graph that is edited: each step's needs, source and options."""

    rng: random.Random
    needs: dict[str, list[str]] = field(default_factory=dict)
    sources: dict[str, bytes | None] = field(default_factory=dict)
    options: dict[str, dict[str, int]] = field(default_factory=dict)
    _made: int = 0

    def grow(self) -> None:
        """A new step behind some of the others."""
        name = f"s{self._made}"
        self._made += 1
        self.needs[name] = self.rng.sample(list(self.needs), k=min(len(self.needs), self.rng.randint(0, 3)))
        self.sources[name] = self.rng.choice(SOURCES) if not self.needs[name] else None
        self.options[name] = {"level": self.rng.randint(0, 2)}
        if self.rng.random() < 0.4:
            self.options[name]["keep"] = self.rng.randint(0, 6)  # so that changes can vanish on their way

    def edit(self) -> None:
        """Change one thing: a source, an option, what a step needs; or add or remove a step."""
        name = self.rng.choice(list(self.needs))
        match self.rng.randrange(5):
            case 0:
                self.sources[name] = self.rng.choice(SOURCES)
            case 1:
                self.options[name]["level"] = self.rng.randint(0, 2)
            case 2:
                before = list(self.needs)[: list(self.needs).index(name)]
                self.needs[name] = self.rng.sample(before, k=min(len(before), self.rng.randint(0, 3)))
                self.sources[name] = self.sources[name] or self.rng.choice(SOURCES)
            case 3:
                self.grow()
            case 4 if len(self.needs) > 1 and not any(name in needs for needs in self.needs.values()):
                del self.needs[name], self.sources[name], self.options[name]

    def plan(self) -> Plan:
        """All of it."""
        return plan(*map(self._step, self.needs))

    def part(self) -> Plan:
        """One step and what it needs."""
        wanted, pending = set(), [self.rng.choice(list(self.needs))]
        while pending:
            name = pending.pop()
            wanted.add(name)
            pending += self.needs[name]
        return plan(*(self._step(name) for name in self.needs if name in wanted))

    def _step(self, name: str) -> Step:
        return step(name, *self.needs[name], source=self.sources[name], **self.options[name])


def last_steps(wanted: Plan) -> list[Address]:
    """The steps whose outputs nobody else takes: what a user is handed."""
    taken = {up for one in wanted.steps.values() for up in one.upstream()}
    return [address for address in wanted.steps if address not in taken]


def build(world: Any, wanted: Plan, rebuilder_of: RebuilderOf) -> Mapping[str, Digest]:
    """A build as the composition root does it: what is handed over must be there, lost or not. Step → output.

    What turns out lost when it is handed over is gone through once more.
    """
    handed = last_steps(wanted)
    results: dict[Address, Result] = {}
    part = wanted
    for _ in range(ROUNDS):
        decided = decide_all(part, rebuilder_of(world), [one for one in handed if one in part.steps])
        lost = []
        for address, result in world.run(part, decided.rebuilder):
            results[address] = result
            if (
                address in handed
                and isinstance(result, Done)
                and not all(map(world.whole, result.outputs.values()))
            ):
                lost.append(address)
        if not lost:
            break
        part = part.upto(lost)
    assert not lost
    assert all(isinstance(one, Done) for one in results.values()), results
    return {address.pipeline: one.outputs["out"] for address, one in results.items()}


def clean_outputs(wanted: Plan) -> tuple[dict[str, Digest], dict[Digest, bytes]]:
    """What a clean build gives."""
    world = World(bytes_of={digest_bytes(data): data for data in SOURCES})
    outputs = {name: one.outputs["out"] for name, one in world.build(wanted).items()}
    return outputs, world.bytes_of


@dataclass
class InMemory(World):
    """A world that can be killed between any two of its writes, and lose anything but its sources."""

    dies_in: int = -1
    """How many writes from now; never when negative."""

    def written(self) -> None:
        if self.dies_in == 0:
            raise Killed
        self.dies_in -= 1

    def submit(self, action: Action, *, anew: bool = False) -> Future[Performed]:
        self.ran.append(action.address.pipeline)
        future: Future[Performed] = Future()
        inputs = [digest for files in action.fingerprint.inputs.values() for digest in files.values()]
        if any(digest not in self.bytes_of for digest in inputs):
            future.set_exception(ArtifactMissing(Code.NO_ARTIFACT, "lost"))
            return future
        output = compute(action, self.bytes_of)
        digest = digest_bytes(output)
        self.written()
        self.bytes_of[digest] = output
        self.written()
        trace = Trace(action.key, str(action.address), action.fingerprint.record(), {"out": digest})
        self.traces[action.key] = trace
        self.written()
        self.last[action.address.pipeline] = action.key
        future.set_result(Performed(trace))
        return future

    def run(self, wanted: Plan, rebuilder: Rebuilder) -> Iterator[tuple[Address, Result]]:
        return Scheduler(wanted, rebuilder, self, self).run()

    def whole(self, digest: Digest) -> bool:
        return digest in self.bytes_of

    def lose(self, rng: random.Random) -> None:
        """Whatever a user or a disk may take away."""
        kept = {digest_bytes(data) for data in SOURCES}
        for table in (self.bytes_of, self.traces, self.last):
            for name in [name for name in table if name not in kept and rng.random() < 0.3]:
                del table[name]

    def holds(self, digest: Digest, data: bytes) -> bool:
        return self.bytes_of.get(digest) == data


@dataclass
class OnDisk:
    """The real store, state and executor, over bodies that are functions of bytes."""

    root: Path
    dies_in: int = -1

    def __post_init__(self) -> None:
        self.store = LocalStore(self.root / "store")
        self.state = ProjectState.load(self.root / "state.json")
        self.sources = {digest_bytes(data): data for data in SOURCES}

    def past(self) -> Past:
        def outputs_of(address: Address, key: str) -> Mapping[str, Digest] | None:
            known = self.state.last_outputs(address, key)
            trace = None if known is not None else self.store.trace(key)
            return known if trace is None else trace.outputs

        def last_record(address: Address) -> Mapping[str, Any] | None:
            trace = self.store.trace(self.state.last_key(address) or "")
            return trace.fingerprint if trace else None

        return Past(outputs_of, last_record, self.store.has)

    def perform(self, action: Action, scratch: Path, control: Any) -> ActionResult:
        taken = dict(self.sources)
        for slot, files in action.fingerprint.inputs.items():
            for name, digest in files.items():
                if name != "source":
                    self.store.fetch(digest, scratch / "in" / slot)
                    taken[digest] = (scratch / "in" / slot).read_bytes()
        path = scratch / "out"
        path.write_bytes(compute(action, taken))
        return ActionResult({"out": path})

    def emit(self, event: Event) -> None:
        pass

    def whole(self, digest: Digest) -> bool:
        """Whether the artifact is there with the bytes that its name says; a damaged one is put aside."""
        try:
            return self.store.path(digest).is_file()
        except StoreError:
            return False

    def run(self, wanted: Plan, rebuilder: Rebuilder) -> Iterator[tuple[Address, Result]]:
        store = _Dying(self)
        jobs = Dispatcher(store, LocalExecutor(store, self.perform), jobs=2, observer=self)
        try:
            for address, result in Scheduler(wanted, rebuilder, jobs, self).run():
                if isinstance(result, Done):
                    self.state.remember_step(address, result.key, result.outputs)
                yield address, result
        finally:
            jobs.close()
            if self.dies_in < 0:
                self.state.save()

    def lose(self, rng: random.Random) -> None:
        """Files that are removed, cut short, or changed in one bit; a state that is gone."""
        for path in sorted((self.root / "store").glob("*/*/*")):
            if rng.random() < 0.25:
                path.chmod(0o644)
                data = bytearray(path.read_bytes())
                match rng.randrange(3):
                    case 0:
                        path.unlink()
                    case 1:
                        path.write_bytes(data[: len(data) // 2])
                    case _ if data:
                        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
                        path.write_bytes(data)
        if rng.random() < 0.3:
            (self.root / "state.json").unlink(missing_ok=True)

    def holds(self, digest: Digest, data: bytes) -> bool:
        return self.store.path(digest).read_bytes() == data


class _Dying:
    """The store of a process that is killed before one of its writes."""

    def __init__(self, world: OnDisk) -> None:
        self._world = world

    def __getattr__(self, name: str) -> Any:
        if name in ("put", "record"):
            if self._world.dies_in == 0:
                raise Killed
            self._world.dies_in -= self._world.dies_in > 0
        return getattr(self._world.store, name)


def lives_through(
    seed: int, open_world: Callable[[], Any], rebuilder_of: RebuilderOf, *, events: int
) -> bool:
    """Whether a build after a random history equals a clean one."""
    rng = random.Random(seed)
    spec = Spec(rng)
    for _ in range(rng.randint(2, 8)):
        spec.grow()
    world = open_world()
    for _ in range(events):
        match rng.randrange(5):
            case 0 | 1:
                spec.edit()
            case 2:
                build(world, spec.part(), rebuilder_of)
            case 3:
                world.dies_in = rng.randint(0, 8)
                try:
                    build(world, spec.plan(), rebuilder_of)
                    world.dies_in = -1
                except Killed:
                    world.dies_in = -1
                    world = world if isinstance(world, InMemory) else open_world()
            case 4:
                world.lose(rng)
                world = world if isinstance(world, InMemory) else open_world()
    wanted = spec.plan()
    found = build(world, wanted, rebuilder_of)
    expected, bytes_of = clean_outputs(wanted)
    handed = [one.pipeline for one in last_steps(wanted)]
    return found == expected and all(world.holds(expected[one], bytes_of[expected[one]]) for one in handed)
