"""What a build shows while it runs: the same events as plain lines, as JSON, and in a view that is redrawn."""

from __future__ import annotations

import json
import time
from types import SimpleNamespace

import pytest
from rich.console import Console

from trtpipe.cli import progress
from trtpipe.cli.progress import JsonProgress, LazyProgress, LiveProgress, PlainProgress
from trtpipe.errors import Problem
from trtpipe.plan.child_reports import Download, SampleCount
from trtpipe.plan.decisions import Run
from trtpipe.plan.events import (
    CalibrationProgress,
    FetchProgress,
    SearchProgress,
    StepBlocked,
    StepFailure,
    StepFinished,
    StepStarted,
    StepWaiting,
    Warned,
    WorkerProgress,
)
from trtpipe.plan.reasons import First
from trtpipe.plan.worker_messages import WorkerMemory, WorkerPhase
from trtpipe.problem_codes import Code

ENGINE = "p/a@x:build_engine"
BUILD = WorkerProgress(ENGINE, WorkerPhase("build", None, 0, 0, "start"))


def started(address):
    return StepStarted(address, Run("k", First()))


def shown(live):
    """The rows of the view, without what spins."""
    console = Console(width=120, no_color=True)
    with console.capture() as captured:
        console.print(live._draw())
    return [line[1:].split() for line in captured.get().splitlines()]


@pytest.fixture
def live(monkeypatch):
    monkeypatch.setattr(
        progress, "time", SimpleNamespace(monotonic=lambda: 100.0)
    )  # a slow machine takes no time
    return LiveProgress(3)  # not entered: nothing is drawn by itself


def test_a_step_is_shown_while_it_runs_with_the_phase_it_is_in(live):
    live.emit(started(ENGINE))
    live.emit(BUILD)
    live.emit(WorkerProgress(ENGINE, WorkerMemory(1, 2)))  # says nothing of the phase
    live.emit(StepWaiting(ENGINE))

    assert shown(live) == [[ENGINE, "0.0", "s", "build"], ["0", "of", "3", "steps"]]

    live.emit(StepFinished(ENGINE, "k", True, 1.0, {}))
    live.emit(StepFailure("p/b@x:build_engine", (Problem(Code.STEP_CRASHED, "no"),)))
    live.emit(StepBlocked("p/c@x:build_engine", None))

    assert shown(live) == [["3", "of", "3", "steps"]]


def test_a_phase_of_what_does_not_run_is_not_shown(live):
    live.emit(BUILD)
    live.emit(CalibrationProgress("p/a:calibrate", SampleCount(1, 8, 0)))

    assert shown(live) == [["0", "of", "3", "steps"]]


def test_what_is_no_step_is_shown_from_its_first_event_on(live):
    live.emit(SearchProgress("p/a@x", "ranking", 2, 1, False))
    live.emit(FetchProgress("p:fetch", Download("progress", "https://a.b/net.onnx", 1 << 20, 4 << 20)))

    assert [row[0] for row in shown(live)] == ["p/a@x", "p:fetch", "0"]

    live.emit(FetchProgress("p:fetch", Download("end", "https://a.b/net.onnx", 4 << 20, 4 << 20)))

    assert [row[0] for row in shown(live)] == ["p/a@x", "0"]


def test_plain_lines_go_to_stderr(capsys):
    with PlainProgress() as progress:
        progress.emit(started("p:import"))
        progress.emit(Warned("mind it"))

    assert capsys.readouterr() == ("", "start    p:import\nwarning: mind it\n")


def test_json_lines_go_to_stdout_with_the_seconds_since_the_start(capsys):
    with JsonProgress(time.monotonic()) as progress:
        progress.emit(Warned("mind it"))

    out, err = capsys.readouterr()
    record = json.loads(out)
    assert list(record) == ["event", "text", "at"] and not err


def test_before_the_first_event_nothing_is_opened(capsys):
    with LazyProgress(as_json=True):
        pass
    assert capsys.readouterr() == ("", "")

    with LazyProgress(as_json=True) as progress:
        progress.emit(Warned("mind it"))
    assert json.loads(capsys.readouterr().out)["text"] == "mind it"
