"""A project on disk, built piece by piece, and the command itself run in it as a user runs it.

project = Project(tmp_path).model(onnx_model).spec(SPEC)
assert project.run("build", "--json").code == 0
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests import warm_commands

if TYPE_CHECKING:
    import onnx

ROOT = Path(__file__).resolve().parents[1]
BASE_INSTALL = Path(__file__).parent / "endtoend" / "base_install"

for _paths in ((ROOT,), (ROOT, BASE_INSTALL)):
    warm_commands.serve_for(*_paths)

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
    plots: bool = False
    """Whether the extra `report` is there; elsewhere commands run in the base install."""

    def write(self, name: str, content: str | bytes) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def spec(self, text: str, name: str = "net") -> Project:
        """Write a pipeline's spec."""
        self.write(f"pipelines/{name}.yaml", text)
        return self

    def model(self, model: onnx.ModelProto | Path, name: str = "net") -> Project:
        """Write a model, or copy a file, to where the specs of tests look for it: `models/NAME.onnx`."""
        path = self.write(f"models/{name}.onnx", "")
        path.write_bytes(model.read_bytes() if isinstance(model, Path) else model.SerializeToString())
        return self

    def edit(self, name: str, old: str, new: str) -> None:
        path = self.root / name
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    def command(self, *argv: str) -> list[str]:
        return [*warm_commands.COMMAND, *argv]

    def environment(self) -> dict[str, str]:
        paths = [ROOT] if self.plots else [ROOT, BASE_INSTALL]
        return {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths)), **self.env}

    def run(self, *argv: str, cwd: Path | None = None, timeout: float = 300) -> Ran:
        done = warm_commands.run(self.command(*argv), cwd or self.root, self.environment(), timeout)
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


def make_project(root: Path, spec: str = SPEC, env: Mapping[str, str] | None = None) -> Project:
    """A project with the classifier of digits."""
    project = Project(root, dict(env or {}))
    return project.model(ROOT / "pipelines/models/digits_cnn.onnx", "digits").spec(spec, "digits")
