"""Runs a command and counts what it did: files opened, processes, fsyncs, modules, and some of its calls."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.many_cells import STORE

ROOT = Path(__file__).resolve().parents[2]

COUNTED = """
import atexit, json, os, sys
from collections import Counter
counts, project, running = Counter(), os.getcwd() + os.sep, os.getpid()
def hear(event, arguments):
    if event == "open" and isinstance(arguments[0], (str, bytes, os.PathLike)):
        path = os.path.abspath(os.fsdecode(arguments[0]))
        if path.startswith(project):
            counts["opened"] += 1
            counts["opened " + os.path.basename(path)] += 1
    elif event in ("subprocess.Popen", "os.fork", "os.posix_spawn"):
        counts["processes"] += 1
sys.addaudithook(hear)
fsync = os.fsync
def counted_fsync(handle):
    counts["fsyncs"] += 1
    return fsync(handle)
os.fsync = counted_fsync
def counting(module, name, label, size=lambda *given: 1):
    inner = getattr(module, name)
    def outer(*given, **named):
        counts[label] += size(*given)
        return inner(*given, **named)
    setattr(module, name, outer)
if sys.argv.pop(1) == "calls":
    from trtpipe import digests
    from trtpipe.lockfile import reader
    from trtpipe.stores import state
    counting(reader, "_parsed", "parses of the lockfile")
    counting(state, "read_object", "parses of lines of the state", lambda text: 1)
    counting(state, "read_sealed", "reads of the state")
    for place in (digests, state):
        counting(place, "digest_file", "bytes hashed", lambda path: os.path.getsize(path))
def told():
    if os.getpid() == running:
        counts["modules"] = len(sys.modules)
        with open(os.environ["COUNTED_TO"], "w") as file:
            json.dump(counts, file)
atexit.register(told)
import runpy
runpy.run_module("trtpipe", run_name="__main__", alter_sys=True)
"""


def counted(root: Path, *arguments: str, calls: bool = False, store: str = STORE) -> dict[str, int]:
    """What a command did; with `calls` also calls inside of trtpipe, for which it is imported beforehand."""
    told = root.parent / f"{root.name}.counts"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TRTPIPE_STORE": store, "COUNTED_TO": str(told)}
    argv = [sys.executable, "-c", COUNTED, "calls" if calls else "alone", *arguments]
    done = subprocess.run(argv, cwd=root, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, int] = json.loads(told.read_text())
    return {**dict.fromkeys(("opened", "processes", "fsyncs", "bytes hashed"), 0), **found}
