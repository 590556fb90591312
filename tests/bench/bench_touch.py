"""What is looked at again after 20 files of 200 MB were touched: `trtpipe plan` beside `dvc status`.

Only their times change: both read all of them and find nothing to do. DVC is installed into an environment of
its own (see peers.py). Run: python -m tests.bench.bench_touch [RUNS [MEGABYTES]]
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from tests.bench.peers import environment_with
from tests.bench.timing import keep_stores_apart

ROOT = Path(__file__).resolve().parents[2]

FILES = 20


def write_project(folder: Path, megabytes: int) -> list[Path]:
    """A pipeline that depends on large files; nothing has to be built to see whether they changed."""
    (folder / "models").mkdir()
    (folder / "pipelines").mkdir()
    shutil.copy(ROOT / "pipelines" / "models" / "digits_cnn.onnx", folder / "models" / "digits.onnx")
    files = []
    for number in range(FILES):
        path = folder / f"lib{number}.so"
        piece = os.urandom(1 << 20)
        with path.open("wb") as file:
            for _ in range(megabytes):
                file.write(piece)
        files.append(path)
    plugins = ", ".join(f"{{library: {path.name}}}" for path in files)
    text = f"""schema: 1
pipeline: digits
model: {{source: models/digits.onnx}}
profiles:
  - image: {{min: 1x1x8x8, opt: 8x1x8x8, max: 64x1x8x8}}
targets:
  ada: {{gpu: sm89}}
plugins: [{plugins}]
"""
    (folder / "pipelines" / "digits.yaml").write_text(text)
    return files


def write_peer(folder: Path, files: list[Path]) -> list[str]:
    dvc = [environment_with("dvc", "dvc"), "-m", "dvc"]
    deps = ", ".join(path.name for path in files)
    (folder / "dvc.yaml").write_text(f"stages:\n  all: {{cmd: touch out, deps: [{deps}], outs: [out]}}\n")
    subprocess.run([*dvc, "init", "-q", "--no-scm"], cwd=folder, check=True)
    subprocess.run([*dvc, "repro", "-q"], cwd=folder, check=True)
    return [*dvc, "status", "-q"]


def touched(files: list[Path], run: Callable[[], object]) -> float:
    """Seconds of a run after every file got another time."""
    now = time.time() - 3600
    for path in files:
        os.utime(path, (now, now - os.getpid() - time.perf_counter()))
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def main(runs: int, megabytes: int) -> None:
    keep_stores_apart()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = write_project(folder, megabytes)
        plan, status = [sys.executable, "-m", "trtpipe", "plan"], write_peer(folder, files)

        def run(argv: list[str]) -> None:
            subprocess.run(argv, cwd=folder, check=True, capture_output=True)

        run(plan)
        ours, theirs = [], []
        for _ in range(runs):
            ours.append(touched(files, lambda: run(plan)))
            theirs.append(touched(files, lambda: run(status)))
    print(f"trtpipe plan, {FILES} files of {megabytes} MiB touched  {median(ours):6.2f} s")
    print(f"dvc status, the same                     {median(theirs):6.2f} s")
    print(f"times faster                             {median(theirs) / median(ours):6.1f}")


if __name__ == "__main__":
    given = [int(text) for text in sys.argv[1:]]
    main(given[0] if given else 5, given[1] if len(given) > 1 else 200)
