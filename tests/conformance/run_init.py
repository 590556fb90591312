"""`trtpipe init` and `trtpipe build`, unmodified, on every ONNX model below some directories.

    python -m tests.conformance.run_init FOLDER… [--only NAME…] [--cells GLOB] [--json FILE] [--keep FOLDER]
                                                 [--no-build]

Each model gets a project of its own, with the folder's files beside it where it has external data. Of each is printed
what came of it, the processor seconds of `init` with its child processes, and its closing words. Results:

    built     everything that the spec asks for was built and validated
    said      init wrote a spec and said in it what must be decided first
    refused   init refused the model, in one error
    failed    init found no problem in its spec, but it does not build
    crashed   a traceback, or no end within the limit
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_PATIENCE = 900.0
_PR_SET_CHILD_SUBREAPER = 36
_CLAIM = "# Checked"


@dataclass(frozen=True)
class Ran:
    """A command that ended."""

    code: int
    text: str
    seconds: float
    """Of the processor, its child processes included."""


@dataclass(frozen=True)
class Row:
    """What came of one model."""

    model: str
    megabytes: float
    result: str
    init_seconds: float
    build_seconds: float
    words: str


def models_in(folder: Path) -> Iterator[Path]:
    """The ONNX models of a folder and the folders in it."""
    yield from sorted(path for path in folder.rglob("*.onnx") if path.is_file())


def run(arguments: Sequence[str], cwd: Path) -> Ran:
    """A trtpipe command, in a project; its output goes to a file, so that grandchildren cannot hold a pipe open."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TRTPIPE_STORE": str(cwd / "store")}
    command = [sys.executable, "-m", "trtpipe", *arguments]
    with (cwd / "said.txt").open("w+") as said:
        child = subprocess.Popen(
            command, cwd=cwd, env=environment, stdout=said, stderr=said, stdin=subprocess.DEVNULL
        )
        code, seconds = _ended(child.pid)
        said.seek(0)
        return Ran(code, said.read(), seconds)


def _ended(child: int) -> tuple[int, float]:
    """How a process ended, and the processor seconds of it and of all that it left behind."""
    end, code, seconds = time.monotonic() + _PATIENCE, None, 0.0
    while True:
        try:
            pid, status, used = os.wait4(-1, os.WNOHANG)
        except ChildProcessError:  # none is left
            assert code is not None
            return code, seconds
        if pid == 0:
            if time.monotonic() > end:
                os.kill(child, signal.SIGKILL)
            time.sleep(0.02)
            continue
        seconds += used.ru_utime + used.ru_stime
        code = os.waitstatus_to_exitcode(status) if pid == child else code


def _adopt_orphans() -> None:
    """Linux only: what outlives its parent becomes this process's child, whose time is then counted."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)


def examine(model: Path, project: Path, cells: str, *, build: bool) -> Row:
    """Init and build of one model."""
    (project / "trtpipe.yaml").write_text("schema: 1\n")
    (project / "models").mkdir(parents=True)
    beside = [path for path in model.parent.iterdir() if path.is_file() and path.suffix != ".onnx"]
    small = sum(path.stat().st_size for path in beside) < 2 << 30
    for path in [model, *(beside if small else [])]:
        shutil.copy(path, project / "models")
    size = model.stat().st_size / 1e6
    wrote = run(["init", f"models/{model.name}", "--name", "m"], project)
    if wrote.code != 0:
        return Row(model.name, size, _refusal(wrote), wrote.seconds, 0.0, _last(wrote.text, 2))
    claims = (project / "pipelines/m.yaml").read_text().startswith(_CLAIM)
    if not build:
        return Row(model.name, size, "claims" if claims else "said", wrote.seconds, 0.0, _last(wrote.text, 2))
    built = run(["build", "pipelines/m.yaml", *(["--only", cells] if cells else [])], project)
    result = "built" if built.code == 0 else _refusal(built) if claims or _wild(built) else "said"
    result = "failed" if result == "refused" else result
    words = "" if result == "built" else _last(built.text, 4)
    return Row(model.name, size, result, wrote.seconds, built.seconds, words)


def _refusal(ran: Ran) -> str:
    return "crashed" if _wild(ran) else "refused"


def _wild(ran: Ran) -> bool:
    return "Traceback" in ran.text or ran.code < 0


def _last(text: str, lines: int) -> str:
    return " | ".join(line.strip() for line in text.strip().splitlines()[-lines:])[:600]


def main() -> int:
    """Print a line for each model, and how many of each kind; 1 when init claimed what is not so, or crashed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--only", nargs="*", default=[], help="models by a part of their path")
    parser.add_argument("--cells", default="", help="build only the cells of this glob")
    parser.add_argument("--json", type=Path, help="write the rows there")
    parser.add_argument("--keep", type=Path, help="keep the projects there")
    parser.add_argument("--no-build", action="store_true", help="init alone")
    given = parser.parse_args()
    _adopt_orphans()
    rows: list[Row] = []
    for folder in given.folders:
        for model in models_in(folder):
            name = model.relative_to(folder).as_posix()
            if given.only and not any(part in f"{folder}/{name}" for part in given.only):
                continue
            with tempfile.TemporaryDirectory(prefix="init-", ignore_cleanup_errors=True) as place:
                project = (
                    given.keep / f"{folder.name}/{name}".replace("/", "-") if given.keep else Path(place)
                )
                if given.keep:
                    shutil.rmtree(project, ignore_errors=True)
                    project.mkdir(parents=True)
                row = examine(model, project, given.cells, build=not given.no_build)
                shutil.rmtree(project / "store", ignore_errors=True)
            row = Row(f"{folder.name}/{name}", *list(asdict(row).values())[1:])
            rows.append(row)
            spent = f"{row.init_seconds:6.1f} s {row.build_seconds:7.1f} s"
            print(f"{row.result:8} {spent} {row.megabytes:7.2f} MB  {row.model}", flush=True)
            if row.words:
                print(f"         {row.words}", flush=True)
            if given.json:
                given.json.write_text(json.dumps([asdict(one) for one in rows], indent=1) + "\n")
    counted = Counter(row.result for row in rows)
    print(", ".join(f"{count} {result}" for result, count in counted.most_common()), f"of {len(rows)}")
    return 1 if counted["failed"] or counted["crashed"] else 0


if __name__ == "__main__":
    sys.exit(main())
