"""What parsing and reading back add to a build: `python -m tests.bench.bench_readback [--rounds N] [--peer TREE]`.

Builds one cell (sm89; fp32, then fp16; four random samples, all corners) of a ResNet-50 with random weights and, where
the shared test data are, of PP-OCR's classifier; from nothing, with a store of its own. Printed are the seconds of each
stage and, of processor time and of the clock, the ratio to the peer: the same command run from another tree of trtpipe
(one from before the readback), in turns. Not a test: it asserts nothing about time.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests import models
from tests.bench.timing import keep_stores_apart

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared" / "testdata" / "onnx" / "real" / "ppocr_cls.onnx"
SPEC = """\
schema: 1
pipeline: net
model: {{source: models/net.onnx}}
variants: {{{variant}: {{precision: {variant}}}}}
profiles:
  - x: {{min: 1x{shape}, opt: 2x{shape}, max: 4x{shape}}}
targets: {{ada: {{gpu: sm89}}}}
validate: {{random: {{samples: 4}}, thresholds: [{{metric: cosine, min: 0.9}}]}}
"""


def subjects(folder: Path) -> Iterator[tuple[str, Path, str]]:
    """Name, model and shape of what is built."""
    yield "ResNet-50", models.resnet50_like(folder / "resnet.onnx"), "3x224x224"
    if SHARED.exists():
        yield "PP-OCR classifier", SHARED, "3x48x192"


def built(tree: Path, model: Path, shape: str, variant: str) -> tuple[float, float, dict[str, float]]:
    """Seconds by the clock, of processor time, and by stage, of one build from nothing."""
    with tempfile.TemporaryDirectory() as place:
        project = Path(place)
        for name in ("models", "pipelines"):
            (project / name).mkdir()
        shutil.copy(model, project / "models/net.onnx")
        (project / "pipelines/net.yaml").write_text(SPEC.format(shape=shape, variant=variant))
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "trtpipe", "build", "--json"],
            cwd=project,
            env={**os.environ, "PYTHONPATH": str(tree)},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
        stages: dict[str, float] = {}
        for event in map(json.loads, done.stdout.splitlines()):
            if event["event"] == "done" and event["ran"]:
                stage = event["address"].rpartition(":")[2]
                stages[stage] = stages.get(stage, 0.0) + event["seconds"]
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall, spent, stages


def main() -> None:
    keep_stores_apart()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peer", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        cells = [(*one, variant) for one in subjects(Path(folder)) for variant in ("fp32", "fp16")]
        for name, model, shape, variant in cells:
            trees = [ROOT, *([asked.peer.resolve()] if asked.peer else [])]
            runs: list[list[tuple[float, float, dict[str, float]]]] = [[] for _ in trees]
            for _ in range(asked.rounds):
                for tree, found in zip(trees, runs, strict=True):
                    found.append(built(tree, model, shape, variant))
            tell(f"{name} in {variant}", runs)


def tell(name: str, runs: list[list[tuple[float, float, dict[str, float]]]]) -> None:
    """Medians, and their ratios to the peer's."""
    medians = [[statistics.median(run[index] for run in found) for index in (0, 1)] for found in runs]
    stages = {stage: statistics.median(run[2].get(stage, 0.0) for run in runs[0]) for stage in runs[0][0][2]}
    print(f"{name}: {medians[0][0]:.2f} s by the clock, {medians[0][1]:.2f} s of processor time")
    print("  " + ", ".join(f"{stage} {seconds:.2f} s" for stage, seconds in stages.items()))
    if len(medians) > 1:
        ratios = [own / other for own, other in zip(*medians, strict=True)]
        print(f"  beside the peer: {ratios[0]:.2f} by the clock, {ratios[1]:.2f} of processor time")


if __name__ == "__main__":
    main()
