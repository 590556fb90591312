"""The examples of docs/inspecting.md, run as they stand there."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from trtpipe.cli.main import app

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "inspecting.md").read_text()
EXAMPLES = {
    match[1]: match[2]
    for match in re.finditer(r"```console\n\$ (trtpipe [^\n]*)\n(.*?)```", TEXT, re.S)
    if "--network" not in match[1]
    and "--parsed" not in match[1]  # both need TensorRT: see debugging, exporting
}
LOCK = """\
schema: 1
cells:
  digits/fp16@ada:
    key: k1
    engine: {a} ({size} bytes)
    toolchain: tensorrt_rtx {version}
  digits/fp16@ampere:
    key: k1
    engine: {b} ({size} bytes)
    toolchain: tensorrt_rtx {version}
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: Any) -> Path:
    """A repository with the digits model, and two commits of a lockfile."""
    if shutil.which("git") is None:
        pytest.skip("not run: needs git")
    (tmp_path / "models").mkdir()
    shutil.copy(ROOT / "pipelines" / "models" / "digits_cnn.onnx", tmp_path / "models" / "digits.onnx")
    identity = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
    versions = (("1.6.1.120", 200, "a", "b"), ("1.7.1.116", 250, "c", "d"))
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    for version, size, a, b in versions:
        text = LOCK.format(version=version, size=size, a=a * 64, b=b * 64)
        (tmp_path / "trtpipe.lock").write_text(text)
        subprocess.run(["git", "add", "."], cwd=tmp_path, check=True)
        subprocess.run(["git", *identity, "commit", "-qm", version], cwd=tmp_path, check=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_there_are_examples() -> None:
    assert len(EXAMPLES) == 2


@pytest.mark.parametrize("command", EXAMPLES)
def test_an_example_prints_what_the_docs_show(command: str, project: Path) -> None:
    ran = CliRunner().invoke(app, shlex.split(command)[1:])
    assert (ran.exit_code, ran.output) == (0, EXAMPLES[command])


def test_git_shows_a_model_as_text(project: Path) -> None:
    import sys

    script = project / "textconv"
    script.write_text(
        f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m trtpipe inspect --for sm89 "$1"\n'
    )
    script.chmod(0o755)
    (project / ".gitattributes").write_text("*.onnx diff=trtpipe\n")
    shown = ["git", "-c", f"diff.trtpipe.textconv={script}", "diff", "--no-color", "HEAD", "--", "models"]
    shutil.copy(ROOT / "pipelines" / "models" / "digits_cnn.onnx", project / "models" / "digits.onnx")
    import onnx

    model = onnx.load(project / "models" / "digits.onnx")
    model.producer_name = "another"
    onnx.save(model, project / "models" / "digits.onnx")
    ran = subprocess.run(shown, cwd=project, check=True, capture_output=True, text=True)
    changed = [line for line in ran.stdout.splitlines() if re.match(r"[+-][^+-]", line)]
    assert changed == ["-made by pytorch 2.13.0", "+made by another 2.13.0"]
