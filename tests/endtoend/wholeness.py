"""What must hold of a project whatever happened to a build: no process survives, nothing is half-written."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import yaml

from trtpipe.digests import Digest, digest_file


def survivors(root: Path, patience: float = 2.0) -> list[str]:
    """Processes that still work below `root` after `patience` seconds, by their command lines."""
    end = time.monotonic() + patience
    while (found := _working_below(root)) and time.monotonic() < end:
        time.sleep(0.05)
    return found


def _working_below(root: Path) -> list[str]:
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            cwd = str((entry / "cwd").readlink()).removesuffix(" (deleted)")
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if command and Path(cwd).is_relative_to(root):
            found.append(f"{entry.name}: {command}")
    return found


def defects(root: Path, store: Path | None = None) -> list[str]:
    """Everything in the store, the build directory and the lockfile that is not whole."""
    store = store or root / ".trtpipe" / "store"
    return [*_store_defects(store), *_build_defects(root / "build"), *_lock_defects(root / "trtpipe.lock")]


def _store_defects(store: Path) -> list[str]:
    objects = sorted(store.glob("objects/*/*"))
    found = [
        f"{path}: other bytes than its name says" for path in objects if digest_file(path).hex != path.name
    ]
    for path in sorted(store.glob("traces/*/*.json")):
        trace = json.loads(path.read_bytes())
        for text in trace["outputs"].values():
            digest = Digest.parse(text)
            if not (store / "objects" / digest.hex[:2] / digest.hex).exists():
                found.append(f"{path}: its output {digest.short} is missing")
    return found


def _build_defects(build: Path) -> list[str]:
    found = []
    for path in sorted(build.glob("*/*/manifest.json")):
        manifest = json.loads(path.read_bytes())
        files = {"model.engine": manifest["engine"], **manifest["model"]}
        for name, known in files.items():
            digest = digest_file(path.parent / name)
            if (digest.hex, digest.size) != (known["blake3"], known["bytes"]):
                found.append(f"{path.parent / name}: not what the manifest says")
    return found


def _lock_defects(lock: Path) -> list[str]:
    if not lock.exists():
        return []
    cells = yaml.safe_load(lock.read_text())["cells"]
    found = []
    for name, facts in cells.items():
        engine = digest_file(lock.parent / "build" / name / "model.engine")
        if facts["engine"] != f"{engine.hex} ({engine.size} bytes)":
            found.append(f"{lock}: {name} is not what was delivered")
    return found


def leftovers(root: Path) -> list[str]:
    """Scratch directories and temporary files that a finished build should have swept."""
    store = root / ".trtpipe" / "store"
    places = [*(store / "tmp").glob("*"), *store.glob("*/*/.*"), *store.glob(".*")]
    places += (root / "build").rglob(".*")
    places += [*(root / ".trtpipe").glob(".state*"), *root.glob(".trtpipe.*")]
    return [str(path) for path in places if path.name != ".gitignore"]


def delivered_bytes(root: Path) -> dict[str, bytes]:
    """The engines and typed models of every cell, and the lockfile."""
    build = root / "build"
    files = [*build.glob("*/*/model.engine"), *build.glob("*/*/model.onnx"), root / "trtpipe.lock"]
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files}
