"""Somebody who does what a page says: types its commands into a shell, and writes the files that it shows."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.markdown_pages import ROOT, Block, commands_in, shows


class PageReader:
    """Works in `project`; below `place` are a home with a clone at ~/trtpipe, and a directory with the command."""

    def __init__(self, project: Path, place: Path, python_path: Sequence[Path]) -> None:
        self.project, self.code = project, 0
        home, programs = place / "home", place / "bin"
        for folder in (project, home, programs):
            folder.mkdir(parents=True, exist_ok=True)
        if not (home / "trtpipe").exists():
            (home / "trtpipe").symlink_to(ROOT)
        command = programs / "trtpipe"
        command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m trtpipe "$@"\n')
        command.chmod(0o755)
        roles = [f"GIT_{role}_{what}" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")]
        self.environment = {
            **os.environ,
            **dict.fromkeys(roles, "you@example.org"),
            "HOME": str(home),
            "PATH": os.pathsep.join([str(programs), os.environ["PATH"]]),
            "PYTHONPATH": os.pathsep.join(map(str, [ROOT, *python_path])),
            "GITHUB_STEP_SUMMARY": str(place / "summary.md"),
        }

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

    def follow(self, block: Block) -> None:
        """Run the commands of a block; each prints what the page shows."""
        for command in commands_in(block.text):
            printed = self.type(command.line)
            assert shows(command.printed, printed), (
                f"{command.line} printed, with code {self.code}:\n{printed}"
            )

    def save(self, text: str, name: str = "") -> None:
        """Write a block to a file; its first line names it unless `name` does."""
        path = self.project / (name or re.findall(r"\A# (\S+)\n", text)[0])
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
