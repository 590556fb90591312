"""What a first build and its engine step spend their time on: `python -m tests.bench.build_phases --detector FILE`.

Three models: a net like ResNet-50, one like a transformer with 512 MB of weights, and a text detector of PP-OCR
(an ONNX file with a dynamic input `x`). Each is built once from nothing with `--profile`; then its engine alone is
built again in turns with a bare script that makes the same engine, and medians are compared. Not a test: it asserts
nothing about time. With --write the table replaces the one in docs/measurements.md.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests import models
from tests.bench.bench_parallel import forget_engines
from tests.bench.bench_worker import raw_command

MEASUREMENTS = Path(__file__).resolve().parents[2] / "docs/measurements.md"
BEGIN, END = "<!-- phases of builds: tests/bench/build_phases.py -->", "<!-- end of phases -->"
SPEC = """\
schema: 1
pipeline: net
model: {source: models/net.onnx}
profiles: [{x: {min: MIN, opt: OPT, max: MAX}}]
targets: {ada: {gpu: sm89}}
validate: {random: {samples: 2}, corners: false}
"""
_WIDTH, _LAYERS, _LENGTH = 1024, 10, 32
_STAGES = ("import", "quantize", "validate", "parse", "readback")
_WORKER = ("start the process", "read the request", "import", "parse", "build", "write", "end the process")


def write_transformer(path: Path) -> None:
    """Ten layers of attention and a perceptron, 512 MB in float32: `x` batch x 32 x 1024 to `y`."""
    rng, nodes, weights = np.random.default_rng(0), [], []

    def weight(rows: int, columns: int) -> str:
        name = f"w{len(weights)}"
        value = (rng.standard_normal((rows, columns), np.float32) / np.sqrt(rows)).astype(np.float32)
        weights.append(numpy_helper.from_array(value, name))
        return name

    def node(operator: str, *inputs: str, **attributes: Any) -> str:
        name = f"{operator.lower()}{len(nodes)}"
        nodes.append(helper.make_node(operator, inputs, [f"{name}:0"], name, **attributes))
        return f"{name}:0"

    weights += [
        numpy_helper.from_array(np.ones(_WIDTH, np.float32), "one"),
        numpy_helper.from_array(np.float32(_WIDTH**-0.5), "scale"),
    ]
    x = "x"
    for _ in range(_LAYERS):
        query, key, value = (node("MatMul", x, weight(_WIDTH, _WIDTH)) for _ in range(3))
        scores = node("Mul", node("MatMul", query, node("Transpose", key, perm=[0, 2, 1])), "scale")
        mixed = node("MatMul", node("MatMul", node("Softmax", scores), value), weight(_WIDTH, _WIDTH))
        x = node("LayerNormalization", node("Add", x, mixed), "one")
        inner = node("Relu", node("MatMul", x, weight(_WIDTH, 4 * _WIDTH)))
        x = node(
            "LayerNormalization", node("Add", x, node("MatMul", inner, weight(4 * _WIDTH, _WIDTH))), "one"
        )
    nodes.append(helper.make_node("Identity", [x], ["y"], "end"))
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", _LENGTH, _WIDTH]) for name in "xy"
    ]
    graph = helper.make_graph(nodes, "transformer", ends[:1], ends[1:], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)


@dataclass(frozen=True, slots=True)
class Subject:
    """A model and the shapes to build it for."""

    name: str
    write: Callable[[Path], object]
    shapes: tuple[list[int], list[int], list[int]]


def subjects(detector: Path | None) -> list[Subject]:
    """The models, the detector only if there is one."""
    images = tuple([batch, 3, 224, 224] for batch in (1, 4, 8))
    words = tuple([batch, _LENGTH, _WIDTH] for batch in (1, 2, 4))
    pages = tuple([1, 3, size, size] for size in (320, 640, 960))
    found = [
        Subject("like ResNet-50, 102 MB", models.resnet50_like, images),
        Subject("like a transformer, 512 MB", write_transformer, words),
    ]
    if detector is not None:
        found.append(Subject("PP-OCR detector", lambda path: shutil.copy(detector, path), pages))
    return found


@dataclass(slots=True)
class Measured:
    """What was measured of one model; seconds."""

    name: str
    first: dict[str, float] = field(default_factory=dict)
    """Of the first build, in turn: parts of the command, then stages."""
    worker: dict[str, list[float]] = field(default_factory=dict)
    step: list[float] = field(default_factory=list)
    raw: list[float] = field(default_factory=list)

    @property
    def ratio(self) -> float:
        """The engine's step by the raw script."""
        return statistics.median(one / other for one, other in zip(self.step, self.raw, strict=True))


def measure(subject: Subject, rounds: int) -> Measured:
    """A first build, then rounds of the engine's step and the raw script."""
    with tempfile.TemporaryDirectory() as name:
        folder, found = Path(name), Measured(subject.name)
        for part in ("models", "pipelines", "raw"):
            (folder / part).mkdir()
        subject.write(folder / "models/net.onnx")
        texts = ("x".join(map(str, shape)) for shape in subject.shapes)
        spec = SPEC
        for key, text in zip(("MIN", "OPT", "MAX"), texts, strict=True):
            spec = spec.replace(key, text)
        (folder / "pipelines/net.yaml").write_text(spec)
        found.first = _parts(_build(folder))
        typed = next((folder / "build").rglob("model.onnx"))
        for path in typed.parent.glob("model.onnx*"):
            shutil.copy(path, folder / "raw")
        for _ in range(rounds):
            forget_engines(folder)
            spans = _build(folder)
            found.step.append(_seconds(spans, lambda one: one["name"].endswith(":build_engine")))
            for phase in _WORKER:
                found.worker.setdefault(phase, []).append(_of_worker(spans, phase))
            began = time.perf_counter()
            subprocess.run(raw_command(subject.shapes), cwd=folder / "raw", check=True, capture_output=True)
            found.raw.append(time.perf_counter() - began)
        return found


def _build(folder: Path) -> list[dict[str, Any]]:
    command = [sys.executable, "-m", "trtpipe", "build", "--jobs", "1", "--profile", "prof.json"]
    environment = {**os.environ, "TRTPIPE_STORE": ".trtpipe/store"}
    subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)
    events = json.loads((folder / "prof.json").read_text())["traceEvents"]
    return [one for one in events if one["ph"] == "X"]


def _seconds(spans: Sequence[Mapping[str, Any]], wanted: Callable[[Mapping[str, Any]], bool]) -> float:
    return sum(one["dur"] for one in spans if wanted(one)) / 1e6


def _of_worker(spans: Sequence[Mapping[str, Any]], phase: str) -> float:
    """Seconds of a phase of the worker that built."""
    (process,) = {one["pid"] for one in spans if one["cat"] == "worker" and one["name"] == "build"}
    return _seconds(
        spans, lambda one: one["pid"] == process and one["cat"] == "worker" and one["name"] == phase
    )


def _parts(spans: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """The parts of a first build."""
    by_name = {one["name"]: one for one in spans if one["cat"] in ("build", "report")}
    whole, begin = by_name["build"], by_name["read the specs"]
    parts = {"command started, code imported": (begin["ts"] - whole["ts"]) / 1e6}
    for name in ("read the specs", "plan", "prove the specs"):
        parts[name] = by_name[name]["dur"] / 1e6
    for stage in (*_STAGES, "build_engine"):
        parts[f"step {stage}"] = _seconds(
            spans, lambda one, stage=stage: one["cat"] == "step" and one["name"].endswith(f":{stage}")
        )
    parts["of these, the store"] = _seconds(spans, lambda one: one["cat"] == "store")
    parts["deliver the cell"] = _seconds(spans, lambda one: one["name"].startswith("deliver "))
    parts["write the reports"] = by_name["write the reports"]["dur"] / 1e6
    parts["the whole command"] = whole["dur"] / 1e6
    return parts


def table(measured: Sequence[Measured]) -> str:
    """Both tables as Markdown."""
    names = [one.name for one in measured]
    lines = [f"| a first build, seconds | {' | '.join(names)} |", "| --- |" + " --- |" * len(names)]
    lines += [
        f"| {part} | " + " | ".join(f"{one.first[part]:.2f}" for one in measured) + " |"
        for part in measured[0].first
    ]
    lines += ["", f"| the engine's step, seconds | {' | '.join(names)} |", "| --- |" + " --- |" * len(names)]
    for phase in _WORKER:
        medians = (statistics.median(one.worker[phase]) for one in measured)
        lines.append(f"| worker: {phase} | " + " | ".join(f"{value:.2f}" for value in medians) + " |")
    for label, values in (
        ("the whole step", [statistics.median(one.step) for one in measured]),
        ("the raw script", [statistics.median(one.raw) for one in measured]),
        ("ratio, median of pairs", [one.ratio for one in measured]),
    ):
        lines.append(f"| {label} | " + " | ".join(f"{value:.2f}" for value in values) + " |")
    return "\n".join(lines)


def write_into(path: Path, text: str) -> None:
    """Replace the table between the marks."""
    before, _, rest = path.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    path.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--detector", type=Path, help="an ONNX file of a PP-OCR detector")
    arguments.add_argument("--write", action="store_true", help="into docs/measurements.md")
    chosen = arguments.parse_args()
    load = f"Load of the machine when it began: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores."
    print(load, flush=True)
    if chosen.detector is None:
        print("not run: the PP-OCR detector, for --detector names none", flush=True)
    text = table([measure(one, chosen.rounds) for one in subjects(chosen.detector)])
    print(text)
    if chosen.write:
        write_into(MEASUREMENTS, f"{load}\n\n{text}")


if __name__ == "__main__":
    main()
