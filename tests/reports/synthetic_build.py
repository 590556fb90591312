"""Builds that never ran: engine directories with everything that commands leave there, and the plan that made them.

Numbers come from a generator with a fixed seed, so that two builds of the same size are the same.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from trtpipe.building.outcome import Outcome
from trtpipe.building.unchanged.settled import Settled
from trtpipe.errors import Problem, StepFailed
from trtpipe.lockfile import cell_text
from trtpipe.plan.address import Address
from trtpipe.plan.decisions import Run, UpToDate
from trtpipe.plan.graph import Cell, FromStep, Step, plan_of
from trtpipe.plan.reasons import First
from trtpipe.problem_codes import Code

SMS = ("sm80", "sm86", "sm89", "sm120", "sm121")
HOSTILE = "</script><img src=x onerror=alert(1)>\u202e\x00\x1b[2J'\"&`|"


def manifest(pipeline: str, variant: str, target: str, **more: Any) -> dict[str, Any]:
    """A manifest as a build writes it."""
    name = f"{pipeline}/{variant}@{target}"
    picked = random.Random(name)
    sm = SMS[picked.randrange(len(SMS))]
    verdicts = [
        _verdict(place, metric, picked)
        for place in ("data", "profile 0 at min", "profile 0 at opt", "profile 0 at max")
        for metric in ("cosine", "max_abs")
    ]
    return {
        "schema": 1, "trtpipe": "0.1.0", "cell": name, "pipeline": pipeline, "variant": variant, "target": target,
        "engine": {"file": "model.engine", "blake3": f"{picked.getrandbits(256):064x}", "normalised": "0" * 64,
                   "bytes": picked.randrange(1 << 18, 1 << 28)},
        "model": {"model.onnx": {"blake3": "1" * 64, "bytes": 4096}},
        "source": {"model.onnx": "2" * 64 + "/4096"},
        "gpu": [sm], "compute_capabilities": [sm],
        "toolchain": {"flavour": "tensorrt_rtx", "version": "1.7.1.116", "python": "cpython 3.11.7"},
        "precision": "int8" if "int8" in variant else "fp16",
        "typed": {"planned": {"float16": 10}, "casts": 2},
        "profiles": [{"image": {"min": [1, 3, 8, 8], "opt": [8, 3, 8, 8], "max": [64, 3, 8, 8]}}],
        "io": [{"name": "image", "mode": "input", "dtype": "float32", "shape": [-1, 3, 8, 8]},
               {"name": "logits", "mode": "output", "dtype": "float32", "shape": [-1, 10]}],
        "calibration": {"method": "entropy", "backend": "trtpipe", "samples": 256, "warnings": []},
        "audit": {"layers": {"float16": picked.randrange(5, 90), "float32": picked.randrange(5)}},
        "validation": {"outcome": "passed", "accuracy": 0.98 + picked.random() / 100, "reference_accuracy": 0.989,
                       "twins": {}, "nonfinite": [], "verdicts": verdicts},
        "not_run": [f"the engine on a GPU: needs {sm}, this machine has no GPU"],
        "reproducibility": {"address_randomisation": "off", "addresses": "fixed"},
        "timings": {"seconds": {"import": 1.4, "quantize": 3.1, "build_engine": picked.random() * 60, "validate": 2.2},
                    "engine_phases": {"parse": 0.1, "build": 0.4}},
        "steps": {stage: {"address": _address(stage, pipeline, variant, target), "key": "3" * 64}
                  for stage in ("import", "quantize", "build_engine", "validate")},
        **more,
    }  # fmt: skip


def _verdict(place: str, metric: str, picked: random.Random) -> dict[str, Any]:
    value = 1 - picked.random() / 1e4 if metric == "cosine" else picked.random() / 10
    bounds = {"min": 0.999, "max": None} if metric == "cosine" else {"min": None, "max": 0.2}
    return {
        "place": place,
        "output": "logits",
        "metric": metric,
        "outcome": "passed",
        "value": value,
        "why": "",
        **bounds,
    }


def validation(name: str, output: str = "logits") -> dict[str, Any]:
    """A validation.json with errors and pairs."""
    picked = random.Random(name)
    pairs = [
        [reference, reference + picked.gauss(0, 0.05)]
        for reference in (picked.gauss(0, 3) for _ in range(200))
    ]
    return {"schema": 1, "reference": "onnxruntime", "onnxruntime": "1.32.0", "not_run": [], "places": [
        {"place": place, "kind": "data", "samples": 500, "shapes": {"image": [8, 3, 8, 8]}, "outputs": {output: {
            "elements": 5000, "differing": 4990,
            "metrics": {"cosine": 0.99998, "max_abs": 0.2, "mean_abs": 0.03, "snr": 41.5, "psnr": "inf"},
            "errors": {"edges": [0.0, *(1e-6 * 1.6**step for step in range(30))],
                       "counts": [picked.randrange(400) for _ in range(30)]},
            "scatter": pairs}}}
        for place in ("data", "profile 0 at min", "profile 0 at opt", "profile 0 at max")]}  # fmt: skip


def bench(engine: str, subject: str = "engine") -> dict[str, Any]:
    """A bench.json of that engine."""
    picked = random.Random(engine)
    latency = {}
    for part, base in (
        ("compute", 410.0),
        ("copies_in", 38.0),
        ("copies_out", 12.0),
        ("total", 470.0),
        ("host", 505.0),
    ):
        ends = {f"p{end}_us": base * (1 + end / 400) for end in (50, 90, 95, 99)}
        edges = [base * (1 + step / 60) for step in range(41)]
        histogram = {"edges_us": edges, "counts": [picked.randrange(60) for _ in range(40)]}
        extremes = {"mean_us": base * 1.15, "min_us": base, "max_us": base * 1.6, "count": 1000}
        latency[part] = {**extremes, **ends, "histogram": histogram}
    gpu = {"name": "NVIDIA RTX 4090", "compute_capability": "8.9"} if subject == "engine" else None
    return {"schema": 1, "subject": subject, "engine": engine, "machine": {"gpu": gpu, "cpu": "a CPU"},
            "tensorrt": "1.7.1", "how": {"warm_up_ms": 200}, "shapes": {"image": [8, 3, 8, 8]}, "latency": latency,
            "throughput": [{"streams": 1, "per_second": 2100.5}, {"streams": 2, "per_second": 3000}],
            "compared": [{"with": "fp32", "measurements": [{"parts": {"host": {"words": "1.9 times as fast"}}}]}],
            "stable": True, "clocks": {"sm_mhz": 2520}, "not_run": []}  # fmt: skip


def proof(engine: str) -> dict[str, Any]:
    """A proof.json of that engine."""
    found = validation(engine)
    return {"schema": 1, "engine": engine, "gpu": {"name": "NVIDIA RTX 4090", "compute_capability": "8.9"},
            "tensorrt": "1.7.1", "outcome": "passed", "places": found["places"], "not_run": [],
            "verdicts": [_verdict("data", "cosine", random.Random(engine))]}  # fmt: skip


COMPARED = {
    "recommended": "mse", "decibels": {"entropy": 42.6, "mse": 42.9}, "cosines": {"entropy": 0.99, "mse": 0.999},
}  # fmt: skip
SCALES = {
    "schema": 1, "method": "entropy", "backend": "trtpipe", "samples": 256,
    "tensors": {f"/block{index}/Relu_output_0": {"amax": 3.1 + index, "largest": 4.0 + index, "typical": 2.5,
                "clipped": index / 1e4, "zeros": 0.4} for index in range(12)},
}  # fmt: skip
SEARCH = {
    "schema": 1, "from": "a search", "budget": "cosine at least 0.999", "reached": "cosine 0.99951", "cost": 0.4,
    "choice": {"precision": "int8", "base": "fp16", "keep": {"fp16": ["/c2/Conv"]}}, "evaluations": 7,
    "points": [{"precision": "int8", "kept": {"fp16": step}, "cost": 0.25 + step / 20, "noise": 1e-3 / 3**step,
                "value": 0.99 + step / 1000, "inside": step > 3, "weight_bytes": 15000 + step} for step in range(7)],
    "front": [{"precision": "int8", "kept": {"fp16": 4}, "cost": 0.45, "noise": 1e-5, "value": 0.9995, "inside": True,
               "weight_bytes": 15004}],
    "sensitivities": [{"unit": f"/c{step}/Conv", "op": "Conv", "precision": "int8", "noise": 1e-5 * step,
                       "value": 0.9999, "saving": 0.01 * step, "nodes": []} for step in range(1, 6)],
}  # fmt: skip


def _address(stage: str, pipeline: str, variant: str, target: str) -> str:
    place = {"import": pipeline, "build_engine": f"{pipeline}/{variant}@{target}"}
    return f"{place.get(stage, f'{pipeline}/{variant}')}:{stage}"


def write_cell(build: Path, made: dict[str, Any], files: dict[str, Any]) -> Path:
    """An engine directory with these files."""
    folder = build / made["pipeline"] / f"{made['variant']}@{made['target']}"
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in {"manifest.json": made, **files}.items():
        (folder / name).write_text(json.dumps(content))
    (folder / "build.log").write_text("TensorRT's words\n")
    return folder


def planned_of(root: Path, cells: list[tuple[str, str, str]]) -> Any:
    """What a plan of these cells looks like to whoever reports on it."""
    steps: dict[Address, Step] = {}
    made = []
    for pipeline, variant, target in cells:
        before: dict[str, str | None] = {
            "import": None,
            "quantize": "import",
            "build_engine": "quantize",
            "validate": "quantize",
        }
        own = {stage: Address.parse(_address(stage, pipeline, variant, target)) for stage in before}
        for stage, up in before.items():
            inputs = {"model": (FromStep(own[up], ("model.onnx",)),)} if up else {}
            steps.setdefault(own[stage], Step(own[stage], {}, {}, inputs))
        facts = {"gpu": ["sm89"], "compute_capabilities": ["sm89"], "precision": "fp16",
                 "toolchain": {"flavour": "tensorrt_rtx", "version": "1.7.1.116"}}  # fmt: skip
        made.append(Cell(f"{pipeline}/{variant}@{target}", pipeline, variant, target, own, facts))  # type: ignore[arg-type]
    decisions = {
        address: Run("", First()) if "int8" in address.variant else UpToDate("", {}) for address in steps
    }
    entries: dict[str, Any] = {}
    workspace = SimpleNamespace(
        build=root / "build",
        root=root,
        lockfile=root / "trtpipe.lock",
        pipelines=(),
        bundles=(),
        state=SimpleNamespace(entries=entries, lock_text=entries.get),
    )
    return SimpleNamespace(
        workspace=workspace,
        plan=plan_of(steps, tuple(made)),
        decisions=decisions,
        undelivered=set(),
        settled=Settled(),
        specs={},
    )


def outcome_of(planned: Any) -> Outcome:
    """A build of that plan in which int8 cells were built and all others stood."""
    names = [cell.name for cell in planned.plan.cells]
    built = [name for name in names if "int8" in name]
    steps = {
        str(address): ("ran", 1.25) if "int8" in address.variant else ("up to date", None)
        for address in planned.plan.steps
    }
    return Outcome(built=built, fresh=[name for name in names if name not in built], steps=steps)


def fail(
    outcome: Outcome, name: str, fact: str = "cosine of output 'logits' is 0.91, must be >= 0.999"
) -> None:
    """Let a cell have missed a threshold."""
    outcome.built = [one for one in outcome.built if one != name]
    outcome.fresh = [one for one in outcome.fresh if one != name]
    outcome.failures.append((name, StepFailed(Problem(Code.STEP_CRASHED, fact, "keep more of it wide"))))


def write_build(root: Path, cells: list[tuple[str, str, str]], *, full: bool = True) -> Any:
    """Engine directories for all cells, with everything beside them, and the plan."""
    planned = planned_of(root, cells)
    for pipeline, variant, target in cells:
        made = manifest(pipeline, variant, target)
        engine = made["engine"]["blake3"]
        files: dict[str, Any] = {"validation.json": validation(f"{pipeline}/{variant}")}
        if full:
            files |= {"bench.json": bench(engine), "scales.json": SCALES, "search.json": SEARCH}
        if target == "t0":
            files["proof.json"] = proof(engine)
        write_cell(planned.workspace.build, made, files)
        locked = {"engine": f"{engine} (123 bytes)", "validated": "passed", "run_on_gpu": "not run"}
        planned.workspace.state.entries[made["cell"]] = cell_text({"": locked}, "")
    return planned
