"""How commands grow with the number of cells: processor time and peak memory of each, and both for each cell.

The projects are those of `tests/many_cells.py`: one engine is really built, and the results of all other steps are in
the store. Processor time is that of the command itself; what its child processes take is told apart. One run each,
of a project with N cells in specs of 50. Run: python -m tests.bench.bench_growth [CELLS...]
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import trtpipe
from tests.many_cells import STORE, ManyCells

ROOT = Path(trtpipe.__file__).resolve().parents[1]

MEASURED = """
import atexit, json, os, resource, runpy, sys, time
began = time.perf_counter()
def told():
    own, others = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    status = dict(line.split(":", 1) for line in open("/proc/self/status").read().splitlines())
    seconds = [own.ru_utime + own.ru_stime, others.ru_utime + others.ru_stime, time.perf_counter() - began]
    with open(os.environ["MEASURED_TO"], "w") as file:
        json.dump([*seconds, int(status["VmHWM"].split()[0]) / 1024], file)
atexit.register(told)
sys.argv = ["trtpipe", *sys.argv[1:]]
runpy.run_module("trtpipe", run_name="__main__", alter_sys=True)
"""


@dataclass(frozen=True)
class Figures:
    """Processor seconds of the command and of its children, seconds of the clock, peak MiB; what it printed."""

    own: float
    children: float
    seconds: float
    peak: float
    out: str


def measured(root: Path, *arguments: str) -> Figures:
    """A command in a project."""
    with tempfile.NamedTemporaryFile() as file:
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "TRTPIPE_STORE": STORE,
            "MEASURED_TO": file.name,
        }
        done = subprocess.run(
            [sys.executable, "-c", MEASURED, *arguments],
            cwd=root,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(arguments)}: {done.stdout[-500:]}{done.stderr[-2000:]}")
        return Figures(*json.loads(Path(file.name).read_text()), done.stdout)


def settled() -> None:
    """Wait until a file written just now counts as unchanged."""
    time.sleep(0.2)


def rows(project: ManyCells) -> dict[str, Callable[[], Figures]]:
    """What is measured, in this order."""
    root = project.root
    one = project.specs[0].relative_to(root).as_posix()

    def dirty() -> Figures:
        project.change(*range(min(2, len(project.specs))))
        settled()
        return measured(root, "build")

    def dirty_second() -> Figures:
        return measured(root, "build")

    def between() -> Figures:
        measured(root, "build", one)
        return measured(root, "build")

    return {
        "build, all from the store": lambda: measured(root, "build"),
        "build, reports and stamp settled": lambda: measured(root, "build"),
        "build, nothing to do": lambda: measured(root, "build"),
        "build --json, nothing to do": lambda: measured(root, "build", "--json"),
        "build --jobs 2, nothing to do": lambda: measured(root, "build", "--jobs", "2"),
        "build of one spec, then of all": between,
        "plan": lambda: measured(root, "plan"),
        "plan --json": lambda: measured(root, "plan", "--json"),
        "check": lambda: measured(root, "check"),
        "check, a second time": lambda: measured(root, "check"),
        "lock --check": lambda: measured(root, "lock", "--check"),
        "lock": lambda: measured(root, "lock"),
        "report": lambda: measured(root, "report"),
        "explain of a cell": lambda: measured(root, "explain", "digits0/fp16@t0"),
        "which": lambda: measured(root, "which", "build/digits0/fp16@t0/model.engine"),
        "cache stats": lambda: measured(root, "cache", "stats"),
        "cache gc --dry-run": lambda: measured(root, "cache", "gc", "--dry-run"),
        "build, 2 cells changed": dirty,
        "build, nothing to do after it": dirty_second,
    }


def made(folder: Path, cells: int) -> ManyCells:
    """The project, with the results of all steps in its store."""
    os.environ["TRTPIPE_STORE"] = STORE
    project = ManyCells(folder, cells)
    project.write()
    measured(folder, "build", "digits0/*@t0")
    os.chdir(folder)
    project.invent()
    settled()
    return project


def main(counts: list[int], only: str = "") -> None:
    found: dict[str, dict[int, Figures]] = {}
    for cells in counts:
        with tempfile.TemporaryDirectory() as name:
            project = made(Path(name), cells)
            for row, run in rows(project).items():
                figures = found.setdefault(row, {})[cells] = run()
                print(f"{cells:6} {row:34} {shown(figures)}", flush=True)
            os.chdir("/")
    print(f"\nload {os.getloadavg()[0]:.1f}")
    for row, by_count in found.items():
        print(row)
        base = None
        for cells, one in by_count.items():
            fixed = base or one
            each = (one.own - fixed.own) / cells * 1000
            print(f"  {cells:6} {shown(one)}  {each:7.3f} ms a cell above the smallest")
            base = base or one


def shown(one: Figures) -> str:
    return (
        f"{one.own:7.2f} s own {one.children:6.2f} s children {one.seconds:7.2f} s clock {one.peak:6.0f} MiB"
    )


if __name__ == "__main__":
    main([int(text) for text in sys.argv[1:]] or [10, 100, 1000, 10000])
