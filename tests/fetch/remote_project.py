"""A project on disk whose model is what a test says, and the command run in it as a user runs it."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests import warm_commands

ROOT = Path(__file__).resolve().parents[2]
warm_commands.serve_for(ROOT)

SPEC = """\
schema: 1
pipeline: digits
model: {model}
profiles:
  - image: {{min: 1x1x8x8, opt: 16x1x8x8, max: 64x1x8x8}}
targets:
  ada: {{gpu: rtx4090}}
builder: {{workspace: 1GiB}}
validate: {{random: {{seed: 0, samples: 2}}}}
"""


@dataclass
class Ran:
    """A command that ended."""

    code: int
    out: str
    err: str

    @property
    def ran(self) -> list[str]:
        """The steps that a `build --json` really ran."""
        events = [json.loads(line) for line in self.out.splitlines()]
        return sorted(e["address"] for e in events if e["event"] == "done" and e["ran"])


@dataclass
class Project:
    """A project whose model is what a test says, and the command run in it."""

    root: Path
    env: dict[str, str] = field(default_factory=dict)

    def spec(self, model: str, name: str = "digits") -> None:
        path = self.root / "pipelines" / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(SPEC.format(model=model).replace("pipeline: digits", f"pipeline: {name}"))

    def start(self, *argv: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*warm_commands.COMMAND, *argv],
            cwd=self.root,
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, *argv: str) -> Ran:
        command = [*warm_commands.COMMAND, *argv]
        done = warm_commands.run(command, self.root, self.environment(), timeout=120)
        return Ran(done.returncode, done.stdout, done.stderr)

    def environment(self) -> dict[str, str]:
        return {**os.environ, "PYTHONPATH": str(ROOT), **self.env}

    def manifest(self) -> dict[str, Any]:
        return json.loads((self.root / "build/digits/fp32@ada/manifest.json").read_bytes())

    def partials(self) -> list[Path]:
        return list((self.root / ".trtpipe/store/tmp").glob("*"))
