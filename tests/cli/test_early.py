"""What is started before a plan is made: for a first build, and for a plan that runs something."""

from __future__ import annotations

import pytest

from trtpipe.cli import early
from trtpipe.stores.state import STATE_FILE


@pytest.fixture
def started(monkeypatch, tmp_path):
    """How often the processes of stages were prepared, in a project of its own."""
    monkeypatch.chdir(tmp_path)
    calls: list[str] = []
    monkeypatch.setattr(early, "expect_stages", lambda: calls.append("stages"))
    return calls


def test_a_first_build_prepares_for_stages(started):
    early.expect_first_build()

    assert started == ["stages"]


def test_a_project_that_was_built_before_waits_for_its_plan(started, tmp_path):
    state = tmp_path / STATE_FILE
    state.parent.mkdir(parents=True)
    state.write_text("{}")

    early.expect_first_build()

    assert started == []


def test_a_plan_that_runs_nothing_prepares_for_nothing(started, monkeypatch):
    monkeypatch.setattr("trtpipe.building.planned.runs", lambda planned: [])

    early.expect_runs(None)

    assert started == []
