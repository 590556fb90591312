"""Kills builds of a small project at random points, then builds to the end and tells what is left over anywhere.

Run as a script, it prints what it found as JSON: python -m tests.stores.killed_builds FOLDER [--kills N] [--seed N].
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SPEC = """\
schema: 1
pipeline: net
model: {source: models/net.onnx}
variants: {fp32: {}, fp16: {precision: fp16}}
profiles: [{image: {min: 1x1x8x8, opt: 8x1x8x8, max: 64x1x8x8}}]
targets: {ada: {gpu: sm89}, ampere: {gpu: sm86}}
"""
_SECONDS = 6.0
_TEMPORARY = re.compile(r"-\d+-n\d+-")
"""What every name has that dies with its process."""


def made(root: Path) -> Path:
    project = root / "project"
    for folder in ("models", "pipelines"):
        (project / folder).mkdir(parents=True)
    (root / "temporary").mkdir()
    shutil.copy(ROOT / "pipelines/models/digits_cnn.onnx", project / "models/net.onnx")
    (project / "pipelines/net.yaml").write_text(SPEC)
    return project


def build(project: Path, *more: str) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "TMPDIR": str(project.parent / "temporary"), "PYTHONPATH": str(ROOT)}
    with (project.parent / "log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "trtpipe", "build", *more],
            cwd=project, env=environment, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip


def storm(root: Path, kills: int, seed: int) -> dict[str, object]:
    project, dice, killed, seen = made(root), random.Random(seed), 0, 0
    for number in range(kills):
        if dice.random() < 0.3:
            shutil.rmtree(project / ".trtpipe/store", ignore_errors=True)
        one = build(project, *(["--force"] if number % 2 else []))
        time.sleep(dice.random() * _SECONDS)
        if one.poll() is None:
            os.kill(one.pid, signal.SIGKILL)
            killed += 1
        one.wait()
        seen += len(left(root))
    last = build(project, "--force")
    assert last.wait() == 0, (root / "log").read_text()
    return {"killed": killed, "left on the way": seen, "left": left(root)}


def left(root: Path) -> list[str]:
    """What is only there while a process works: named by a process, or in the temporary folder."""
    ours = [path for path in root.rglob("*") if _TEMPORARY.search(path.name)]
    return sorted(str(path) for path in {*ours, *(root / "temporary").iterdir()})


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("root", type=Path)
    parser.add_argument("--kills", type=int, default=24)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    shutil.rmtree(asked.root, ignore_errors=True)
    asked.root.mkdir(parents=True)
    json.dump(storm(asked.root, asked.kills, asked.seed), sys.stdout, indent=1)
