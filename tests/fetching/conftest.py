"""A server of its own for each test, a project beside it, and none of the machine's proxies and credentials."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from servers import Server, running

ROOT = Path(__file__).resolve().parents[2]
_FOREIGN = ("AWS_", "GOOGLE_", "HF_", "HUGGING", "TRTPIPE_")

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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if importlib.util.find_spec("tensorrt_rtx") is None:
        for item in items:
            if item.get_closest_marker("engine") and Path(__file__).parent in item.path.parents:
                item.add_marker(pytest.mark.skip(reason="not run: needs a tensorrt_rtx wheel"))


@pytest.fixture(autouse=True)
def only_here(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(_FOREIGN) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


@pytest.fixture
def server() -> Iterator[Server]:
    with running() as state:
        yield state


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
            [sys.executable, "-m", "trtpipe", *argv],
            cwd=self.root,
            env={**os.environ, "PYTHONPATH": str(ROOT), **self.env},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, *argv: str) -> Ran:
        process = self.start(*argv)
        out, err = process.communicate(timeout=120)
        return Ran(process.returncode, out, err)

    def manifest(self) -> dict[str, Any]:
        return json.loads((self.root / "build/digits/fp32@ada/manifest.json").read_bytes())

    def partials(self) -> list[Path]:
        return list((self.root / ".trtpipe/store/tmp").glob("*"))


@pytest.fixture
def project(tmp_path: Path) -> Project:
    (tmp_path / "project").mkdir()
    return Project(tmp_path / "project")
