"""`trtpipe.select` and the command `select`: processor time of each, beside an interpreter that does nothing.

Run: python -m tests.bench.bench_select [RUNS] [MODELS]
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from tests.bench.timing import interleaved, keep_stores_apart
from tests.packages.small_packages import contents, engine, index, model
from tests.projects import ROOT
from trtpipe.packages.directory import write_directory


def cost(*argv: str) -> float:
    """Milliseconds of processor time of one process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, *argv], env=environment, check=False, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return 1000 * (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def main(runs: int, models: int) -> None:
    keep_stores_apart()
    costs: dict[str, list[float]] = {"nothing": [], "library": [], "command": []}
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder) / "p"
        targets = (("ampere", "8.6"), ("ada", "8.9"), ("blackwell", "12.0"))
        made = [
            model(f"m{n}", [engine(f"m{n}/fp16@{name}", compute_capabilities=(sm,)) for name, sm in targets])
            for n in range(models)
        ]
        write_directory(contents(index(*made)), package)
        commands = {
            "nothing": ("-c", "pass"),
            "library": ("-c", f"import trtpipe; trtpipe.select({str(package)!r})"),
            "command": ("-m", "trtpipe", "select", str(package), "--for", "sm89", "--trt", "1.7.1"),
        }
        interleaved(runs, *(lambda name=name: costs[name].append(cost(*commands[name])) for name in commands))
    for name, found in costs.items():
        print(f"{name:8} {median(found):6.0f} ms of processor time")


if __name__ == "__main__":
    numbers = [int(one) for one in sys.argv[1:]]
    main(numbers[0] if numbers else 15, numbers[1] if len(numbers) > 1 else 1)
