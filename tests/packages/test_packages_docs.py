"""docs/packages.md: its loader and its Python run, and its tables name every field."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from tests.markdown_pages import ROOT, blocks_of
from tests.packages.small_packages import contents, engine, index, model
from trtpipe.packages.directory import write_directory
from trtpipe.packages.index import Fallback, Index, PackedEngine, PackedFile, PackedModel
from trtpipe.packages.index_file import index_bytes

PAGE = ROOT / "docs/packages.md"


def loader(place: Path) -> list[str]:
    """The command of the page's loader, as a program of its own without any package beside it."""
    (text,) = [
        one.text for one in blocks_of(PAGE, "python") if "trtpipe" not in one.text.replace("by trtpipe", "")
    ]
    program = place / "loader.py"
    program.write_text(text)
    return [sys.executable, "-I", "-S", str(program)]


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """Two models, with engines for two GPUs."""
    models = [
        model(
            name, [engine(f"{name}/fp16@ampere", compute_capabilities=("8.6",)), engine(f"{name}/fp16@ada")]
        )
        for name in ("a", "b")
    ]
    write_directory(contents(index(*models)), tmp_path / "p")
    return tmp_path / "p"


def run(command: list[str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*command, *arguments], check=False, capture_output=True, text=True)


def test_the_loader_is_short_and_finds_the_engines(package, tmp_path):
    command = loader(tmp_path)

    found = run(command, str(package), "8.9", "1.7.1.116")

    assert found.stdout.split() == [
        "a", "models/a/fp16@ada/model.engine", "b", "models/b/fp16@ada/model.engine",
    ]  # fmt: skip
    assert run(command, str(package), "8.9", "1.6.1.120").stdout == ""
    assert len((tmp_path / "loader.py").read_text().split("def ")[1].splitlines()) <= 22


def test_the_loader_refuses_a_damaged_engine_and_another_schema(package, tmp_path):
    command = loader(tmp_path)
    (package / "models/a/fp16@ada/model.engine").write_bytes(b"other")

    assert "is damaged" in run(command, str(package), "8.9", "1.7.1.116").stderr
    text = (package / "index.json").read_text().replace('"schema": 1', '"schema": 2')
    (package / "index.json").write_text(text)
    assert "index of schema 2" in run(command, str(package), "8.9", "1.7.1.116").stderr


def test_the_library_is_used_as_the_page_says(package, monkeypatch, capsys):
    (text,) = [one.text for one in blocks_of(PAGE, "python") if "import trtpipe" in one.text]
    monkeypatch.chdir(package.parent)
    (package.parent / "dist").mkdir()
    package.rename("dist/digits")

    exec(compile(text, str(PAGE), "exec"), {})

    assert "a/fp16@ada the machine has no NVIDIA GPU" in capsys.readouterr().out


def test_every_field_of_the_index_is_described():
    tables = re.findall(r"^\| (`.*?) \|", PAGE.read_text(), re.MULTILINE)
    said = {name for row in tables for name in re.findall(r"`(\w+)`", row)}
    text = PAGE.read_text()

    top = set(json.loads(index_bytes(index())))
    assert top == {one.name for one in fields(Index)} | {"checksum"}
    assert top | {one.name for one in fields(PackedEngine)} <= said
    for kind in (PackedModel, Fallback, PackedFile):
        assert all(f"`{one.name}`" in text for one in fields(kind)), kind
