"""Children of trtpipe: what they see, and that they end with whoever started them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from trtpipe.launcher.children import Program, Streams, kill, run_to_end, start
from trtpipe.launcher.environment import environment_of, installer_environment

SAYS = "import json, os, sys\ndef main():\n    print(json.dumps([sys.argv, sys.path, os.getppid()]))\n"
WAITS = "import os, time\ndef main():\n    print(os.getpid(), flush=True)\n    time.sleep(600)\n"
USERS = {
    "PATH": "/bin",
    "LD_LIBRARY_PATH": "/lib",
    "HOME": "/home/me",
    "CUDA_VISIBLE_DEVICES": "1",
    "NVIDIA_TF32_OVERRIDE": "0",
    "HF_TOKEN": "secret",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "GITHUB_TOKEN": "secret",
}


def program(folder: Path, source: str, **options) -> Program:
    (folder / "sent.py").write_text(source)
    return Program(folder, "sent", **options)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (
            "stage",
            {"PATH": "/bin", "LD_LIBRARY_PATH": "/lib", "HOME": "/home/me", "CUDA_VISIBLE_DEVICES": "1"},
        ),
        (
            "fetch",
            {name: value for name, value in USERS.items() if "GITHUB" not in name and "TF32" not in name},
        ),
        (
            "engine",
            {"PATH": "/bin", "LD_LIBRARY_PATH": "/lib", "CUDA_VISIBLE_DEVICES": "1", "LANG": "C.UTF-8"},
        ),
    ],
)
def test_each_kind_of_child_sees_its_own_variables(kind, expected):
    assert environment_of(kind, USERS) == expected


def test_a_converter_computes_alike_whatever_the_user_has_set():
    seen = environment_of("converter", {**USERS, "PYTHONHASHSEED": "7", "TF_ENABLE_ONEDNN_OPTS": "1"})

    assert (seen["PYTHONHASHSEED"], seen["TF_ENABLE_ONEDNN_OPTS"], seen["CUDA_VISIBLE_DEVICES"]) == (
        "0",
        "0",
        "-1",
    )
    assert "HOME" not in seen


def test_an_installer_sees_everything_but_what_leads_it_elsewhere(monkeypatch):
    monkeypatch.setenv("PIP_TARGET", "/elsewhere")
    monkeypatch.setenv("PIP_INDEX_URL", "https://mirror.example/simple")

    seen = installer_environment()

    assert "PIP_TARGET" not in seen
    assert seen["PIP_INDEX_URL"] == "https://mirror.example/simple"


def test_a_program_gets_its_arguments_and_not_the_working_directory(tmp_path):
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "sent.py").write_text("def main(): print('[[], [], 0]')")
    command = program(tmp_path, SAYS, options=("-s", "-B")).command([sys.executable], "request.json")

    done = run_to_end(command, environment_of("engine"), tmp_path / "here")

    arguments, path, parent = json.loads(done.stdout)
    assert arguments[1:] == ["request.json"]
    assert path[-1] == str(tmp_path)
    assert "" not in path
    assert parent == os.getpid()


@pytest.mark.skipif(sys.platform != "linux", reason="not run: a child's tie to its parent needs Linux")
def test_a_program_ends_with_the_process_that_started_it(tmp_path):
    command = program(tmp_path, WAITS).command([sys.executable])
    # The parent's id stands in the command line, so it must be made in the process that is going to die.
    code = (
        "import subprocess, sys, time; from pathlib import Path; from trtpipe.launcher.children import *\n"
        f"command = Program(Path({str(tmp_path)!r}), 'sent').command([sys.executable])\n"
        "child = start(command, {}, streams=Streams(stdout=subprocess.PIPE))\n"
        "print(child.stdout.readline().decode(), flush=True); time.sleep(600)\n"
    )
    starting = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert starting.stdout is not None
    pid = int(starting.stdout.readline())

    starting.kill()
    starting.wait()
    starting.stdout.close()

    end = time.monotonic() + 30
    while runs(pid):
        assert time.monotonic() < end, "it outlived the process that started it"
        time.sleep(0.02)
    # One whose parent is gone before it begins ends at once.
    orphan = [word if word != str(os.getpid()) else "1" for word in command]
    assert subprocess.run(orphan, env={}, check=False).returncode == 1


@pytest.mark.skipif(sys.platform != "linux", reason="not run: /proc tells which processes live, on Linux")
@pytest.mark.parametrize("own_session", [True, False])
def test_killing_a_child_with_its_own_session_ends_what_it_started(tmp_path, own_session):
    nested = (
        "import subprocess, sys, time\n"
        "other = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(9)'])\n"
        "print(other.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    streams = Streams(stdout=subprocess.PIPE)
    child = start([sys.executable, "-c", nested], {}, tmp_path, streams, own_session=own_session)
    assert child.stdout is not None
    with child.stdout:
        other = int(child.stdout.readline())

        kill(child)
        kill(child)

    assert child.returncode == -9
    end = time.monotonic() + 5
    while own_session and runs(other):
        assert time.monotonic() < end, "it outlived the session"
        time.sleep(0.02)
    assert own_session or runs(other)
    if not own_session:
        os.kill(other, 9)


def test_a_short_program_that_hangs_is_ended(tmp_path):
    with pytest.raises(subprocess.TimeoutExpired):
        run_to_end([sys.executable, "-c", "import time; time.sleep(600)"], {}, tmp_path, seconds=0.2)


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
