"""Which interpreters and which versions of packages change what a build yields, step by step.

    python -m tests.conformance.run_environments [--write] [--work FOLDER] [--only NAME…] [INTERPRETER…]

Each environment is one change from the newest of everything: an interpreter, or an older version of one package of the
data path. It gets a venv and an empty store, and builds one project: pictures that Pillow decodes and resizes, int8
scales of two methods, half precision, another network. Then its lockfile is held against the first one.

With `--write` the result becomes `environments.json` beside this script, and the table in `docs/lockfile.md`.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from trtpipe.lockfile import Lock, load_lock

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]

OUT, PAGE = HERE / "environments.json", ROOT / "docs" / "lockfile.md"
_BEGIN, _END = "<!-- environments -->\n", "<!-- end of environments -->\n"
PACKAGES = ("numpy", "onnx", "onnx-ir", "onnxruntime", "pillow")
MINORS = (10, 11, 12, 13, 14)
SPEC = """\
schema: 1
pipeline: digits
model: {source: models/digits.onnx}
variants:
  fp16: {precision: fp16}
  entropy: {precision: int8, calibration: photos-calib}
  largest: {precision: int8, calibration: photos-calib, method: max}
profiles:
  - image: {min: 1x1x8x8, opt: 16x1x8x8, max: 64x1x8x8}
targets: {ada: {gpu: rtx4090}}
builder: {workspace: 1GiB}
validate: {data: photos-val, corners: false, thresholds: [{metric: cosine, min: 0.9}]}
"""
OTHER = """\
schema: 1
pipeline: squeezenet
model: {source: "pkg://onnx/backend/test/data/light/light_squeezenet.onnx"}
transform: {outputs: [r65], set_shapes: {data_0: [-1, 3, 224, 224]}}
variants: {fp32: {}}
profiles:
  - data_0: {min: 1x3x224x224, opt: 2x3x224x224, max: 4x3x224x224}
targets: {ada: {gpu: rtx4090}}
builder: {workspace: 1GiB}
validate: {random: {seed: 0, samples: 2}, corners: false, thresholds: [{metric: cosine, min: 0.9}]}
"""
SET = """\
schema: 1
images: photos/{name}
inputs:
  image: {{colour: gray, scale: 0.00390625, resize: 8x8}}
batch: 8
"""


@dataclass(frozen=True)
class Environment:
    """An interpreter, and what pip is asked for beside trtpipe."""

    name: str
    python: str
    pins: tuple[str, ...] = ()


def main() -> None:
    """Build in each environment, compare, print, and write if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("interpreters", nargs="*", default=[sys.executable])
    parser.add_argument("--work", type=Path)
    parser.add_argument("--only", nargs="*")
    parser.add_argument("--write", action="store_true")
    asked = parser.parse_args()
    work = asked.work or Path(tempfile.mkdtemp(prefix="environments-"))
    work.mkdir(parents=True, exist_ok=True)
    first, *others = environments(work, asked.interpreters)
    reference = built(work, first)
    rows = [row(first, reference, reference)]
    for one in others:
        if not asked.only or one.name in asked.only:
            found = built(work, one)
            rows.append(row(one, reference, found))
            print(json.dumps(rows[-1]), flush=True)
    tried = {one["python"].rpartition(".")[0] for one in rows}
    not_run = [f"cpython 3.{minor}" for minor in MINORS if f"cpython 3.{minor}" not in tried]
    record = {"schema": 1, "rows": rows, "not_run": not_run}
    if asked.write:
        OUT.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        write_table(record)


def environments(work: Path, interpreters: list[str]) -> Iterator[Environment]:
    """The first interpreter with the newest of everything, then one change at a time."""
    newest = Environment("newest", interpreters[0])
    yield newest
    for python in interpreters[1:]:
        yield Environment(version_of(python), python)
    for package in PACKAGES:
        here = versions(venv(work, newest))[package]
        yield Environment(f"older {package}", interpreters[0], (f"{package}<{here}",))


def venv(work: Path, one: Environment) -> Path:
    """The interpreter of an environment's venv, made if it is not there."""
    folder = work / one.name.replace(" ", "-") / "venv"
    python = folder / "bin" / "python"
    if not (folder / "done").exists():
        subprocess.run([one.python, "-m", "venv", str(folder)], check=True)
        asked = ["install", "--quiet", f"{ROOT}[images]", *one.pins]
        subprocess.run([str(python), "-m", "pip", *asked], check=True)
        (folder / "done").touch()
    return python


def versions(python: Path) -> dict[str, str]:
    """The packages of the data path in a venv."""
    ask = f"from importlib.metadata import version; print(*map(version, {PACKAGES}))"
    said = subprocess.run([str(python), "-c", ask], capture_output=True, text=True, check=True).stdout
    return dict(zip(PACKAGES, said.split(), strict=True))


def version_of(python: str) -> str:
    """`cpython 3.12.1`."""
    code = "import platform, sys; print(sys.implementation.name, platform.python_version())"
    return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def built(work: Path, one: Environment) -> Lock:
    """The lockfile of the project, built in an environment from nothing."""
    python, root = venv(work, one), work / one.name.replace(" ", "-") / "project"
    if not (root / "trtpipe.lock").exists():
        shutil.rmtree(root, ignore_errors=True)
        make_project(root)
        environment = {**os.environ, "TRTPIPE_STORE": str(root / "store")}
        environment.pop("PYTHONPATH", None)
        done = subprocess.run(  # noqa: PLW1510 - a build that fails is told with all that it said
            [str(python), "-I", "-m", "trtpipe", "build"],
            cwd=root,
            env=environment,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise SystemExit(f"{one.name}: {done.stdout}{done.stderr}")
    return load_lock(root / "trtpipe.lock")


def make_project(root: Path) -> None:
    """The project, with pictures of 20 x 20 pixels that have to be resized."""
    import numpy as np
    from PIL import Image

    (root / "models").mkdir(parents=True)
    shutil.copy(ROOT / "pipelines/models/digits_cnn.onnx", root / "models/digits.onnx")
    for name, count in (("calib", 64), ("val", 64)):
        with np.load(ROOT / f"calibration/digits/{name}.npz") as arrays:
            images = arrays["image"][:count]
        for number, image in enumerate(images):
            path = root / f"photos/{name}/{number:04}.{'png' if number % 2 else 'jpg'}"
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = np.kron(image[0], np.ones((3, 3)))[2:22, 2:22]
            Image.fromarray(np.rint(pixels * 255 / 16).clip(0, 255).astype(np.uint8)).save(path)
        (root / "calibration").mkdir(exist_ok=True)
        (root / f"calibration/photos-{name}.yaml").write_text(SET.format(name=name))
    (root / "pipelines").mkdir()
    (root / "pipelines/digits.yaml").write_text(SPEC)
    (root / "pipelines/squeezenet.yaml").write_text(OTHER)


def row(one: Environment, reference: Lock, found: Lock) -> dict[str, object]:
    """What an environment changes: steps whose results differ, and engines."""
    made = sorted(
        {one for entry in found.steps.values() for one in entry.get("made_with", "").split(", ") if one}
    )
    steps = [address for address in reference.steps if result(reference, address) != result(found, address)]
    engines = [
        name for name, entry in reference.cells.items() if entry["engine"] != found.cells[name]["engine"]
    ]
    measured = [
        name
        for name, entry in reference.cells.items()
        if entry.get("measured") != found.cells[name].get("measured")
    ]
    python = next(str(entry["python"]) for entry in found.cells.values())
    return {
        "name": one.name,
        "python": python,
        "made_with": ", ".join(made),
        "other_results": steps,
        "other_engines": engines,
        "other_measurements": measured,
    }


def result(lock: Lock, address: str) -> Mapping[str, str]:
    """What a step yielded, without what it yielded it with."""
    entry = lock.steps.get(address, {})
    return {name: text for name, text in entry.items() if not name.startswith("made_") and name != "recipe"}


def write_table(record: Mapping[str, object]) -> None:
    """The table in the documentation, between its marks."""
    lines = [
        "| made with | other results | other engines | other measured values |\n",
        "| --- | --- | --- | --- |\n",
    ]
    rows = record["rows"]
    assert isinstance(rows, list)
    for one in rows:
        steps = ", ".join(f"`{address}`" for address in one["other_results"]) or "none"
        engines = ", ".join(f"`{name}`" for name in one["other_engines"]) or "none"
        measured = ", ".join(f"`{name}`" for name in one["other_measurements"]) or "none"
        lines.append(f"| {one['python']}, {one['made_with']} | {steps} | {engines} | {measured} |\n")
    not_run = record["not_run"]
    assert isinstance(not_run, list)
    lines += [f"| {name} | not run | not run | not run |\n" for name in not_run]
    page = PAGE.read_text(encoding="utf-8")
    inside = re.compile(f"(?<={re.escape(_BEGIN)}).*(?={re.escape(_END)})", re.DOTALL)
    assert inside.search(page), f"{PAGE} has no place for the table"
    PAGE.write_text(inside.sub("".join(lines), page), encoding="utf-8")


if __name__ == "__main__":
    main()
