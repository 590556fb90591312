"""Killed at any write, a build leaves what the next one mends: reports that say of every cell that it is delivered.

The killed build is a process of its own, ended without a word before it moves its N-th file into place.
"""

from __future__ import annotations

import itertools
import json
import os
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from tests.foreseeing.projects_of_all_kinds import AnyProject
from tests.foreseeing.test_plan_is_what_build_does import somewhere
from trtpipe.cli.build_end import Closing
from trtpipe.cli.build_options import BuildOptions
from trtpipe.cli.build_run import plan_and_run

REPORTS = ("report.json", "report.html", "summary.md", "junit.xml")

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="not run: needs fork")


def command(**options: Any) -> str:
    """`trtpipe build`, without the proofs before it; its closing line."""
    closing = Closing(as_json=False)
    with mock.patch("trtpipe.cli.build_run._prove"):
        assert plan_and_run(BuildOptions((), (), jobs=1, **options), closing) == 0
    return closing.line()


def killed_before(number: int, **options: Any) -> bool:
    """Whether a build was killed before its N-th file came into place; else it came to its end."""
    child = os.fork()
    if not child:
        numbers, move = itertools.count(1), Path.replace

        def moved(path: Path, target: Path) -> Path:
            if next(numbers) == number:
                os._exit(9)
            return move(path, target)

        code = 1
        try:
            with mock.patch.object(Path, "replace", moved):
                command(**options)
            code = 0
        finally:  # the child must never come back into pytest
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, 9), "the build failed by itself"
    return code == 9


def assert_reported(project: AnyProject) -> None:
    """Every report is there, and says that all is delivered."""
    build = project.root / "build"
    report = json.loads((build / "report.json").read_text())
    assert report["status"] == "complete"
    assert {cell["cell"] for cell in report["cells"] if cell["engine"]} == {"p/fp32@ada", "p/fp16@ada"}
    assert "missing" not in (build / "summary.md").read_text()
    for name in (*REPORTS, *(f"p/{one}@ada/report.html" for one in ("fp32", "fp16"))):
        assert (build / name).is_file(), name
    assert not (project.root / ".trtpipe" / "reports.behind").exists()


def kill_and_mend(number: int) -> bool:
    """Kill a first build, then one by force, each before its N-th file; whether either was."""
    with somewhere() as (project, _):
        first = killed_before(number)
        command()
        assert_reported(project)
        by_force = killed_before(number, force=True)
        told = command()
        assert_reported(project)
        assert command() == "nothing to do"
        assert by_force or told == "nothing to do"
        return first or by_force


@pytest.mark.parametrize("number", [3, 40, 60])
def test_a_build_that_was_killed_is_mended_with_its_reports(number):
    assert kill_and_mend(number)


@pytest.mark.slow
def test_wherever_it_was_killed():
    assert len(list(itertools.takewhile(kill_and_mend, itertools.count(1)))) > 40
