"""Two engine builds side by side: what `trtpipe build --jobs 2` gains over `--jobs 1`, beside two raw scripts.

A ResNet-50-like net for two GPUs, everything before the engines already built. The engines' steps alone are compared,
from the first one's start to the last one's end: planning and delivery take as long with one job as with two.
Run: python -m tests.bench.bench_parallel [RUNS]
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from tests.bench.bench_worker import raw_command
from tests.bench.timing import interleaved, keep_stores_apart
from tests.models import resnet50_like

PROFILE = "profile.json"
SPEC = """\
schema: 1
pipeline: resnet
model: {source: models/resnet.onnx}
profiles: [{x: {min: 1x3x224x224, opt: 4x3x224x224, max: 8x3x224x224}}]
targets: {ada: {gpu: sm89}, ampere: {gpu: sm86}}
"""


def write_project(folder: Path) -> Path:
    for name in ("models", "pipelines"):
        (folder / name).mkdir()
    resnet50_like(folder / "models" / "resnet.onnx")
    (folder / "pipelines" / "resnet.yaml").write_text(SPEC)
    return folder / "models" / "resnet.onnx"


def forget_engines(folder: Path) -> None:
    """Leave the store what came before the engines."""
    for path in (folder / ".trtpipe" / "store" / "traces").rglob("*.json"):
        if ":build_engine" in path.read_text()[:400]:
            path.unlink()
    shutil.rmtree(folder / "build", ignore_errors=True)
    (folder / ".trtpipe" / "state.json").unlink(missing_ok=True)


def seconds_of_engines(profile: Path) -> float:
    """From the start of the first engine's step to the end of the last one's."""
    events = json.loads(profile.read_text())["traceEvents"]
    steps = [one for one in events if one["ph"] == "X" and one["name"].endswith(":build_engine")]
    ended = max(one["ts"] + one["dur"] for one in steps)
    return float(ended - min(one["ts"] for one in steps)) / 1e6


def main(runs: int) -> None:
    keep_stores_apart()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = write_project(folder)

        steps: dict[int, list[float]] = {1: [], 2: []}

        def build(jobs: int) -> None:
            forget_engines(folder)
            command = [sys.executable, "-m", "trtpipe", "build", "--jobs", str(jobs), "--profile", PROFILE]
            subprocess.run(command, cwd=folder, check=True, capture_output=True)
            steps[jobs].append(seconds_of_engines(folder / PROFILE))

        def raw(jobs: int) -> None:
            running = []
            for number in range(2):
                home = folder / f"raw{number}"
                command = raw_command([[batch, 3, 224, 224] for batch in (1, 4, 8)])
                running.append(subprocess.Popen(command, cwd=home, stderr=subprocess.DEVNULL))
                if jobs == 1:
                    running[-1].wait()
            assert not any(child.wait() for child in running)

        for number in range(2):
            (folder / f"raw{number}").mkdir()
            (folder / f"raw{number}" / "model.onnx").hardlink_to(model)
        subprocess.run(
            [sys.executable, "-m", "trtpipe", "build"], cwd=folder, check=True, capture_output=True
        )
        times = interleaved(runs, lambda: build(1), lambda: build(2), lambda: raw(1), lambda: raw(2))
    one, two, raw_one, raw_two = map(median, times)
    alone, together = (median(steps[jobs][1:]) for jobs in (1, 2))  # the first turn is thrown away, as above
    print(f"trtpipe build  jobs 1 {one:5.2f} s, jobs 2 {two:5.2f} s, gain {one / two:.2f}")
    print(f"engines' steps jobs 1 {alone:5.2f} s, jobs 2 {together:5.2f} s, gain {alone / together:.2f}")
    print(f"raw scripts    in turn {raw_one:5.2f} s, at once {raw_two:5.2f} s, gain {raw_one / raw_two:.2f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
