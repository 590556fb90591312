"""A process that `fleet start` started ends with its starter, however that goes."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from tests.fleet.fleets import ROOT
from trtpipe.fleet.starter import BEAT, opening

PROGRAM = """
import signal, sys
from trtpipe.fleet import starter
starter._GRACE_SECONDS = 0.5
starter.follow_starter()
import os
print(os.environ.get("PASSED"), flush=True)
if "stubborn" in sys.argv:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print("deaf", flush=True)
while True:
    signal.pause()
"""


def begin(*arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *arguments],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
    )


def send(child: subprocess.Popen[bytes], data: bytes) -> None:
    assert child.stdin is not None
    child.stdin.write(data)


def test_it_takes_variables_and_ends_when_its_input_is_closed():
    child = begin()
    send(child, opening({"PASSED": "a\nb"}))
    assert child.stdout is not None
    assert [child.stdout.readline(), child.stdout.readline()] == [b"a\n", b"b\n"]
    send(child, BEAT)
    assert child.poll() is None

    child.communicate(timeout=20)

    assert child.returncode == -15


def test_it_ends_when_nothing_comes_for_long():
    child = begin()
    send(child, opening({}, silence=1.5))
    assert child.stdout is not None
    child.stdout.readline()
    for _ in range(6):
        time.sleep(0.5)
        send(child, BEAT)
    assert child.poll() is None

    assert child.wait(20) == -15
    child.communicate()


def test_on_the_same_machine_it_may_be_silent_for_ever():
    child = begin()
    send(child, opening({}, silence=0))
    assert child.stdout is not None
    child.stdout.readline()
    time.sleep(2)
    assert child.poll() is None

    child.communicate(timeout=20)

    assert child.returncode == -15


def test_one_that_does_not_end_by_itself_is_ended():
    child = begin("stubborn")
    send(child, opening({}))
    assert child.stdout is not None
    assert [child.stdout.readline(), child.stdout.readline()] == [b"None\n", b"deaf\n"]

    child.communicate(timeout=20)

    assert child.returncode == 1


@pytest.mark.parametrize("first", [b"", b"hello\n", b"[1]\n", b'{"A": 1}\n', b'{"environment": {}}\n'])
def test_an_input_that_is_no_starters_ends_it_at_once(first: bytes):
    child = begin()

    said, complained = child.communicate(first, timeout=20)

    assert (child.returncode, said) == (1, b"")
    assert b"Traceback" not in complained
