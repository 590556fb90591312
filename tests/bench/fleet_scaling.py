"""How much faster two agents of one lane each build engines than one does: `python -m tests.bench.fleet_scaling`.

Each cell is an engine of a network like ResNet-50 (`resnet50.py`) for other GPUs. Everything before the engines is
brought about first, by a build of one more cell: it is not many machines' work, and other agents would take it from the
one that is timed. What is compared is the time from the first engine's begin to the last one's end, as the report's
timeline has it. Both are measured in turn. Needs tensorrt_rtx and two cores that do nothing else.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from itertools import combinations
from pathlib import Path
from statistics import median

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
    sets = [one for size in (1, 2, 3) for one in combinations(GPUS, size)]
    return "".join(f"  t{number}: {{gpu: [{', '.join(one)}]}}\n" for number, one in enumerate(sets[:count]))


def seconds(folder: Path, cells: int, agents: int) -> float:
    """How long so many engines take on so many agents."""
    project = folder / "project"
    (project / "pipelines").mkdir(parents=True)
    write_resnet50(project / "net.onnx")
    fleet = TestFleet(folder / "fleet").start()
    try:
        for number in range(agents):
            fleet.agent(f"a{number}", "--lanes", "1")
        for many in (1, cells + 1):
            (project / "pipelines" / "net.yaml").write_text(SPEC + targets(many))
            built = ("build", "--executor", "dask")
            done = trtpipe(project, *built, home=folder / "client", scheduler=fleet.address, timeout=3000)
            assert done.returncode == 0, done.stderr
    finally:
        fleet.close()
    steps = json.loads((project / "build" / "report.json").read_text())["fleet"]["steps"]
    assert {one["address"].split(":")[1] for one in steps} == {"build_engine"}
    return float(max(one["ended"] for one in steps) - min(one["began"] for one in steps))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--cells", type=int, default=10, help="at most 13")
    parser.add_argument("--rounds", type=int, default=1)
    asked = parser.parse_args()
    ratios = []
    for _ in range(asked.rounds):
        found = {}
        for agents in (1, 2):
            with tempfile.TemporaryDirectory() as folder:
                found[agents] = seconds(Path(folder), asked.cells, agents)
        ratios.append(found[1] / found[2])
        sys.stdout.write(
            f"{asked.cells} engines: one agent {found[1]:.1f} s, two agents {found[2]:.1f} s, "
            f"{ratios[-1]:.2f} times as fast (load {os.getloadavg()[0]:.1f})\n"
        )
        sys.stdout.flush()
    sys.stdout.write(f"median: {median(ratios):.2f} times as fast\n")


if __name__ == "__main__":
    main()
