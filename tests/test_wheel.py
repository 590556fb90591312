"""What the wheel holds: every file of the package, and nothing beside it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def test_no_file_of_the_package_is_ignored_by_git():
    """Hatch leaves out what `.gitignore` names: a line `build/` once dropped a package of that name."""
    files = [
        path for path in (ROOT / "trtpipe").rglob("*") if path.is_file() and "__pycache__" not in path.parts
    ]
    found = subprocess.run(
        ["git", "check-ignore", "--no-index", "--stdin"],
        input="\n".join(str(path) for path in [*files, ROOT / "trtpipe/build/new.py"]),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if found.returncode == 128:
        pytest.skip("not run: this is no git checkout")

    assert found.stdout == ""


def test_the_wheel_is_the_package():
    written = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    section = re.search(r"^\[tool\.hatch\.build\.targets\.wheel\]\n(.*?)\n\[", written, re.M | re.S)

    assert section is not None
    assert section[1].strip() == 'packages = ["trtpipe"]'
