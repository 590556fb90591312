"""A build of 1,000 cells with nothing to do, beside `doit` and DVC with 1,000 tasks that are up to date.

One model, 10 pipelines with a profile each, 100 targets over five GPUs. The peers are installed into an environment of
their own (see peers.py). Run: python -m tests.bench.bench_noop [RUNS [RUNS_OF_DVC]]
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from tests.bench.peers import environment_with
from tests.bench.timing import interleaved, keep_stores_apart

ROOT = Path(__file__).resolve().parents[2]

GPUS = ("sm80", "sm86", "sm89", "sm120", "sm121")
DODO = """
def task_cell():
    for number in range(1000):
        yield {"name": str(number), "file_dep": ["model.onnx"], "targets": [f"out/{number}"],
               "actions": [f"echo {number} > out/{number}"]}
"""
DVC = """
stages:
  cell:
    foreach: [NUMBERS]
    do:
      cmd: echo ${item} > out/${item}
      deps: [model.onnx]
      outs: ["out/${item}"]
"""


def write_project(folder: Path) -> None:
    import shutil

    (folder / "models").mkdir()
    (folder / "pipelines").mkdir()
    shutil.copy(ROOT / "pipelines" / "models" / "digits_cnn.onnx", folder / "models" / "digits.onnx")
    for number in range(10):
        lines = [
            "schema: 1",
            f"pipeline: digits{number}",
            "model: {source: models/digits.onnx}",
            "profiles:",
            f"  - image: {{min: 1x1x8x8, opt: {number + 1}x1x8x8, max: 64x1x8x8}}",
            "targets:",
        ]
        lines += [f"  t{target}: {{gpu: {GPUS[target % len(GPUS)]}}}" for target in range(100)]
        (folder / "pipelines" / f"digits{number}.yaml").write_text("\n".join(lines) + "\n")


def write_doit(folder: Path) -> list[str]:
    python = environment_with("doit", "doit")
    (folder / "dodo.py").write_text(DODO)
    (folder / "out").mkdir()
    (folder / "model.onnx").write_bytes((ROOT / "pipelines" / "models" / "digits_cnn.onnx").read_bytes())
    return [python, "-m", "doit"]


def write_dvc(folder: Path) -> list[str]:
    """Its first build is not what is compared: it is told that what the stages would write is there."""
    dvc = [environment_with("dvc", "dvc"), "-m", "dvc"]
    (folder / "out").mkdir()
    (folder / "model.onnx").write_bytes((ROOT / "pipelines" / "models" / "digits_cnn.onnx").read_bytes())
    (folder / "dvc.yaml").write_text(DVC.replace("NUMBERS", ", ".join(map(str, range(1000)))))
    subprocess.run([*dvc, "init", "-q", "--no-scm"], cwd=folder, check=True)
    for number in range(1000):
        (folder / "out" / str(number)).write_text(f"{number}\n")
    subprocess.run([*dvc, "commit", "-q", "-f"], cwd=folder, check=True)
    return [*dvc, "repro", "-q"]


def main(runs: int, runs_of_dvc: int) -> None:
    keep_stores_apart()
    with tempfile.TemporaryDirectory() as name:
        places = [Path(name) / one for one in ("ours", "doit", "dvc")]
        for place in places:
            place.mkdir()
        write_project(places[0])
        build = [sys.executable, "-m", "trtpipe", "build"]
        doit, dvc = write_doit(places[1]), write_dvc(places[2])

        def run(argv: list[str], cwd: Path) -> str:
            return subprocess.run(argv, cwd=cwd, check=True, capture_output=True, text=True).stdout

        run(build, places[0])
        run(doit, places[1])
        assert run(build, places[0]) == "nothing to do\n"
        ours, theirs = interleaved(runs, lambda: run(build, places[0]), lambda: run(doit, places[1]))
        (slow,) = interleaved(runs_of_dvc, lambda: run(dvc, places[2]))
    print(f"trtpipe build, 1,000 cells  {median(ours) * 1000:6.0f} ms")
    print(f"doit, 1,000 tasks           {median(theirs) * 1000:6.0f} ms")
    print(f"dvc repro, 1,000 stages     {median(slow) * 1000:6.0f} ms")
    print(f"ratio to doit               {median(ours) / median(theirs):6.2f}")
    print(f"times faster than dvc       {median(slow) / median(ours):6.1f}")


if __name__ == "__main__":
    given = [int(text) for text in sys.argv[1:]]
    main(given[0] if given else 7, given[1] if len(given) > 1 else 3)
