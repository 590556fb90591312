"""A GPU is for one piece of work alone, on this agent and on another one of the same machine."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

import pytest

from trtpipe.agent.jobs import ASKED, RESULT, job_command
from trtpipe.agent.lanes import AgentLanes
from trtpipe.errors import Interrupted
from trtpipe.fleet.clocks import held_down
from trtpipe.json_values import Malformed
from trtpipe.launcher.children import run_to_end
from trtpipe.plan.control import Control
from trtpipe.processes.stage_runs import environment


def test_a_leased_gpu_is_waited_for_also_by_another_agent(tmp_path: Path):
    one, other = AgentLanes(4, tmp_path), AgentLanes(4, tmp_path)
    got, let_go, order = threading.Event(), threading.Event(), []

    def hold() -> None:
        with one.hold("GPU-1", Control()):
            got.set()
            let_go.wait(10)
            order.append("first")

    thread = threading.Thread(target=hold)
    thread.start()
    assert got.wait(10)
    threading.Timer(0.3, let_go.set).start()
    with other.hold("GPU-1", Control()) as waited:
        order.append("second")
    thread.join()

    assert order == ["first", "second"]
    assert waited >= 0.2


def test_another_gpu_is_free(tmp_path: Path):
    lanes = AgentLanes(1, tmp_path)

    with lanes.hold("GPU-1", Control()), lanes.hold("GPU-2", Control()) as waited, lanes.hold("", Control()):
        assert waited < 5


def test_waiting_for_a_gpu_can_be_stopped(tmp_path: Path):
    lanes, control = AgentLanes(1, tmp_path), Control()
    threading.Timer(0.2, control.cancelled.set).start()

    with (
        lanes.hold("GPU-1", Control()),
        pytest.raises(Interrupted),
        AgentLanes(1, tmp_path).hold("GPU-1", control),
    ):
        pass


@pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="children end with their parent on Linux only"
)
def test_a_job_is_not_begun_when_its_agent_has_died_meanwhile(tmp_path: Path):
    """The lease ended with the agent: what its job's process did now would run beside somebody else's work."""
    (tmp_path / ASKED).write_text('{"name": "run", "options": {}}')
    somebody_else = {**environment(), "TRTPIPE_PARENT": str(os.getppid())}

    done = run_to_end([*job_command(), str(tmp_path)], somebody_else, seconds=60)

    assert done.returncode == 1 and not done.stderr
    assert not (tmp_path / RESULT).exists()


def test_clocks_that_were_held_down_are_told():
    free = {"sm_mhz": 1980, "sm_max_mhz": 1980, "limited_by": []}
    hot = {"sm_mhz": 1410, "sm_max_mhz": 1980, "limited_by": ["sw thermal slowdown"]}

    assert held_down({}) == ""
    assert held_down({"clocks": {"why_not": "no NVML"}}) == ""
    assert held_down({"clocks": {"before": free, "after": {**free, "limited_by": None}}}) == ""
    assert held_down({"clocks": {"before": free, "after": hot}}) == (
        "the clocks of its GPU were held down when it ended by sw thermal slowdown (SM 1410 of 1980 MHz)"
    )
    with pytest.raises(Malformed):
        held_down({"clocks": {"after": {"limited_by": [1]}}})
