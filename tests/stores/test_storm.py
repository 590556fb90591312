"""Many processes build and collect in one store while they are killed at random: nothing is lost, damaged or stuck."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

STORM = Path(__file__).with_name("storm.py")

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="not run: needs fork")


def weathered(root: Path, *options: str) -> dict:
    found = subprocess.run(
        [sys.executable, str(STORM), str(root), *options],
        capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert found.returncode == 0, found.stderr[-3000:]
    result = json.loads(found.stdout)
    assert {name: result[name] for name in ("stuck", "wrong", "lost", "damaged", "left")} == {
        "stuck": 0, "wrong": [], "lost": [], "damaged": [], "left": [],
    }  # fmt: skip
    return result


@pytest.mark.parametrize("options", [(), ("--lock-files",)], ids=["system locks", "lock files"])
def test_a_few_processes_for_some_seconds(tmp_path, options):
    result = weathered(tmp_path / "storm", "--processes", "5", "--seconds", "4", *options)

    assert result["killed"] and result["ran"] and result["collections"]


@pytest.mark.slow
@pytest.mark.parametrize("processes", ["2", "16"])
def test_a_minute(tmp_path, processes):
    result = weathered(tmp_path / "storm", "--processes", processes, "--seconds", "60")

    assert result["killed"] > 30 and result["ran"] > 100 and result["went"] > 0
    assert result["seconds to build all again"] < 30
