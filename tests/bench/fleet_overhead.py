"""What a fleet costs for each action, each agent and each second, measured on this machine over loopback.

A scheduler, one agent whose actions take no time, and then more agents that only stand there, all real processes with
trtpipe's settings of dask. The agent shares the client's store, so no artifact is transferred. The ratio is that of a
trivial action through trtpipe's whole path to dask's own `client.submit(noop).result()`, taken in turn.

    python tests/bench/fleet_overhead.py [--actions 200] [--agents 50]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parents[2]

from trtpipe.digests import Digest, digest_bytes  # noqa: E402
from trtpipe.executors.local import LocalExecutor  # noqa: E402
from trtpipe.fleet.connection import Fleet, SeenAgent, connect  # noqa: E402
from trtpipe.fleet.executor import FleetExecutor, Wishes  # noqa: E402
from trtpipe.fleet.labels import Labels  # noqa: E402
from trtpipe.fleet.lanes import Lanes  # noqa: E402
from trtpipe.fleet.placement import Need  # noqa: E402
from trtpipe.fleet.protocol import Answer, Request  # noqa: E402
from trtpipe.fleet.records import Timeline  # noqa: E402
from trtpipe.fleet.transfer import Routes  # noqa: E402
from trtpipe.plan.address import STAGE_VERSIONS, address  # noqa: E402
from trtpipe.plan.control import Control  # noqa: E402
from trtpipe.plan.fingerprint import Fingerprint  # noqa: E402
from trtpipe.plan.graph import Action  # noqa: E402
from trtpipe.plan.ports import ActionResult  # noqa: E402
from trtpipe.stores.local import LocalStore  # noqa: E402

THREADS = 32
IDLE_SECONDS = 15
SUMMARY = {
    "audit": {
        "nodes": {}, "weights": {}, "weight_elements": {}, "weight_bytes": {}, "casts": 0,
        "low_precision_share": {"nodes": None, "weight_elements": None},
    },
    "planned": {}, "quantized": 0, "casts": 0, "why_not": {}, "warnings": [],
    "wide": {"overflow": {}, "unmeasured": 0, "overflow_io": {}, "by_default": {}},
}  # fmt: skip
"""What a step that quantizes at least says of its result."""


# -- processes


def perform(action: Action, scratch: Path, control: Any) -> ActionResult:
    """A stage that takes no time."""
    (scratch / "model.onnx").write_text(str(action.address))
    return ActionResult({"model.onnx": scratch / "model.onnx"}, SUMMARY)


def run_agent(scheduler: str) -> None:
    from trtpipe.building.performer import Performer

    Performer.__call__ = lambda self, action, scratch, control: perform(action, scratch, control)  # type: ignore
    sys.argv[1:] = ["agent", scheduler, "--name", "working", "--lanes", str(THREADS)]
    from trtpipe.__main__ import main as trtpipe

    trtpipe()


def run_bystanders(scheduler: str, count: int) -> None:
    """So many agents that nobody gives work, as they are of another version."""
    from types import SimpleNamespace

    from trtpipe.agent.machine import labels_here
    from trtpipe.fleet import entry
    from trtpipe.fleet.dask_settings import LOOPBACK, WORKER, quiet_dask
    from trtpipe.fleet.labels import Exchange

    quiet_dask()
    import dask
    from distributed import Worker

    dask.config.set(WORKER)
    text = replace(labels_here("bystander", 1, Exchange(), installs=True), trtpipe="0").to_text()
    entry.serve(SimpleNamespace(labels=lambda: text))  # type: ignore[arg-type]

    async def stand() -> None:
        for number in range(count):
            await Worker(
                scheduler, nthreads=64, name=f"bystander-{os.getpid()}-{number}", memory_limit=0, dashboard=False,
                local_directory=tempfile.mkdtemp(), dashboard_address=LOOPBACK, heartbeat_interval="2s",
                host="127.0.0.1",
            )  # fmt: skip
        print("serves", flush=True)
        await asyncio.Event().wait()

    asyncio.run(stand())


@contextlib.contextmanager
def process(*command: str, **variables: str) -> Iterator[psutil.Process]:
    """A process that runs while the context lasts, once it says that it serves."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
    child = subprocess.Popen(
        [sys.executable, *command], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        assert child.stdout is not None
        while line := child.stdout.readline():
            if b"serves" in line:
                break
        else:
            raise RuntimeError(f"{command} ended")
        yield psutil.Process(child.pid)
    finally:
        child.terminate()
        child.communicate(timeout=30)


# -- the client's side


class Silent:
    """An observer of no use."""

    def emit(self, event: object) -> None:
        pass


class Sourceless:
    """A project without files."""

    def sources(self, action: Action) -> dict[str, Any]:
        return {}


@dataclass
class Client:
    fleet: Fleet
    store: LocalStore
    source: Digest
    sent: list[int]
    answered: list[int]
    _number: int = 0

    @property
    def agent(self) -> SeenAgent:
        return next(one for one in self.fleet.agents() if one.name == "working")

    def action(self) -> Action:
        """One that nobody has run. As large as a step of a small project."""
        self._number += 1
        options = {
            "number": self._number,
            "keep": ["/head/**", "op:Softmax"],
            "base": "fp16",
            "io": {"*": "convert"},
        }
        inputs = {"model": {"model.onnx": self.source}, "scales": {"scales.json": self.source}}
        print_ = Fingerprint("quantize", STAGE_VERSIONS["quantize"], options, {}, inputs)
        return Action(address("quantize", "digits", f"v{self._number}"), print_)

    def executor(self) -> FleetExecutor:
        return FleetExecutor(
            LocalExecutor(self.store, perform), self.store, Sourceless(), Silent(), self.fleet,  # type: ignore
            Lanes(self.fleet), Routes(self.store, None), Wishes(lambda action: Need()), Timeline(),
        )  # fmt: skip

    def noop(self) -> None:
        self.fleet._client.submit(int, 1, pure=False, workers=[self.agent.address]).result()

    def ask(self) -> None:
        """A request that the agent refuses at once: the protocol without any work on files."""
        request = Request(os.urandom(8).hex(), self.fleet.topic, self.action(), gpu="none")
        with self.fleet.asked(self.agent, request, Control(), lambda report: None) as answer:
            assert answer.refused


def count_bytes(client: Client) -> None:
    """Note the sizes of requests and answers."""
    to_text, from_text = Request.to_text, Answer.from_text

    def sent(request: Request) -> str:
        text = to_text(request)
        client.sent.append(len(text))
        return text

    def answered(text: str) -> Answer:
        client.answered.append(len(text))
        return from_text(text)

    Request.to_text, Answer.from_text = sent, answered  # type: ignore[method-assign]


def milliseconds(repeat: int, *things: Callable[[], object]) -> list[float]:
    """The median of each, taken in turn so that whatever else the machine does falls on all."""
    taken: list[list[float]] = [[] for _ in things]
    for turn in range(repeat + 5):
        for thing, seconds in zip(things, taken, strict=True):
            began = time.perf_counter()
            thing()
            if turn >= 5:
                seconds.append(time.perf_counter() - began)
    return [1000 * median(one) for one in taken]


def processor_seconds(one: psutil.Process) -> float:
    times = one.cpu_times()
    return times.user + times.system


def report(name: str, value: float, unit: str) -> None:
    print(f"{name:58} {value:10.2f} {unit}", flush=True)


def measure_actions(client: Client, count: int, scheduler: psutil.Process, agent: psutil.Process) -> None:
    executor = client.executor()
    here = LocalExecutor(client.store, perform)
    noop, asked, local, whole = milliseconds(
        count,
        client.noop,
        client.ask,
        lambda: here.execute(client.action(), Control()),
        lambda: executor.execute(client.action(), Control()),
    )
    report("dask's client.submit(noop).result()", noop, "ms")
    report("a request that is refused: protocol without files", asked, "ms")
    report("a trivial action on this machine: scratch, put, trace", local, "ms")
    report("a trivial action through the whole path", whole, "ms")
    report("ratio: whole path to dask's round trip", whole / noop, "")
    report("ratio: the same less the work on files that is local too", (whole - local) / noop, "")
    report("ratio: protocol to dask's round trip", asked / noop, "")
    report("request", median(client.sent), "bytes")
    report("answer", median(client.answered), "bytes")
    everyone = {"client": psutil.Process(), "scheduler": scheduler, "agent": agent}
    for name, work in (
        ("whole path", lambda: executor.execute(client.action(), Control())),
        ("noop", client.noop),
    ):
        before = {one: processor_seconds(it) for one, it in everyone.items()}
        began = time.perf_counter()
        with ThreadPoolExecutor(THREADS) as pool:
            for done in [pool.submit(work) for _ in range(5 * count)]:
                done.result()
        seconds = time.perf_counter() - began
        report(f"{name}, {THREADS} at a time", 5 * count / seconds, "actions/s")
        for one, it in everyone.items():
            report(
                f"  {one}: processor time",
                1000 * (processor_seconds(it) - before[one]) / (5 * count),
                "ms/action",
            )


def measure_memory(client: Client, count: int, scheduler: psutil.Process) -> None:
    """What the scheduler keeps of actions that have ended: it should be nothing."""
    before = scheduler.memory_info().rss
    executor = client.executor()
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(lambda _: executor.execute(client.action(), Control()), range(10 * count)))
    grown = scheduler.memory_info().rss - before
    report(f"scheduler: memory kept of {10 * count} ended actions", grown / (10 * count) / 1024, "KiB/action")


def measure_idle(client: Client, agents: int, scheduler: psutil.Process) -> None:
    us = psutil.Process()
    before = processor_seconds(scheduler), processor_seconds(us)
    time.sleep(IDLE_SECONDS)
    after = processor_seconds(scheduler), processor_seconds(us)
    report(f"{agents} agents, idle: scheduler's open files", scheduler.num_fds(), "")
    report(f"{agents} agents, idle: scheduler's memory", scheduler.memory_info().rss / 2**20, "MiB")
    report(
        f"{agents} agents, idle: scheduler's processor", 1000 * (after[0] - before[0]) / IDLE_SECONDS, "ms/s"
    )
    report(f"{agents} agents, idle: client's processor", 1000 * (after[1] - before[1]) / IDLE_SECONDS, "ms/s")
    before = processor_seconds(scheduler), processor_seconds(us)
    began = time.perf_counter()
    for _ in range(200):
        client.fleet._client.nthreads()
    seconds = time.perf_counter() - began
    report(f"{agents} agents: one look, client.nthreads()", 1000 * seconds / 200, "ms")
    report("  scheduler: processor time", 1000 * (processor_seconds(scheduler) - before[0]) / 200, "ms/look")
    report("  client: processor time", 1000 * (processor_seconds(us) - before[1]) / 200, "ms/look")
    report("  its answer, as JSON", len(json.dumps(client.fleet._client.nthreads())), "bytes")


def measure_lanes(labels: Labels, agents: int, threads: int, fitting: int, seconds: float = 10.0) -> None:
    """How fast a client alone hands out lanes of many agents, of which some fit, when actions take no time."""
    fleet = Fleet.__new__(Fleet)
    fleet.changed, fleet._broken = threading.Condition(), ""
    fleet._by_name = tuple(
        SeenAgent(
            f"tcp://{number}",
            replace(
                labels, name=f"agent{number}", lanes=1, python=labels.python if number < fitting else "other"
            ),
        )
        for number in range(agents)
    )
    lanes, need, ends = (
        Lanes(fleet),
        Need(dict(list(labels.packages.items())[:3]), labels.python),
        time.monotonic() + seconds,
    )
    handed = [0] * threads

    def work(mine: int) -> None:
        while time.monotonic() < ends:
            lanes.give(lanes.take(need, Control()))
            handed[mine] += 1

    before = processor_seconds(psutil.Process())
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, range(threads)))
    used = processor_seconds(psutil.Process()) - before
    name = f"lanes of {agents} agents, {fitting} fit, {threads} threads"
    report(f"{name}: handed out", sum(handed) / seconds, "lanes/s")
    report("  client: processor time", 1000 * used / max(sum(handed), 1), "ms/lane")


def main() -> None:
    if sys.argv[1:2] == ["agent"]:
        return run_agent(sys.argv[2])
    if sys.argv[1:2] == ["bystanders"]:
        return run_bystanders(sys.argv[2], int(sys.argv[3]))
    parser = argparse.ArgumentParser()
    parser.add_argument("--actions", type=int, default=200)
    parser.add_argument("--agents", type=int, default=50)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        return measure(Path(folder), asked.actions, asked.agents)


def measure(folder: Path, actions: int, agents: int) -> None:
    os.environ["TRTPIPE_STORE"] = str(folder / "store")
    store = LocalStore(folder / "store")
    store.open()
    (folder / "source").write_bytes(b"model")
    source = store.put(folder / "source")
    assert source == digest_bytes(b"model")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        where = f"tcp://127.0.0.1:{probe.getsockname()[1]}"
    with (
        process("-m", "trtpipe", "fleet", "scheduler", where) as scheduler,
        process(__file__, "agent", where) as agent,
        contextlib.closing(connect(where, None)) as fleet,
    ):
        client = Client(fleet, store, source, [], [])
        count_bytes(client)
        report("labels of an agent", len(client.agent.labels.to_text()), "bytes")
        measure_actions(client, actions, scheduler, agent)
        measure_memory(client, actions, scheduler)
        measure_idle(client, 1, scheduler)
        half = agents // 2
        with process(__file__, "bystanders", where, str(half)):
            measure_idle(client, 1 + half, scheduler)
            with process(__file__, "bystanders", where, str(agents - half)):
                measure_idle(client, 1 + agents, scheduler)
                noop, whole = milliseconds(
                    actions, client.noop, lambda: client.executor().execute(client.action(), Control())
                )
                report(f"{1 + agents} agents: noop", noop, "ms")
                report(f"{1 + agents} agents: a trivial action", whole, "ms")
        for many in (10, 100, 1000):
            measure_lanes(client.agent.labels, many, 8, fitting=many)
        measure_lanes(client.agent.labels, 1000, 512, fitting=1000)
        measure_lanes(client.agent.labels, 1000, 512, fitting=20)


if __name__ == "__main__":
    main()
