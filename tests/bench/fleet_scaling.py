"""How much faster two agents of one lane each build engines: `python -m tests.bench.fleet_scaling [--cells 10]`.

Each cell is an engine of a network like ResNet-50 (`resnet50.py`) for other GPUs. Everything before the
engines is in the store when the clock starts; what is compared is the time from the first engine's begin to the last
one's end, as the report's timeline has it. Needs tensorrt_rtx and two cores that do nothing else.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from itertools import combinations
from pathlib import Path

from tests.bench.resnet50 import write_resnet50
from tests.fleet.fleets import TestFleet, trtpipe

SPEC = """\
schema: 1
pipeline: net
model: {source: net.onnx}
variants: {fp16: {precision: fp16}}
profiles:
  - image: {min: 1x3x224x224, opt: 8x3x224x224, max: 16x3x224x224}
validate: {random: {seed: 0, samples: 1}, corners: false, readback: {run: false}}
targets:
"""
GPUS = ("sm80", "sm86", "sm89", "sm120")


def targets(count: int) -> str:
    """So many targets, each for other GPUs."""
    sets = [one for size in (1, 2) for one in combinations(GPUS, size)]
    return "".join(f"  t{number}: {{gpu: [{', '.join(one)}]}}\n" for number, one in enumerate(sets[:count]))


def seconds(project: Path, folder: Path, agents: int) -> float:
    """How long the engines of a project take on so many agents."""
    fleet = TestFleet(folder / "fleet").start()
    try:
        for number in range(agents):
            fleet.agent(f"a{number}", "--lanes", "1")
        done = trtpipe(
            project,
            "build",
            "--executor",
            "dask",
            home=folder / "client",
            scheduler=fleet.address,
            timeout=3000,
        )
        assert done.returncode == 0, done.stderr
    finally:
        fleet.close()
    steps = json.loads((project / "build" / "report.json").read_text())["fleet"]["steps"]
    engines = [one for one in steps if one["address"].endswith(":build_engine")]
    return max(one["ended"] for one in engines) - min(one["began"] for one in engines)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--cells", type=int, default=10, help="at most 10")
    asked = parser.parse_args()
    found = {}
    for agents in (1, 2):
        with tempfile.TemporaryDirectory() as text:
            folder = Path(text)
            project = folder / "project"
            (project / "pipelines").mkdir(parents=True)
            write_resnet50(project / "net.onnx")
            (project / "pipelines" / "net.yaml").write_text(SPEC + targets(asked.cells))
            found[agents] = seconds(project, folder, agents)
    sys.stdout.write(
        f"{asked.cells} engines: one agent {found[1]:.1f} s, two agents {found[2]:.1f} s, "
        f"{found[1] / found[2]:.2f} times as fast\n"
    )


if __name__ == "__main__":
    main()
