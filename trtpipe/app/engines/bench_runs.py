"""The runs of a benchmark, with an engine on a GPU or its typed model on the CPU, and the evaluation of their times."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from trtpipe import __version__
from trtpipe.app.engines.bench_request import BenchRequest
from trtpipe.app.engines.choice import ENGINE, ON_CPU, Chosen
from trtpipe.building.build import default_jobs
from trtpipe.digests import digest_file
from trtpipe.errors import ModelError
from trtpipe.metrics.records import PARTS, SCHEMA
from trtpipe.plan.control import Control
from trtpipe.plan.task import Task
from trtpipe.problem_codes import Code
from trtpipe.runners.benchmarks.gpu_state import Unknown, gpu_state
from trtpipe.runners.feeds.feeds import Feed
from trtpipe.runners.inference.engine_process.steadiness import WINDOWS
from trtpipe.runners.inference.requests import EngineRun, GraphUse, HowToRun
from trtpipe.runners.inference.tensors import store_tensors
from trtpipe.shapes import format_shape

if TYPE_CHECKING:
    from trtpipe.arrays import Array
    from trtpipe.runners.inference.results import Inference, Timings

Say = Callable[[str], None]


@dataclass(frozen=True)
class Measured:
    """One set of inputs to measure, and the profile that takes it."""

    feed: Feed
    profile: int

    def shapes(self) -> dict[str, list[int]]:
        """The shapes, as they are recorded in a result."""
        return {name: list(shape) for name, shape in self.feed.shapes().items()}

    def words(self) -> str:
        """A description for people."""
        return ", ".join(f"{name} {format_shape(shape)}" for name, shape in self.feed.shapes().items())


def measure_engine(
    asked: BenchRequest, chosen: Chosen, feeds: Sequence[Measured], folder: Path, say: Say
) -> dict[str, Any]:
    """The result of an engine, measured on a GPU. Raises what running it does."""
    notes = _Clocks(chosen)
    measurements: list[dict[str, Any]] = []
    for number, one in enumerate(feeds):
        inputs = store_tensors(one.feed.arrays, folder, f"inputs{number}")
        for graph in asked.graphs:
            found = []
            for streams in asked.with_one:
                say(f"{chosen.place.name}: {one.words()}, {_streams(streams)}{_graph_words(graph)}")
                scratch = folder / f"{number}-{graph}-{streams}"
                scratch.mkdir()
                how = HowToRun(
                    warm_up=asked.warm_up,
                    steady=asked.steady,
                    streams=streams,
                    graph=graph,
                    timing=True,
                    save=False,
                )
                run = EngineRun(inputs, one.profile)
                engine, inference = chosen.run_engine([run], how, scratch, notes.hear)
                found.append(inference)
            measurements.append(_of_engine(asked, one, graph, found))
    gpu = {key: getattr(inference.gpu, key) for key in ("name", "compute_capability", "cuda", "memory_total")}
    about = {
        "subject": ENGINE,
        "engine": engine.engine.digest.hex,
        "machine": {"gpu": gpu, "cpu": cpu_name()},
        "tensorrt": inference.tensorrt,
        "how": asked.how(),
    }
    not_run = [f"clocks, power and temperature: {notes.why_not}"] if notes.why_not else []
    return _record(chosen, about, measurements, notes.to_json(), not_run)


def _of_engine(
    asked: BenchRequest, one: Measured, graph: GraphUse, found: Sequence[Inference]
) -> dict[str, Any]:
    from trtpipe.metrics.latency import summary_of

    timings = [_timings(inference) for inference in found]
    latency = {part: summary_of(_settled(timings[0].column(part), timings[0])) for part in PARTS}
    rates = dict(zip(asked.with_one, map(_rate, timings), strict=True))
    graphs = [inference.graphs.why_not for inference in found]
    return {
        **_about(one, graph),
        "latency": latency,
        "throughput": [{"streams": count, "per_second": rates[count]} for count in asked.streams],
        "stable": all(timing.steady for timing in timings),
        "windows": [dict(window) for window in timings[0].windows],
        "graphs": {
            "captured": sum(inference.graphs.captured for inference in found),
            "replayed": sum(inference.graphs.replayed for inference in found),
            "why_not": next(filter(None, graphs), ""),
        },
        "memory": {"engine": found[0].memory.engine, "contexts": found[0].memory.contexts,
                   "tensors": found[0].memory.tensors_peak},
    }  # fmt: skip


def _timings(inference: Inference) -> Timings:
    assert inference.timings is not None, "they were asked for"
    return inference.timings


Series = TypeVar("Series", "Array", Sequence[float])


def _settled(series: Series, timings: Timings) -> Series:
    """The times that count: those of the windows that agreed, or all when none did."""
    if not timings.steady:
        return series
    last = timings.windows[-WINDOWS:]
    return series[int(last[0]["first"]) : int(last[-1]["first"] + last[-1]["executions"])]


def _rate(timings: Timings) -> float:
    return rate_of(timings.windows, steady=bool(timings.steady))


def rate_of(windows: Sequence[Mapping[str, float]], *, steady: bool) -> float:
    """Runs a second, over the windows that agreed, or over all."""
    counted = windows[-WINDOWS:] if steady else windows
    return sum(one["executions"] for one in counted) / sum(one["seconds"] for one in counted)


class _Clocks:
    """The GPU's state when the first runs begin and when the last ones end."""

    def __init__(self, chosen: Chosen) -> None:
        gpus, device = chosen.machine.gpus, chosen.where.device
        self._uuid, self._device = gpus[device].uuid if device < len(gpus) else "", device
        self._before: dict[str, Any] | None = None
        self._after: dict[str, Any] | None = None
        self.why_not = ""

    def hear(self, event: Mapping[str, Any]) -> None:
        """Record the GPU's state when runs begin or end."""
        if event["event"] == "phase" and event["name"] == "running" and self._before is None:
            self._before = self._now()
        elif event["event"] == "phase" and event["name"] == "freeing memory":
            self._after = self._now()

    def _now(self) -> dict[str, Any] | None:
        if self.why_not:
            return None
        found = gpu_state(self._uuid, self._device)
        if isinstance(found, Unknown):
            self.why_not = found.why
            return None
        return found

    def to_json(self) -> dict[str, Any] | None:
        """Both states as JSON, if both were recorded."""
        seen = self._before is not None and self._after is not None
        return {"before": self._before, "after": self._after} if seen else None


def measure_model(
    asked: BenchRequest, chosen: Chosen, feeds: Sequence[Measured], folder: Path, say: Say
) -> dict[str, Any]:
    """The result of a typed model, measured on the CPU. Raises ModelError, StepFailed."""
    threads = asked.where.threads or default_jobs()
    measurements: list[dict[str, Any]] = []
    about: dict[str, Any] = {}
    for number, one in enumerate(feeds):
        say(f"{chosen.place.name}: {one.words()}, {ON_CPU}, {threads_words(threads)}")
        measured, about = _model_measured(asked, chosen, one, folder / f"cpu{number}", threads)
        measurements.append(measured)
    record = {
        "subject": ON_CPU,
        "engine": _digest(chosen),
        "machine": {"gpu": None, "cpu": cpu_name()},
        "tensorrt": None,
        "how": {**asked.how(), "threads": threads, **about},
    }
    not_run = (
        [f"the engine: {chosen.why_not.removeprefix('the engine ')}"]
        if chosen.place.engine is not None
        else []
    )
    if asked.graph != "off":
        not_run.append("CUDA graphs: not available on the CPU")
    return _record(chosen, record, measurements, None, not_run)


def _model_measured(
    asked: BenchRequest, chosen: Chosen, one: Measured, scratch: Path, threads: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    import numpy as np

    from trtpipe.metrics.latency import summary_of
    from trtpipe.processes.stage_runs import run_in_child
    from trtpipe.runners.inference.results import Timings

    (scratch / "out").mkdir(parents=True)
    inputs = store_tensors(one.feed.arrays, scratch, "input")
    steady = asked.steady
    options = {
        "inputs": {name: tensor.to_json() for name, tensor in inputs.items()},
        "threads": threads,
        "warm_up": asked.warm_up,
        "streams": list(asked.with_one),
        "steady": {"window": steady.window, "within": steady.within, "limit": steady.limit},
    }
    task = Task("bench", options, {"model": chosen.model_files()}, scratch / "out")
    made = run_in_child(task, scratch, Control())
    told = {entry["streams"]: entry for entry in made.summary["measured"]}
    series = np.load(made.files["times.npy"], allow_pickle=False)
    timings = Timings(series, len(series), 0.0, 0.0, told[1]["steady"], told[1]["windows"])
    rates = {count: rate_of(entry["windows"], steady=entry["steady"]) for count, entry in told.items()}
    measured = {
        **_about(one, "off"),
        "latency": {"host": summary_of(_settled(series, timings))},
        "throughput": [{"streams": count, "per_second": rates[count]} for count in asked.streams],
        "stable": all(entry["steady"] for entry in told.values()),
        "windows": told[1]["windows"],
    }
    about = {"runtime": f"ONNX Runtime {made.summary['onnxruntime']}", "twins": made.summary["twins"]}
    return measured, about


def _about(one: Measured, graph: GraphUse) -> dict[str, Any]:
    return {"shapes": one.shapes(), "profile": one.profile, "graph": graph}


def _record(
    chosen: Chosen,
    about: Mapping[str, Any],
    measurements: Sequence[Mapping[str, Any]],
    clocks: Mapping[str, Any] | None,
    not_run: Sequence[str],
) -> dict[str, Any]:
    """The whole result; its top-level measurement fields repeat the first entry of `measurements`."""
    first = measurements[0]
    return {
        "schema": SCHEMA,
        "trtpipe": __version__,
        "when": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "cell": chosen.place.name,
        **about,
        "shapes": first["shapes"],
        "latency": first["latency"],
        "throughput": first["throughput"],
        "stable": all(one["stable"] for one in measurements),
        "clocks": clocks,
        "not_run": list(not_run),
        "measurements": list(measurements),
        "compared": [],
    }


def _digest(chosen: Chosen) -> str | None:
    """The engine's digest; a result of its typed model is recorded under it as well."""
    path = chosen.place.engine
    if path is None:
        return None
    try:
        return digest_file(path).hex
    except OSError as error:
        raise ModelError(Code.CANNOT_READ, f"{path}: {(error.strerror or str(error)).lower()}") from error


def cpu_name() -> str:
    """The processor's name, as the operating system reports it."""
    return next(_cpu_names(), "") or platform.processor() or platform.machine()


def _cpu_names() -> Iterator[str]:
    try:
        text = Path("/proc/cpuinfo").read_text(errors="replace")
    except OSError:
        return
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            yield value.strip()


def threads_words(count: int) -> str:
    """`1 thread`, `8 threads`."""
    return "1 thread" if count == 1 else f"{count} threads"


def _streams(count: int) -> str:
    return "1 stream" if count == 1 else f"{count} streams"


def _graph_words(graph: GraphUse) -> str:
    return {"off": "", "capture": ", CUDA graph", "rtx": ", TensorRT-RTX's own graph"}[graph]
