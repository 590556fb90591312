"""A TensorRT that dies while its network is looked at would still build: the network counts as not proved, once."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from trtpipe.building.planned import make_plan
from trtpipe.building.silent import Unheard
from trtpipe.delivery.proofs import prove_cell
from trtpipe.errors import StepFailed
from trtpipe.plan.worker_messages import WorkerPhase
from trtpipe.problem_codes import Code
from trtpipe.toolchains.engine_worker import parser_runs
from trtpipe.workspace.workspace import open_workspace

ROOT = Path(__file__).resolve().parents[2]
CELL = "digits/fp32@ada"

pytestmark = pytest.mark.engine


@pytest.fixture
def planned(tmp_path, monkeypatch):
    """The plan of one cell of the demo, whose steps nobody has run."""
    pytest.importorskip("tensorrt_rtx", reason="not run: needs a tensorrt_rtx wheel")
    for name in ("pipelines", "calibration"):
        shutil.copytree(ROOT / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    return make_plan(open_workspace(["pipelines/digits.yaml"], (CELL,)))


def dying(phase, signal):
    """A parser that dies of a signal in a phase."""

    def parse_network(*_, supervision, **__):
        on_event = supervision.on_event
        on_event(WorkerPhase("parse", None, 0, 0, "start"))
        on_event(WorkerPhase(phase, None, 0, 0, "start"))
        raise StepFailed(Code.WORKER_DIED, f"TensorRT died of {signal} while {phase}")

    return parse_network


def test_a_network_that_cannot_be_looked_at_is_not_proved_and_the_cell_is_built(planned, monkeypatch):
    monkeypatch.setattr(parser_runs, "parse_network", dying("read", "SIGSEGV"))
    (cell,) = planned.plan.cells

    with planned.steps(Unheard()) as steps:
        steps.bring(cell.steps.values())
        traces = {stage: steps.trace(address) for stage, address in cell.steps.items()}
        parsed = steps.store.path(traces["parse"].outputs["parsed.json"]).read_bytes()
        proof = prove_cell(cell, planned.specs["digits"], traces, steps.store, lambda cell: "")

    why = "its network cannot be read: TensorRT died of SIGSEGV while read"
    assert json.loads(parsed) == {"unreadable": why}
    assert (proof.network["outcome"], proof.network["why"]) == ("not proved", why)
    assert [(link.part, link.outcome) for link in proof.reach][1:3] == [
        ("typed", "proved"),
        ("network", "not proved"),
    ]


@pytest.mark.parametrize(
    ("phase", "signal"), [("parse", "SIGSEGV"), ("read", "SIGKILL")], ids=["a crash of the parser", "a kill"]
)
def test_another_death_fails_the_step_and_leaves_no_trace(planned, monkeypatch, phase, signal):
    monkeypatch.setattr(parser_runs, "parse_network", dying(phase, signal))
    (cell,) = planned.plan.cells

    with planned.steps(Unheard()) as steps:
        with pytest.raises(StepFailed, match=f"died of {signal}"):
            steps.bring([cell.steps["readback"]])
        action = steps.action(cell.steps["parse"])
        assert steps.store.trace(action.key) is None
