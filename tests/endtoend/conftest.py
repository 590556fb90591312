"""Projects on disk and the command itself, run as a user runs it."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import zoo

ROOT = Path(__file__).resolve().parents[2]

SPEC = """\
schema: 1
pipeline: digits
model: {source: models/digits.onnx}
variants:
  fp32: {}
  fp16: {precision: fp16}
profiles:
  - image: {min: 1x1x8x8, opt: 16x1x8x8, max: 64x1x8x8}
targets:
  ada: {gpu: rtx4090}
  ampere: {gpu: sm86}
builder: {workspace: 1GiB}
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    missing = importlib.util.find_spec("tensorrt_rtx") is None
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.engine)
            if missing:
                item.add_marker(pytest.mark.skip(reason="not run: needs a tensorrt_rtx wheel"))


@dataclass
class Ran:
    """A command that ended."""

    code: int
    out: str
    err: str

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def ran(self) -> list[str]:
        """The steps that a `build --json` really ran."""
        return sorted(e["address"] for e in self.events if e["event"] == "done" and e["ran"])


@dataclass
class Project:
    """A project in a directory of its own."""

    root: Path
    env: dict[str, str] = field(default_factory=dict)

    def write(self, name: str, text: str) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def edit(self, name: str, old: str, new: str) -> None:
        path = self.root / name
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    def command(self, *argv: str) -> list[str]:
        return [sys.executable, "-m", "trtpipe", *argv]

    def environment(self) -> dict[str, str]:
        return {**os.environ, "PYTHONPATH": str(ROOT), **self.env}

    def run(self, *argv: str, cwd: Path | None = None, timeout: float = 300) -> Ran:
        done = subprocess.run(
            self.command(*argv),
            cwd=cwd or self.root,
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    def start(self, *argv: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.command(*argv),
            cwd=self.root,
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def engine(self, cell: str = "fp32@ada") -> bytes:
        return (self.root / "build" / "digits" / cell / "model.engine").read_bytes()

    def manifest(self, cell: str = "fp32@ada") -> dict[str, Any]:
        return json.loads((self.root / "build" / "digits" / cell / "manifest.json").read_bytes())

    def leftovers(self) -> list[str]:
        """Files that a build should not leave: scratch directories, temporary and half-written files."""
        store = self.root / ".trtpipe" / "store"
        scratch = list((store / "tmp").glob("*")) if store.exists() else []
        hidden = [path for path in (self.root / "build").rglob(".*") if path.is_file()]
        return [str(path) for path in (*scratch, *hidden, *self.root.glob(".*.lock.*"))]


def make_project(root: Path, spec: str = SPEC) -> Project:
    (root / "models").mkdir(parents=True)
    shutil.copy(ROOT / "pipelines" / "models" / "digits_cnn.onnx", root / "models" / "digits.onnx")
    project = Project(root)
    project.write("pipelines/digits.yaml", spec)
    return project


@pytest.fixture(scope="session")
def new_project() -> Callable[..., Project]:
    """Makes an empty project: `new_project(root, environment)`."""

    def make(root: Path, env: Mapping[str, str] | None = None) -> Project:
        root.mkdir(parents=True)
        return Project(root, dict(env or {}))

    return make


@pytest.fixture(scope="session")
def real(new_project: Callable[..., Project], tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The real models, built for sm89 in fp32 and fp16; tests that change it work on a copy."""
    project = new_project(tmp_path_factory.mktemp("real") / "project")
    for model in zoo.MODELS:
        zoo.add_model(project.root, model)
    done = project.run("build")
    assert done.code == 0, done.err
    assert done.out.startswith("built 8 engines in ")
    return project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return make_project(tmp_path / "project")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project that was built once; tests that change it work on a copy."""
    project = make_project(tmp_path_factory.mktemp("built") / "project")
    done = project.run("build")
    assert done.code == 0, done.err
    return project


@pytest.fixture
def copy(built: Project, tmp_path: Path) -> Project:
    """A copy of the built project, store and build directory included."""
    shutil.copytree(built.root, tmp_path / "copy", symlinks=True)
    return Project(tmp_path / "copy")
