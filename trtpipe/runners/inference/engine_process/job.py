"""Carries out one request: loads the engine, distributes its runs to lanes, writes outputs and times."""

from __future__ import annotations

import array
import contextlib
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .arrays import find_tensor, npy_header, write_tensor
from .buffers import Memory
from .devices import CudaError, Gpu, let_go, open_gpu
from .engine_files import Loader, import_tensorrt, read_engine
from .events import Events, Failure, Spoken, Stop
from .lanes import Lane, Output, Run, Shared
from .layers import write_layers
from .runtime import execution_contexts, save_runtime_cache
from .signature import Port, check_inputs, read_ports
from .steadiness import Steadiness

if TYPE_CHECKING:
    from types import ModuleType

    import tensorrt
    import tensorrt_rtx

    from .request import Request

_TIMES = 5  # the columns of timings.npy
_TOTAL = 3  # the column that decides whether runs are steady


@dataclass
class Taken:
    """Free bytes on the GPU at certain moments, and resident bytes of the process."""

    before: int
    loaded: int = 0
    contexts: int = 0
    middle: int | None = None
    last: int | None = None
    host_middle: int | None = None
    host_last: int | None = None


class Job:
    """One request; `result` is filled in step by step."""

    def __init__(self, request: Request, events: Events, stop: Stop) -> None:
        self.request, self.events, self.stop = request, events, stop
        self.spoken = Spoken()
        self.result: dict[str, object] = {}
        self._timed: dict[str, object] = {}
        self._times = array.array("d")
        self._steady = Steadiness(**request["steady"]) if request["steady"] else None

    def run(self) -> None:
        """Carry out the request. Raises Failure, CudaError, OSError."""
        self.events.begin("opening the GPU")
        with open_gpu(self.request["device"]) as gpu:
            self._on(gpu)

    def _on(self, gpu: Gpu) -> None:
        """The work on an open GPU; all TensorRT objects are freed when it returns."""
        request, events = self.request, self.events
        events.send("gpu", **gpu.facts())
        events.begin("importing TensorRT")
        trt = import_tensorrt(request)
        self.result["version"] = str(trt.__version__)
        plan = read_engine(request)
        events.begin("loading the engine")
        memory = Memory(gpu, request["memory_limit"])
        taken = Taken(gpu.memory()[0])
        loader = Loader(trt, request, gpu, events, self.spoken)
        engine = loader.load(plan)
        del plan
        taken.loaded = taken.contexts = gpu.memory()[0]
        ports = read_ports(trt, engine)
        self._tell_engine(engine, ports)
        if request["action"] == "run":
            self._run_all(trt, gpu, engine, ports, memory, taken)
        else:
            self.result["layers"] = write_layers(trt, engine)
        del engine, loader
        self._tell_memory(gpu, memory, taken)

    def _tell_engine(self, engine: tensorrt.ICudaEngine, ports: list[Port]) -> None:
        """Reports the engine's description."""
        size = getattr(engine, "device_memory_size_v2", None)  # missing in TensorRT 10.0
        facts = {
            "name": engine.name,
            "layers": engine.num_layers,
            "profiles": engine.num_optimization_profiles,
            "activation_memory": size,
            "io": [port.to_json() for port in ports],
        }
        self.events.send("engine", **facts)
        self.result["engine"] = facts

    def _tell_memory(self, gpu: Gpu, memory: Memory, taken: Taken) -> None:
        """Reports bytes on the GPU by purpose; other programs on the GPU distort all except those of the tensors."""
        self.result["memory"] = {
            "gpu_total": gpu.memory()[1],
            "gpu_free_before": taken.before,
            "gpu_free_after": gpu.memory()[0],
            "engine": max(taken.before - taken.loaded, 0),
            "contexts": max(taken.loaded - taken.contexts, 0),
            "tensors_peak": memory.device_peak,
            "pinned_peak": memory.pinned_peak,
            "tensors_left": memory.device + memory.pinned,
            "gpu_free_middle": taken.middle,
            "gpu_free_last": taken.last,
            "host_middle": taken.host_middle,
            "host_last": taken.host_last,
        }

    # -- running

    def _run_all(
        self,
        trt: ModuleType,
        gpu: Gpu,
        engine: tensorrt.ICudaEngine,
        ports: list[Port],
        memory: Memory,
        taken: Taken,
    ) -> None:
        runs = self._checked_runs(ports)
        with contextlib.ExitStack() as closing:
            lanes, cache = self._open_lanes(trt, gpu, engine, ports, memory, closing)
            taken.contexts = gpu.memory()[0]
            self.events.begin("running")
            with self._naming_cuda_errors():
                self._warm_up(lanes, runs)
                self._measure(gpu, lanes, runs, taken)
            self._tell_graphs(lanes)
            save_runtime_cache(self.request, cache, self.events)
            self.events.begin("freeing memory")
        self._write_times()

    def _checked_runs(self, ports: list[Port]) -> list[Run]:
        """The request's runs, all of them checked before the first one starts."""
        runs = []
        for number, entry in enumerate(self.request["runs"]):
            tensors = {name: find_tensor(name, one) for name, one in entry.get("inputs", {}).items()}
            check_inputs(ports, tensors)
            runs.append(Run(number, tensors, entry.get("profile")))
        if not runs:
            raise Failure("config", "there is nothing to run")
        return runs

    def _open_lanes(
        self,
        trt: ModuleType,
        gpu: Gpu,
        engine: tensorrt.ICudaEngine,
        ports: list[Port],
        memory: Memory,
        closing: contextlib.ExitStack,
    ) -> tuple[list[Lane], tensorrt_rtx.IRuntimeCache | None]:
        """The lanes, closed in reverse order with `closing`, and the runtime cache if one is asked for."""
        self.events.begin("creating execution contexts")
        contexts, cache = execution_contexts(trt, engine, self.request, self.spoken, self.events)
        lanes, shared = [], Shared(trt, gpu, memory, self.spoken)
        while contexts:
            lane = Lane(shared, ports, contexts.pop(), capture=self.request["graph"] == "capture")
            closing.push(closing_lane(lane))
            lanes.append(lane)
        return lanes, cache

    @contextlib.contextmanager
    def _naming_cuda_errors(self) -> Iterator[None]:
        """Reports a CUDA error during runs as an error of the engine."""
        try:
            yield
        except CudaError as error:
            if error.no_room:
                remedy = "use smaller shapes or fewer streams, or end other programs on the GPU"
                raise Failure("memory", f"the GPU has no memory left: {error}", remedy) from error
            fact = f"the engine failed on the GPU: {error}{self.spoken.because()}"
            remedy = "run it with one input at a time to see which one it fails on"
            raise Failure("run", fact, remedy if len(self.request["runs"]) > 1 else "") from error

    def _warm_up(self, lanes: list[Lane], runs: list[Run]) -> None:
        """The untimed iterations; their results are discarded."""
        for _ in range(self.request["warm_up"]):
            deque(self._round(lanes, runs, deque()), maxlen=0)

    def _measure(self, gpu: Gpu, lanes: list[Lane], runs: list[Run], taken: Taken) -> None:
        """The timed iterations; the outputs of the first are written."""
        request, count, began = self.request, 0, time.perf_counter()
        busy: deque[Lane] = deque()
        if self._steady is not None:
            self._steady.start(began)
        while count < request["iterations"] or self._goes_on(began):
            for lane, run, outputs, times in self._round(lanes, runs, busy, drain=count == 0):
                self._take(lane, run, outputs, times, first=count == 0)
            count += 1
            if count == 1:
                first_took = time.perf_counter() - began
            if count == max(request["iterations"] // 2, 1):
                taken.middle, taken.host_middle = gpu.memory()[0], resident_bytes()
        for lane in busy:
            self._take(lane, *lane.finish(), first=False)
        seconds = time.perf_counter() - began
        taken.last, taken.host_last = gpu.memory()[0], resident_bytes()
        self.result["timed"] = self._timed
        self._timed |= {
            "iterations": count,
            "executions": count * len(runs),
            "microseconds": seconds * 1e6,
            "after_first_microseconds": (seconds - first_took) * 1e6,
        }
        if self._steady is not None:
            self._steady.finish(time.perf_counter())
            self._timed["steadiness"] = self._steady.to_json()

    def _goes_on(self, began: float) -> bool:
        """Whether another iteration is needed, by the time limits."""
        now = time.perf_counter()
        unsteady = self._steady is not None and not self._steady.done(now)
        return unsteady or now - began < self.request["duration"]

    def _round(
        self, lanes: list[Lane], runs: list[Run], busy: deque[Lane], *, drain: bool = True
    ) -> Iterator[tuple[Lane, Run, list[Output], tuple[float, ...]]]:
        """Executes every run once, with lanes in turn; yields finished runs. Without `drain`, lanes stay busy."""
        for run in runs:
            self.stop.check()
            if len(busy) == len(lanes):
                lane = busy.popleft()
                yield (lane, *lane.finish())
            else:
                lane = next(one for one in lanes if one not in busy)
            with self._naming_run(run):
                lane.begin(run)
            busy.append(lane)
        while drain and busy:
            lane = busy.popleft()
            yield (lane, *lane.finish())

    @contextlib.contextmanager
    def _naming_run(self, run: Run) -> Iterator[None]:
        try:
            yield
        except Failure as failure:
            if len(self.request["runs"]) > 1:
                failure.message = f"run {run.number}: {failure.message}"
            raise

    def _take(
        self, lane: Lane, run: Run, outputs: list[Output], times: tuple[float, ...], *, first: bool
    ) -> None:
        """Keep a finished run's times, and its outputs when it is the first of its kind."""
        if self.request["timing"]:
            self._times.extend(times)
        if self._steady is not None:
            self._steady.add(times[_TOTAL], time.perf_counter())
        if first:
            written = [self._written(run, index, one) for index, one in enumerate(outputs)]
            fields = {"profile": lane.profile, "graph": lane.by_graph, "outputs": written}
            self.events.send("run", index=run.number, **fields)

    def _written(self, run: Run, index: int, output: Output) -> dict[str, object]:
        facts: dict[str, object] = {
            "name": output.name,
            "dtype": output.type.name,
            "shape": list(output.shape),
        }
        if self.request["save"]:
            stem = f"run{run.number}-output{index}"
            facts["file"] = write_tensor(stem, output.type, output.shape, output.data)
        return facts

    def _tell_graphs(self, lanes: list[Lane]) -> None:
        """How many runs were replayed from graphs, and why none were."""
        graphs = [lane.graph for lane in lanes if lane.graph is not None]
        if not graphs:
            return
        reason = next((graph.why_not for graph in graphs if graph.why_not), "")
        captured, replayed = sum(graph.captured for graph in graphs), sum(graph.replayed for graph in graphs)
        self.result["graphs"] = {"captured": captured, "replayed": replayed, "why_not": reason}
        if reason:
            self.events.send("note", message=f"ran without a CUDA graph: {reason}")

    def _write_times(self) -> None:
        if self.request["timing"]:
            if sys.byteorder == "big":
                self._times.byteswap()
            with open("timings.npy", "wb") as file:  # noqa: PTH123
                file.write(npy_header("<f8", (len(self._times) // _TIMES, _TIMES)))
                self._times.tofile(file)
            self._timed["file"] = "timings.npy"


def resident_bytes() -> int | None:
    """Resident memory of this process; None when the system does not report it."""
    try:
        with open("/proc/self/statm") as file:  # noqa: PTH123
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return None


def closing_lane(lane: Lane) -> Callable[..., None]:
    """Closes a lane; after a failure even that may fail; then only the first failure is reported."""

    def close(kind: object, error: BaseException | None, trace: object) -> None:
        let_go(error)
        try:
            lane.close()
        except CudaError:
            if error is None:
                raise

    return close
