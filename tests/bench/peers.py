"""Runs things in processes of their own and measures them; peers in environments of their own, which are made once.

An environment lies in $TRTPIPE_BENCH_ENVS, or below the user's cache directory.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path

QUICK = "TRTPIPE_BENCH_QUICK"
"""Set where only peers that are installed within seconds may be."""
_SMALL = ("doit", "ninja")
_TAIL = """
import json as _json
_status = dict(line.split(":", 1) for line in open("/proc/self/status").read().splitlines())
print("MEASURED " + _json.dumps({**MEASURED, "peak": int(_status["VmHWM"].split()[0]) / 1024}))
"""


@dataclass(frozen=True)
class Measured:
    """Wall and CPU seconds of the work alone, peak memory of its process in MiB, and what else it told."""

    seconds: float
    user: float
    peak: float
    told: dict[str, object]


def measured(
    python: str, code: str, *arguments: object, cwd: Path | None = None, tree: Path | None = None
) -> Measured:
    """Runs `code`, which leaves a dict MEASURED with `seconds` and `user`. Raises RuntimeError with its last line.

    In this interpreter it imports the trtpipe of `tree`, this clone if left out.
    """
    environment = {
        **os.environ,
        "PYTHONPATH": str(tree or Path(__file__).parents[2]) if python == sys.executable else "",
    }
    done = subprocess.run(
        [python, "-c", code + _TAIL, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        cwd=cwd,
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("MEASURED ")]
    if done.returncode or not lines:
        raise RuntimeError((done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1])
    told = json.loads(lines[-1].removeprefix("MEASURED "))
    return Measured(told.pop("seconds"), told.pop("user"), told.pop("peak"), told)


def environment_with(name: str, *packages: str) -> str:
    """The interpreter of an environment with these packages, installed the first time. Raises RuntimeError."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "trtpipe-bench"
    folder = Path(os.environ.get("TRTPIPE_BENCH_ENVS", cache)) / name
    python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    if not (folder / "complete").exists():
        if os.environ.get(QUICK) and name not in _SMALL:
            raise RuntimeError(f"{name} is not installed yet, which --quick leaves out")
        venv.create(folder, with_pip=True, clear=True)
        done = subprocess.run(
            [python, "-m", "pip", "install", "-q", *packages], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError((done.stderr.strip().splitlines() or ["pip failed"])[-1])
        (folder / "complete").touch()
    return str(python)
