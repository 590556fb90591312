"""Where stages run: forks of one server, which ends with the process that asked; an interpreter where there is none."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from trtpipe.errors import StepFailed
from trtpipe.plan.control import Control
from trtpipe.plan.task import Task
from trtpipe.processes import stage_processes
from trtpipe.processes.stage_processes import start_stage
from trtpipe.processes.stage_runs import environment, run_in_child

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="not run: forking stages needs Linux")


def wait(process, seconds: float = 60) -> int:
    end = time.monotonic() + seconds
    while (code := process.poll()) is None:
        assert time.monotonic() < end, "it still runs"
        time.sleep(0.01)
    return code


def task_in(folder: Path, stage: str = "import", **options) -> Path:
    """A task that fails in a sentence: its source is not there."""
    folder.mkdir()
    (folder / "out").mkdir()
    task = {"stage": stage, "options": {"parser": "onnx", **options}, "inputs": {}, "out": "out", "local": {}}
    (folder / "task.json").write_text(json.dumps(task))
    return folder


@pytest.fixture(autouse=True)
def servers(monkeypatch):
    """A server of the test's own."""
    made = stage_processes._Servers()
    monkeypatch.setattr(stage_processes, "_SERVERS", made)
    yield made
    if made._server is not None:
        made._server.close()


def test_stages_of_one_environment_are_forks_of_one_server(tmp_path, servers):
    first, second = (start_stage("import", task_in(tmp_path / name), environment()) for name in "ab")

    wait(first)
    wait(second)

    assert isinstance(first, stage_processes._Fork)
    assert first.server is second.server is servers._server
    assert (
        "Traceback" in (tmp_path / "a" / "child.log").read_text()
    )  # a task without a source is a bug of ours


def test_a_stage_that_can_open_no_log_fails_in_a_sentence(tmp_path):
    """As on a full disk."""
    folder = task_in(tmp_path / "a")
    (folder / "child.log").mkdir()
    task = Task.from_json(json.loads((folder / "task.json").read_text()))

    with pytest.raises(StepFailed, match="its result could not be written"):
        run_in_child(task, folder, Control())


def test_another_environment_gets_another_server(tmp_path, servers):
    first = start_stage("import", task_in(tmp_path / "a"), environment())
    wait(first)

    second = start_stage("import", task_in(tmp_path / "b"), {**environment(), "OTHER": "1"})
    wait(second)

    assert first.server is not second.server
    assert "OTHER" in servers._server.environment


def test_a_stage_gets_an_interpreter_when_the_server_is_gone(tmp_path, servers, monkeypatch):
    def refused(_):
        raise OSError("no more processes")

    monkeypatch.setattr(stage_processes, "_Server", refused)
    process = start_stage("import", task_in(tmp_path / "a"), environment())

    assert isinstance(process, stage_processes._Interpreter)
    assert wait(process) == 1


def test_a_killed_server_takes_its_stages_along_and_the_next_stage_gets_a_new_one(tmp_path, servers):
    fork = start_stage("import", _hanging(tmp_path / "a"), environment())
    assert isinstance(fork, stage_processes._Fork)

    servers._server._process.kill()

    assert wait(fork) == -9
    assert wait(start_stage("import", task_in(tmp_path / "b"), environment())) == 1


def test_ending_a_stage_ends_what_it_started(tmp_path):
    fork = start_stage("import", _hanging(tmp_path / "a"), environment())
    while not (tmp_path / "a" / "child.log").exists():
        time.sleep(0.01)

    fork.end()

    assert fork.poll() == -9


def test_nothing_is_left_when_the_process_that_asked_is_killed(tmp_path):
    folder = _hanging(tmp_path / "a")
    code = (
        "import sys, time; from pathlib import Path; from trtpipe.processes.stage_runs import environment\n"
        "from trtpipe.processes.stage_processes import start_stage\n"
        f"fork = start_stage('import', Path({str(folder)!r}), environment())\n"
        "print(fork.server._process.pid, flush=True); time.sleep(600)\n"
    )
    asking = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=environment())
    server = int(asking.stdout.readline())

    asking.kill()
    asking.wait()
    asking.stdout.close()

    end = time.monotonic() + 30
    while _alive(server) or any(_inside(folder)):
        assert time.monotonic() < end, "something is left"
        time.sleep(0.02)


def _hanging(folder: Path) -> Path:
    """A task whose file never ends: a pipe that nobody writes."""
    folder.mkdir()
    os.mkfifo(folder / "task.json")
    return folder


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def _inside(folder: Path):
    return (entry for entry in Path("/proc").glob("[0-9]*") if _place(entry) == folder)


def _place(entry: Path) -> Path | None:
    try:
        return (entry / "cwd").readlink()
    except OSError:
        return None
