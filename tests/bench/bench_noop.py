"""A build of 1,000 cells with nothing to do, beside `doit` with 1,000 tasks that are up to date.

One model, 10 pipelines with a profile each, 100 targets over five GPUs. doit is installed into an environment of its
own. Run: python tests/bench/bench_noop.py [RUNS]
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(Path(__file__).parent), str(ROOT / "tests")]
from timing import interleaved  # noqa: E402

GPUS = ("sm80", "sm86", "sm89", "sm120", "sm121")
DODO = """
def task_cell():
    for number in range(1000):
        yield {"name": str(number), "file_dep": ["model.onnx"], "targets": [f"out/{number}"],
               "actions": [f"echo {number} > out/{number}"]}
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


def write_peer(folder: Path) -> list[str]:
    venv.create(folder / "venv", with_pip=True)
    python = folder / "venv" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "-q", "doit"], check=True)
    (folder / "dodo.py").write_text(DODO)
    (folder / "out").mkdir()
    (folder / "model.onnx").write_bytes((ROOT / "pipelines" / "models" / "digits_cnn.onnx").read_bytes())
    return [str(python), "-m", "doit"]


def main(runs: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        ours_at, peer_at = Path(name) / "ours", Path(name) / "peer"
        ours_at.mkdir()
        peer_at.mkdir()
        write_project(ours_at)
        build = [sys.executable, "-m", "trtpipe", "build"]
        peer = write_peer(peer_at)

        def run(argv: list[str], cwd: Path) -> str:
            return subprocess.run(argv, cwd=cwd, check=True, capture_output=True, text=True).stdout

        run(build, ours_at)
        run(peer, peer_at)
        assert run(build, ours_at) == "nothing to do\n"
        ours, theirs = interleaved(runs, lambda: run(build, ours_at), lambda: run(peer, peer_at))
    print(f"trtpipe build, 1,000 cells  {median(ours) * 1000:6.0f} ms")
    print(f"doit, 1,000 tasks           {median(theirs) * 1000:6.0f} ms")
    print(f"ratio                       {median(ours) / median(theirs):6.2f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 7)
