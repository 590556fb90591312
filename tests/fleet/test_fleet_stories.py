"""Builds on a fleet, with a real scheduler and real agents: what comes out, and what happens when machines fail."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.fleet.fleets import ROOT, TestFleet, digits_project, stand_in_project, trtpipe, wait_until

pytest.importorskip("distributed", reason="needs the extra dask")

from trtpipe.fleet.keygen import keygen

DASK = ("--executor", "dask")
FP32 = ("pipelines/digits.yaml", "--only", "digits/fp32@*")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return stand_in_project(tmp_path / "project")


def engines(project: Path) -> dict[str, bytes]:
    return {
        str(one.relative_to(project)): one.read_bytes() for one in sorted(project.glob("build/**/*.engine"))
    }


@pytest.mark.engine
def test_a_build_on_two_agents_is_what_a_local_build_is(fleet: TestFleet, tmp_path: Path):
    project = digits_project(tmp_path / "project")
    fleet.agent("one", "--lanes", "1")
    fleet.agent("two", "--lanes", "1")
    local = digits_project(tmp_path / "local")

    done = trtpipe(project, "build", *FP32, *DASK, home=tmp_path / "client", scheduler=fleet.address)

    assert done.returncode == 0, done.stderr
    assert " to one" in done.stderr and " to two" in done.stderr
    assert trtpipe(local, "build", *FP32, home=tmp_path / "other").returncode == 0
    assert (project / "trtpipe.lock").read_bytes() == (local / "trtpipe.lock").read_bytes()
    assert len(engines(project)) == 4 and engines(project) == engines(local)
    again = trtpipe(project, "build", *FP32, *DASK, home=tmp_path / "client", scheduler="tcp://127.0.0.1:1")
    assert (again.returncode, again.stdout) == (0, "nothing to do\n")  # it does not even connect


@pytest.mark.parametrize("scheme", ["tls", "tcp"])
def test_an_agent_at_a_scheduler_of_the_other_scheme_ends_in_one_sentence(
    tmp_path: Path, certificates: Path, scheme: str
):
    options = ("--certificates", str(certificates))
    fleet = TestFleet(tmp_path / "fleet", options if scheme == "tls" else (), scheme).start()
    wrong = "tcp" if scheme == "tls" else "tls"
    command = [sys.executable, "-m", "trtpipe", "agent", f"{wrong}://127.0.0.1:{fleet.port}", *options]
    try:
        agent = fleet.process("agent", command)

        assert agent.child.wait(60) == 2
        what = "takes encrypted connections only" if scheme == "tls" else "does not encrypt its connections"
        assert agent.said().splitlines()[-2:] == [
            f"the scheduler at {wrong}://127.0.0.1:{fleet.port} {what}",
            f"  write {fleet.address} for this one",
        ]
    finally:
        fleet.close()


def test_an_agent_that_dies_is_replaced_by_another(fleet: TestFleet, project: Path, tmp_path: Path):
    fleet.agent("dying", stand_ins=True, dies_in="quantize")
    building = start(project, tmp_path, fleet, "--wait-for-agents", "60")
    assert fleet.agents["dying"].child.wait(60) == -signal.SIGKILL
    fleet.agent("living", stand_ins=True)

    assert building.wait(120) == 0, said(tmp_path)
    assert "dying vanished; it is tried again" in said(tmp_path)


def test_an_action_that_crashes_everywhere_is_given_up(fleet: TestFleet, project: Path, tmp_path: Path):
    for name in ("a", "b", "c", "d"):
        fleet.agent(name, waits=False, stand_ins=True, crashes_in="build_engine")
    fleet.agent("e", stand_ins=True, crashes_in="build_engine")
    only = ("pipelines/digits.yaml", "--only", "digits/fp32@ada")

    done = trtpipe(
        project,
        "build",
        *only,
        *DASK,
        "--wait-for-agents",
        "20",
        home=tmp_path / "client",
        scheduler=fleet.address,
    )

    assert done.returncode == 1
    assert "tried 3 times" in done.stderr and done.stderr.count("died of SIGSEGV") >= 3
    assert "Traceback" not in done.stderr


def test_what_nobody_serves_is_said_before_anything_starts(fleet: TestFleet, project: Path, tmp_path: Path):
    fleet.agent("old", packages={"onnx": "1.0.0"})

    done = trtpipe(project, "build", *FP32, *DASK, home=tmp_path / "client", scheduler=fleet.address)

    assert done.returncode == 2
    assert "start " not in done.stderr
    assert "no agent of the fleet serves digits/fp32@" in done.stderr
    assert "old has onnx 1.0.0, this machine has" in done.stderr


@pytest.mark.slow
def test_an_agent_of_another_version_is_named(fleet: TestFleet, project: Path, tmp_path: Path):
    fleet.agent("old", trtpipe="0.0.1")

    done = trtpipe(project, "build", *FP32, *DASK, home=tmp_path / "client", scheduler=fleet.address)

    assert done.returncode == 2
    assert "old has trtpipe 0.0.1, this machine " in done.stderr


@pytest.mark.slow
def test_without_agents_it_says_how_to_start_one(fleet: TestFleet, project: Path, tmp_path: Path):
    done = trtpipe(project, "build", *FP32, *DASK, home=tmp_path / "client", scheduler=fleet.address)

    assert done.returncode == 2
    assert "no agent is connected: start one with `trtpipe agent ADDRESS`" in done.stderr


@pytest.mark.slow
def test_it_waits_for_agents(fleet: TestFleet, project: Path, tmp_path: Path):
    building = start(project, tmp_path, fleet, "--wait-for-agents", "60")
    time.sleep(2)
    fleet.agent("late", stand_ins=True)

    assert building.wait(120) == 0


@pytest.mark.slow
def test_no_scheduler_is_one_error(project: Path, tmp_path: Path):
    done = trtpipe(project, "build", *FP32, *DASK, home=tmp_path / "client", scheduler="tcp://127.0.0.1:9")

    assert done.returncode == 2
    assert "no scheduler answers at tcp://127.0.0.1:9" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_lying_agent_is_refused_and_named(fleet: TestFleet, project: Path, tmp_path: Path):
    fleet.agent("liar", stand_ins=True, lies=True)

    done = trtpipe(project, "build", *FP32, *DASK, home=tmp_path / "client", scheduler=fleet.address)

    assert done.returncode == 1, done.stderr
    assert "sent other bytes than those of artifact" in done.stderr
    kept = list((tmp_path / "client").glob("cache/trtpipe/store/objects/*/*"))
    assert not any(b"???" in one.read_bytes() for one in kept)


def test_the_scheduler_dies_and_the_next_build_goes_on(fleet: TestFleet, project: Path, tmp_path: Path):
    agent = fleet.agent("a", stand_ins=True, slow=1.0)
    building = start(project, tmp_path, fleet)
    wait_until(lambda: "done" in said(tmp_path), "a step is done")
    assert fleet.scheduler is not None
    fleet.scheduler.kill()

    assert building.wait(90) != 0
    assert said(tmp_path).count("the connection to the scheduler") >= 1, said(tmp_path)
    assert "Traceback" not in said(tmp_path)
    fleet.start()
    wait_until(lambda: agent.said().count("serves") > 1, "the agent comes back")
    done = trtpipe(project, "build", *FP32, *DASK, home=tmp_path / "client", scheduler=fleet.address)
    assert done.returncode == 0, done.stderr
    assert "start    digits:import" not in done.stderr


@pytest.mark.slow
def test_ctrl_c_stops_the_agents_work(fleet: TestFleet, project: Path, tmp_path: Path):
    fleet.agent("a", stand_ins=True, slow=30.0)
    building = start(project, tmp_path, fleet)
    wait_until(lambda: "send " in said(tmp_path), "a step is sent")
    wait_until(lambda: running(fleet, tmp_path) != [], "the agent works")
    building.send_signal(signal.SIGINT)

    assert building.wait(30) == 130
    wait_until(lambda: running(fleet, tmp_path) == [], "the agent has stopped")


def test_a_client_that_is_killed_leaves_no_work(fleet: TestFleet, project: Path, tmp_path: Path):
    fleet.agent("a", stand_ins=True, slow=60.0)
    building = start(project, tmp_path, fleet)
    wait_until(lambda: running(fleet, tmp_path) != [], "the agent works")
    os.killpg(building.pid, signal.SIGKILL)
    building.wait()

    wait_until(lambda: running(fleet, tmp_path) == [], "the agent has stopped")


@pytest.mark.slow
def test_an_agent_for_one_piece_of_work_ends(fleet: TestFleet, project: Path, tmp_path: Path):
    one = fleet.agent("one", "--one", stand_ins=True)
    fleet.agent("other", stand_ins=True)

    done = trtpipe(project, "build", *FP32, *DASK, home=tmp_path / "client", scheduler=fleet.address)

    assert done.returncode == 0, done.stderr
    assert done.stderr.count(" to one") <= 1
    if " to one" in done.stderr:
        assert one.child.wait(30) == 0


def running(fleet: TestFleet, folder: Path) -> list[object]:
    done = trtpipe(folder, "fleet", "status", "--json", home=folder / "client", scheduler=fleet.address)
    return [row for agent in json.loads(done.stdout)["agents"] for row in agent["running"]]


def start(project: Path, folder: Path, fleet: TestFleet, *more: str) -> subprocess.Popen[bytes]:
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "XDG_CACHE_HOME": str(folder / "client" / "cache"),
        "XDG_CONFIG_HOME": str(folder / "client" / "config"),
        "TRTPIPE_SCHEDULER": fleet.address,
    }
    with (folder / "said").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "trtpipe", "build", *FP32, *DASK, *more],
            cwd=project, env=environment, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip


def said(folder: Path) -> str:
    return (folder / "said").read_text(errors="replace")


@pytest.mark.slow
def test_an_agent_that_cannot_be_dialled_is_an_error_that_names_a_remote(
    fleet: TestFleet, project: Path, tmp_path: Path
):
    fleet.agent("hidden", "--host", "127.0.0.2", stand_ins=True)  # where nothing listens

    done = trtpipe(project, "build", *FP32, *DASK, home=tmp_path / "client", scheduler=fleet.address)

    assert done.returncode == 2, done.stderr
    assert "hidden cannot be sent artifacts" in done.stderr and "TRTPIPE_REMOTE=s3://" in done.stderr


def test_over_tls_agents_log_nothing_unusual_and_another_fleets_client_is_told_so(
    project: Path, tmp_path: Path
):
    for name in ("own", "other"):
        keygen(tmp_path / name)
    certificates = {name: ("--certificates", str(tmp_path / name)) for name in ("own", "other")}
    fleet = TestFleet(tmp_path / "fleet", certificates["own"], "tls").start()
    try:
        agent = fleet.agent("a", stand_ins=True)
        asked = ("build", *FP32, *DASK)

        done = trtpipe(
            project, *asked, *certificates["own"], home=tmp_path / "client", scheduler=fleet.address
        )
        refused = trtpipe(
            project,
            *asked,
            "--force",
            *certificates["other"],
            home=tmp_path / "client",
            scheduler=fleet.address,
        )

        assert done.returncode == 0, done.stderr
        assert refused.returncode == 2
        assert refused.stderr.strip() == (
            f"this machine's certificates and those of the scheduler at {fleet.address} are not of the same fleet"
        )
        assert "Traceback" not in agent.said(), agent.said()
    finally:
        fleet.close()
