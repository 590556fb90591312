"""`build --json` ends in one closing event, whatever ended the build."""

from __future__ import annotations

import json
import signal
import sys

import pytest

posix_only = pytest.mark.skipif(sys.platform == "win32", reason="not run: no signals to send there")


def closing(ran):
    """The closing event, after which nothing comes, and which is the only one."""
    events = ran.events
    assert [event["event"] for event in events].count("end") == 1
    assert events[-1]["event"] == "end"
    return events[-1]


def stopped(project, number, *, at):
    """A build that is sent a signal at its first event of a kind: exit code, events."""
    process = project.start("build", "--json")
    lines = []
    for line in process.stdout:
        lines.append(line)
        if at(json.loads(line)):
            process.send_signal(number)
            break
    out, err = process.communicate(timeout=60)
    return process.returncode, [json.loads(line) for line in [*lines, *out.splitlines()]], err


def test_a_build_and_one_with_nothing_to_do(copy):
    ended = closing(copy.run("build", "--json", "--force", "--only", "*/fp32@ada"))
    assert (ended["interrupted"], ended["problems"]) == (False, [])
    assert ended["built"] == ["digits/fp32@ada"]
    assert ended["closing"].startswith("built 1 engine in ")

    copy.run("build")
    ended = closing(copy.run("build", "--json"))
    assert (ended["closing"], ended["interrupted"]) == ("nothing to do", False)


@posix_only
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda one: one.name)
def test_a_signal_while_steps_run(project, number):
    started = lambda event: event["event"] == "start" and event["address"].endswith(":build_engine")  # noqa: E731

    code, events, err = stopped(project, number, at=started)

    assert code == 130
    assert [event["event"] for event in events].count("end") == 1
    ended = events[-1]
    assert (ended["event"], ended["interrupted"], ended["problems"]) == ("end", True, [])
    assert len(ended["built"]) + len(ended["not_built"]) == 4
    assert ended["closing"].startswith("interrupted, built ")
    assert err.endswith("interrupted\n  finished steps are kept; run it again to continue\n")


@posix_only
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda one: one.name)
def test_a_signal_before_anything_runs(project, number, tmp_path):
    """The hook raises the signal when the plan is about to be made."""
    project.env["PYTHONPATH"] = f"{tmp_path}:{project.environment()['PYTHONPATH']}"
    (tmp_path / "sitecustomize.py").write_text(
        "import os, sys\n"
        "class Hook:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'trtpipe.cli.build_run' and os.environ.get('NOW'):\n"
        f"            os.kill(os.getpid(), {int(number)})\n"
        "sys.meta_path.insert(0, Hook())\n"
    )
    project.env["NOW"] = "1"

    ran = project.run("build", "--json")

    assert (ran.code, ran.err) == (130, "interrupted\n")
    ended = closing(ran)
    assert (ended["interrupted"], ended["built"], ended["closing"]) == (True, [], "interrupted")


def test_a_failed_step(project):
    project.edit("pipelines/digits.yaml", "workspace: 1GiB", "memory_limit: 1MiB")

    ran = project.run("build", "--json", "--only", "*/fp32@ada")

    assert ran.code == 1
    ended = closing(ran)
    (failed,) = ended["failed"]
    assert failed["step"].endswith(":parse"), "the limit holds for whatever runs TensorRT"
    assert "memory, more than the limit of" in ended["failed"][0]["problems"][0]["fact"]
    assert (ended["problems"], ended["interrupted"]) == ([], False)
    assert ended["not_built"] == ["digits/fp32@ada"]


def test_a_wrong_spec(project):
    project.edit("pipelines/digits.yaml", "precision: fp16", "precision: fp61")

    ran = project.run("build", "--json")

    assert ran.code == 2
    ended = closing(ran)
    assert ended["closing"] == "1 error"
    (problem,) = ended["problems"]
    assert "fp61" in problem["fact"]
    assert problem["where"]["line"] == 6
    assert problem["where"]["file"].endswith("digits.yaml")


def test_a_lockfile_that_cannot_take_the_results(project):
    project.write("trtpipe.lock", "<<<<<<< HEAD\n")

    ran = project.run("build", "--json")

    assert ran.code == 2
    ended = closing(ran)
    assert "contains a merge conflict with unpaired markers" in ended["problems"][0]["fact"]
    assert ended["closing"].startswith("1 error")


def test_a_bug_shows_its_traceback_and_ends_the_stream(project, tmp_path):
    project.env["PYTHONPATH"] = f"{tmp_path}:{project.environment()['PYTHONPATH']}"
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        "class Hook:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'trtpipe.cli.build_run':\n"
        "            raise AssertionError('impossible')\n"
        "sys.meta_path.insert(0, Hook())\n"
    )

    ran = project.run("build", "--json")

    assert ran.code == 1
    assert "AssertionError: impossible" in ran.err
    assert closing(ran)["closing"] == "a bug in trtpipe: AssertionError"
