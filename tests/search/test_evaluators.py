"""Processes that wait for another evaluation: which one is found, and when it is ended."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from trtpipe.building.searches.evaluators import EvaluatorProcess, Evaluators
from trtpipe.errors import Interrupted, StepFailed
from trtpipe.plan.control import Control
from trtpipe.plan.task import Task

STANDS_IN = """\
import json, sys, time
for line in sys.stdin:
    asked = json.loads(line)
    if asked == {"die": True}:
        sys.exit(3)
    if asked == {"hang": True}:
        time.sleep(600)
    print(json.dumps({"answer": asked}), flush=True)
"""


@dataclass
class Maker:
    """Makes processes that answer with what they are asked."""

    folder: Path
    made: list[EvaluatorProcess] = field(default_factory=list)

    def __call__(self) -> EvaluatorProcess:
        folder = self.folder / str(len(self.made))
        folder.mkdir()
        self.made.append(EvaluatorProcess(Task("evaluate", {}, {}, folder), folder))
        return self.made[-1]

    def living(self) -> list[int]:
        return [number for number, one in enumerate(self.made) if one.process.poll() is None]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Maker]:
    command = [sys.executable, "-c", STANDS_IN]
    monkeypatch.setattr("trtpipe.building.searches.evaluators.interpreter_command", lambda *_: command)
    maker = Maker(tmp_path)
    yield maker
    for one in maker.made:
        one.close()


def asked(evaluators: Evaluators, subject: str, make: Maker, request: dict[str, object]) -> object:
    with evaluators.lent(subject, make) as process:
        return process.ask(request, Control())


def test_the_next_evaluation_of_a_subject_finds_the_process(make: Maker):
    evaluators = Evaluators(2)

    assert [asked(evaluators, "a", make, {"n": n}) for n in range(3)] == [{"n": 0}, {"n": 1}, {"n": 2}]
    asked(evaluators, "b", make, {})

    assert len(make.made) == 2 and make.living() == [0, 1]


def test_one_is_lent_to_one_at_a_time(make: Maker):
    evaluators = Evaluators(2)

    with evaluators.lent("a", make) as first, evaluators.lent("a", make) as second:
        assert first is not second

    with evaluators.lent("a", make):
        assert len(make.made) == 2


def test_no_more_wait_than_there_are_lanes(make: Maker):
    evaluators = Evaluators(1)

    for subject in "abc":
        asked(evaluators, subject, make, {})

    assert make.living() == [2]


def test_none_waits_where_none_is_to(make: Maker):
    asked(Evaluators(), "a", make, {})

    assert make.living() == []


def test_one_that_died_or_was_interrupted_is_not_found(make: Maker):
    evaluators = Evaluators(2)
    with pytest.raises(StepFailed):
        asked(evaluators, "a", make, {"die": True})
    control = Control()
    control.cancelled.set()
    with pytest.raises(Interrupted), evaluators.lent("a", make) as process:
        process.ask({"hang": True}, control)
    asked(evaluators, "a", make, {})
    make.made[2].process.kill()
    make.made[2].process.wait()

    assert asked(evaluators, "a", make, {"n": 1}) == {"n": 1}
    assert make.living() == [3]


def test_those_that_waited_for_long_are_ended(make: Maker):
    evaluators = Evaluators(2)
    asked(evaluators, "a", make, {})

    evaluators.dismiss(idle=60)
    assert make.living() == [0]
    evaluators.dismiss()
    assert make.living() == []
