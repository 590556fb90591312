"""The fleet that a command starts on this machine for itself."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("distributed", reason="needs the extra dask")

from tests.fleet.fleets import wait_until
from trtpipe.agent import local_fleet
from trtpipe.errors import FleetError
from trtpipe.fleet.certificates import dask_security
from trtpipe.fleet.connection import open_fleet


def test_an_agent_that_cannot_start_stops_the_command_at_once_with_its_own_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    fails = [sys.executable, "-c", "import sys; sys.exit('error: the store is upside down')"]
    monkeypatch.setattr(local_fleet, "interpreter_command", lambda *words: fails)
    began = time.monotonic()

    with pytest.raises(FleetError) as error, local_fleet.local_fleet(tmp_path / "store", 1):
        pytest.fail("there is no agent")

    assert "the agent of this machine did not start" in str(error.value)
    assert "error: the store is upside down" in str(error.value)
    assert time.monotonic() - began < 20


def test_it_ends_with_the_command_and_leaves_no_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    started = noted_children(monkeypatch)

    with local_fleet.local_fleet(tmp_path / "store", 3) as (address, files):
        with open_fleet(address, dask_security(files)) as fleet:
            (agent,) = fleet.agents()
            assert (agent.name, agent.labels.lanes) == ("here", 3)
        (child,) = started

    assert child.poll() == 0


def test_an_agent_that_dies_is_named_when_nobody_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    started = noted_children(monkeypatch)

    with (
        pytest.raises(FleetError, match="the agent of this machine ended"),
        local_fleet.local_fleet(tmp_path, 1),
    ):
        os.kill(started[0].pid, signal.SIGKILL)
        wait_until(lambda: started[0].poll() is not None, "it is dead")
        raise FleetError("TP841", "no agent is left")  # type: ignore[arg-type]


def noted_children(monkeypatch: pytest.MonkeyPatch) -> list:
    started, start = [], local_fleet.start

    def noted(*arguments, **more):
        started.append(start(*arguments, **more))
        return started[-1]

    monkeypatch.setattr(local_fleet, "start", noted)
    return started
