"""How much longer a build takes through the worker than in a bare script: `python -m tests.bench.bench_worker`.

Both build the same engine of the same model, in turns, from starting a process to an engine on disk; medians are
compared. Not a test: it asserts nothing about time. Options: --rounds N, --models small,quarter,full.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tests import models
from tests.worker_requests import worker_request
from trtpipe.toolchains.engine_worker.launch import run_worker
from trtpipe.toolchains.engine_worker.request import WorkerRequest
from trtpipe.toolchains.engine_worker.watch import Supervision

RAW = """
import json, sys, tensorrt_rtx as trt
shapes = json.loads(sys.argv[1])
logger = trt.Logger(trt.Logger.WARNING)
builder = trt.Builder(logger)
network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
network.name = "bench"
parser = trt.OnnxParser(network, logger)
assert parser.parse_from_file("model.onnx")
config = builder.create_builder_config()
config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, 2 << 30)
config.num_compute_capabilities = 1
config.set_compute_capability(trt.ComputeCapability.SM89, 0)
if shapes:
    profile = builder.create_optimization_profile()
    profile.set_shape("x", *shapes)
    config.add_optimization_profile(profile)
open("raw.engine", "wb").write(builder.build_serialized_network(network, config))
"""
"""Builds model.onnx for sm89, with the default workspace of a spec; it is given the shapes of `x` as JSON, or `[]`."""
MODELS: dict[str, tuple[Callable[[Path], Path], list[int]]] = {
    "small": (models.small_cnn, []),
    "quarter": (lambda path: models.resnet50_like(path, width=0.25), [3, 224, 224]),
    "full": (models.resnet50_like, [3, 224, 224]),
}


def request_for(shape: list[int]) -> WorkerRequest:
    spec = importlib.util.find_spec("tensorrt_rtx")
    assert spec is not None and spec.origin is not None, "tensorrt_rtx is not installed here"
    profiles = [{"x": {"min": [1, *shape], "opt": [4, *shape], "max": [8, *shape]}}] if shape else []
    site, options = [str(Path(spec.origin).parents[1])], {"workspace": 2 << 30, "tf32": True}  # as raw
    return worker_request(site, network_name="bench", profiles=profiles, options=options)


def raw_command(shapes: Sequence[Sequence[int]]) -> list[str]:
    """Runs the bare script; `shapes` are the smallest, the usual and the largest of `x`, or none."""
    return [sys.executable, "-c", RAW, json.dumps(shapes)]


def build_raw(folder: Path, shape: list[int]) -> None:
    shapes = [[batch, *shape] for batch in (1, 4, 8)] if shape else []
    subprocess.run(raw_command(shapes), cwd=folder, check=True, capture_output=True)


def build_through_worker(folder: Path, shape: list[int]) -> None:
    run_worker(
        [sys.executable],
        request_for(shape),
        folder,
        Supervision(),
    )


def await_children() -> None:
    """Wait for what is still ending: a worker is not waited for, and its processor time is known once it has ended."""
    with contextlib.suppress(ChildProcessError):
        while True:
            os.wait()


def measure(work: Callable[[Path, list[int]], None], folder: Path, shape: list[int]) -> tuple[float, float]:
    """Wall and processor seconds."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    work(folder, shape)
    seconds = time.perf_counter() - began
    await_children()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def compare(name: str, rounds: int) -> str:
    generate, shape = MODELS[name]
    figures: dict[str, list[tuple[float, float]]] = {"raw": [], "worker": []}
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        generate(folder / "model.onnx")
        for _ in range(rounds):
            figures["raw"].append(measure(build_raw, folder, shape))
            figures["worker"].append(measure(build_through_worker, folder, shape))
    wall, cpu = (
        {key: statistics.median(pair[which] for pair in pairs) for key, pairs in figures.items()}
        for which in (0, 1)
    )
    return (
        f"{name:8} wall {wall['raw']:.3f} s raw, {wall['worker']:.3f} s worker,"
        f" ratio {wall['worker'] / wall['raw']:.2f};"
        f" processor {cpu['raw']:.3f} s, {cpu['worker']:.3f} s, ratio {cpu['worker'] / cpu['raw']:.2f}"
    )


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rounds", type=int, default=7)
    arguments.add_argument("--models", default=",".join(MODELS))
    chosen = arguments.parse_args()
    for name in chosen.models.split(","):
        print(compare(name, chosen.rounds), flush=True)


if __name__ == "__main__":
    main()
