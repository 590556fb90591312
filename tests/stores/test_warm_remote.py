"""A plan of a thousand cells against a remote that has them all: traces come, engines do not."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

from trtpipe.building.prefetch import prefetch_traces
from trtpipe.digests import digest_bytes
from trtpipe.plan.address import Address, address
from trtpipe.plan.decisions import UpToDate
from trtpipe.plan.graph import FromStep, Plan, Source, Step, action_of, plan_of
from trtpipe.plan.options import NO_TRANSFORM, UNPLACED, EngineOptions, QuantizeOptions
from trtpipe.plan.rebuilder import Past, Rebuilder, decide_all
from trtpipe.plan.trace import Trace
from trtpipe.stores.buckets import Absent, Chunks
from trtpipe.stores.layered import LayeredStore
from trtpipe.stores.remote import Remote, Terms
from trtpipe.stores.state import STATE_FILE, ProjectState

CELLS = 1000
OUT = "model.onnx"


class MemoryBucket:
    """Objects in a dict, and how many requests were under way at the same time."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.waiting, self.most = 0, 0
        self.lock = threading.Lock()

    def has(self, name: str) -> bool:
        self.asked.append(name)
        return name in self.objects

    def read(self, name: str, most: int) -> bytes:
        with self.lock:
            self.asked.append(name)
            self.waiting += 1
            self.most = max(self.most, self.waiting)
        threading.Event().wait(0.001)
        with self.lock:
            self.waiting -= 1
        if name not in self.objects:
            raise Absent(name)
        return self.objects[name]

    def stream(self, name: str, size: int) -> Iterator[bytes]:
        yield self.read(name, size)

    def write(self, name: str, chunks: Chunks, size: int | None) -> None:
        self.objects[name] = b"".join(chunks())


def matrix(cells: int) -> Plan:
    """One model in two types, built for many targets."""
    model = Source("model.onnx", Path("/nowhere/model.onnx"), digest_bytes(b"model"))
    steps = [Step(address("import", "digits"), NO_TRANSFORM, {}, {"source": (model,)})]
    for variant in ("fp32", "fp16"):
        taken = {"model": (FromStep(address("import", "digits"), (OUT,)),)}
        typed = QuantizeOptions(precision=variant, precision_version=1, keep={}, origins=UNPLACED)
        steps.append(Step(address("quantize", "digits", variant), typed, {}, taken))
        for number in range(cells // 2):
            inputs = {"model": (FromStep(address("quantize", "digits", variant), (OUT,)),)}
            engine = address("build_engine", "digits", variant, f"t{number}")
            steps.append(Step(engine, engine_options(f"sm{number}"), {}, inputs))
    return plan_of({step.address: step for step in steps}, ())


def engine_options(capability: str) -> EngineOptions:
    return EngineOptions(
        network_name="net", profiles=(), builder={}, compute_capabilities=(capability,), origins=UNPLACED
    )


def fill(bucket: MemoryBucket, plan: Plan, folder: Path) -> None:
    remote = Remote(lambda: bucket, "memory", Terms(writes=True), lambda text: None)
    artifact, outputs = folder / "artifact", {}
    for place, step in plan.steps.items():
        artifact.write_bytes(str(place).encode() * 10)
        action = action_of(step, outputs)
        outputs[place] = dict.fromkeys(
            (OUT, "model.engine", "network.json"), digest_bytes(artifact.read_bytes())
        )
        told = {"audit": {}, "normalised": "", "version": "", "layer_counts": {}, "io": []}
        trace = Trace(action.key, str(place), action.fingerprint.record(), outputs[place], told)
        assert remote.send(trace, lambda digest: artifact)


def test_a_thousand_cells_are_up_to_date_without_a_byte_of_an_engine(tmp_path):
    bucket, plan = MemoryBucket(), matrix(CELLS)
    fill(bucket, plan, tmp_path)
    bucket.asked.clear()
    store = LayeredStore(tmp_path / "store")
    store.add_remote(Remote(lambda: bucket, "memory", Terms(required=True), store.warnings.append))
    state = ProjectState.load(tmp_path / STATE_FILE)

    prefetch_traces(plan, store, state)

    def outputs_of(place: Address, key: str):
        trace = store.trace(key)
        return trace.outputs if trace else None

    decisions = decide_all(plan, Rebuilder(Past(outputs_of, lambda place: None, store.has))).decisions
    assert {type(one) for one in decisions.values()} == {UpToDate}
    assert all(store.has(one.outputs[OUT]) for one in decisions.values())
    assert len(bucket.asked) == len(plan.steps) == CELLS + 3
    assert all("/traces/" in name for name in bucket.asked)
    assert store.remote.traffic.bytes_received == 0
    assert not list((store.root / "objects").iterdir())
    assert bucket.most > 4, "traces were asked for one after the other"


def test_what_the_project_remembers_is_not_asked_for(tmp_path):
    bucket, plan = MemoryBucket(), matrix(10)
    store = LayeredStore(tmp_path / "store")
    store.add_remote(Remote(lambda: bucket, "memory", Terms(required=True), store.warnings.append))
    state, outputs = ProjectState.load(tmp_path / STATE_FILE), {}
    for place, step in plan.steps.items():
        outputs[place] = {OUT: digest_bytes(str(place).encode())}
        state.remember_step(place, action_of(step, outputs).key, outputs[place])

    prefetch_traces(plan, store, state)

    assert bucket.asked == []
