"""docs/tutorial.md, done step by step in one project: each command runs, and prints what the page shows."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from markdown_pages import ROOT, Command, blocks_of, commands_in, shows
from projects import BASE_INSTALL

PAGE = ROOT / "docs" / "tutorial.md"


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """What a reader has: the command, a clone at ~/trtpipe, and a name for git."""
    home, programs = tmp_path / "home", tmp_path / "bin"
    home.mkdir()
    programs.mkdir()
    (home / "trtpipe").symlink_to(ROOT)
    command = programs / "trtpipe"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m trtpipe "$@"\n')
    command.chmod(0o755)
    who = {
        f"GIT_{role}_{what}": "you@example.org"
        for role in ("AUTHOR", "COMMITTER")
        for what in ("NAME", "EMAIL")
    }
    return {
        **os.environ,
        **who,
        "HOME": str(home),
        "PATH": os.pathsep.join([str(programs), os.environ["PATH"]]),
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(BASE_INSTALL)]),
        "GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md"),
    }


class Reader:
    """Types what the page says into one shell after the other, in one project."""

    def __init__(self, project: Path, environment: dict[str, str]) -> None:
        self.project, self.environment, self.code = project, environment, 0

    def type(self, line: str) -> str:
        """Standard output; of a command that ends with another code than 0, what it told on standard error too."""
        done = subprocess.run(
            ["bash", "-c", f"(exit {self.code}); {line}"],
            cwd=self.project,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        self.code = done.returncode
        return done.stdout + (done.stderr if self.code else "")

    def follow(self, commands: list[Command]) -> None:
        """Run the commands of a block."""
        for command in commands:
            printed = self.type(command.line)
            assert shows(command.printed, printed), (
                f"{command.line} printed, with code {self.code}:\n{printed}"
            )

    def save(self, text: str) -> None:
        """Write a block whose first line names its file."""
        (name,) = re.findall(r"\A# (\S+)\n", text)
        path = self.project / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_every_command_of_the_tutorial_prints_what_the_page_shows(tmp_path, environment):
    project = tmp_path / "project"
    project.mkdir()
    reader = Reader(project, environment)
    blocks = blocks_of(PAGE, "console", "yaml", "yml")
    assert len(blocks) > 10

    for block in blocks:
        if block.language == "console":
            reader.follow(commands_in(block.text))
        else:
            reader.save(block.text)
    steps = yaml.safe_load(blocks[-1].text)["jobs"]["engines"]["steps"]
    reader.type(f"git clone --quiet . {tmp_path / 'checkout'}")
    fresh = Reader(tmp_path / "checkout", environment)

    for step in steps:
        if "run" in step and not step["run"].startswith("pip install"):
            printed = fresh.type(step["run"])
            assert fresh.code == 0, printed
    assert "digits/fp16@ada" in Path(environment["GITHUB_STEP_SUMMARY"]).read_text()
