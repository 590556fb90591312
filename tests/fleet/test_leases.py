"""A GPU is for one piece of work alone, on this agent and on another one of the same machine."""

from __future__ import annotations

import os
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from trtpipe.agent.jobs import ASKED, RESULT, job_command
from trtpipe.agent.lanes import AgentLanes
from trtpipe.agent.leases import lease_folder
from trtpipe.errors import Interrupted, ToolchainError
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


def test_a_gpu_is_waited_for_whoever_made_the_file_that_it_is_leased_by(tmp_path: Path):
    with AgentLanes(1, tmp_path).hold("GPU-1", Control()):
        pass
    (made,) = tmp_path.iterdir()
    assert made.stat().st_mode & 0o777 == 0o644
    made.chmod(0o444)  # as if it were another user's

    with AgentLanes(1, tmp_path).hold("GPU-1", Control()):
        busy = Control()
        threading.Timer(0.2, busy.cancelled.set).start()
        with pytest.raises(Interrupted), AgentLanes(1, tmp_path).hold("GPU-1", busy):
            pass


@pytest.mark.skipif(sys.platform == "win32", reason="locks of Windows cannot be removed while they are held")
def test_a_lease_whose_file_was_removed_meanwhile_is_taken_again(tmp_path: Path):
    lanes, control = AgentLanes(1, tmp_path), Control()
    with ExitStack() as first:
        first.enter_context(lanes.hold("GPU-1", control))
        (made,) = tmp_path.iterdir()
        waiting = threading.Event()
        order: list[str] = []

        def wait() -> None:
            waiting.set()
            with lanes.hold("GPU-1", control):
                order.append("second")
                with pytest.raises(Interrupted), AgentLanes(1, tmp_path).hold("GPU-1", stopped_soon()):
                    order.append("third beside it")

        thread = threading.Thread(target=wait)
        thread.start()
        assert waiting.wait(10)
        time.sleep(0.2)
        made.unlink()
    thread.join(20)

    assert order == ["second"]


def stopped_soon() -> Control:
    control = Control()
    threading.Timer(0.2, control.cancelled.set).start()
    return control


@pytest.mark.skipif(sys.platform == "win32", reason="links there need rights")
@pytest.mark.parametrize("what", ["link", "directory", "pipe"])
def test_what_is_no_file_of_a_lease_is_not_followed(tmp_path: Path, what: str):
    folder, target = tmp_path / "leases", tmp_path / "target"
    folder.mkdir()
    target.write_text("mine")
    with AgentLanes(1, folder).hold("GPU-1", Control()):
        (made,) = folder.iterdir()
    made.unlink()
    {"link": lambda: made.symlink_to(target), "directory": made.mkdir, "pipe": lambda: os.mkfifo(made)}[
        what
    ]()

    with (
        pytest.raises(ToolchainError, match="a GPU cannot be leased by"),
        AgentLanes(1, folder).hold("GPU-1", Control()),
    ):
        pass
    assert target.read_text() == "mine"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems have one /tmp for all users")
def test_the_place_of_leases_is_one_for_all_users():
    folder = lease_folder()

    assert folder in (Path("/run/lock"), Path("/tmp"))
    assert folder.stat().st_mode & 0o1002 == 0o1002


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs root, to become another user"
)
def test_another_user_waits_for_the_same_gpu():
    program = (
        "import fcntl, os, sys, threading\n"
        "from trtpipe.agent.lanes import AgentLanes\n"
        "from trtpipe.agent.leases import lease_folder\n"
        "from trtpipe.plan.control import Control\n"
        "os.setuid(65534)\n"
        "control = Control()\n"
        "threading.Timer(0.5, control.cancelled.set).start()\n"
        "with AgentLanes(1, lease_folder()).hold(sys.argv[1], control): print('has it')\n"
    )
    gpu = f"GPU-of-a-test-{os.getpid()}"
    command = [sys.executable, "-c", program, gpu]

    with AgentLanes(1, lease_folder()).hold(gpu, Control()):
        (made,) = [
            path for path in lease_folder().glob("trtpipe-gpu-*") if path.stat().st_uid == 0 and held(path)
        ]
        busy = run_to_end(command, dict(os.environ), seconds=60)
    free = run_to_end(command, dict(os.environ), seconds=60)
    made.unlink()

    assert busy.stdout == b"" and b"Interrupted" in busy.stderr, busy.stderr
    assert free.stdout == b"has it\n", free.stderr


def held(path: Path) -> bool:
    import fcntl

    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


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
