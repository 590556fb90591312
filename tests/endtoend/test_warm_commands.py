"""Commands of these tests are forks of a warm process: they say and do what commands in processes of their own do."""

from __future__ import annotations

import hashlib
import re
import subprocess

import pytest

from tests import warm_commands
from tests.projects import make_project

STORY = (
    ("build",),
    ("check",),
    ("check", "--json", "--no-parse"),
    ("plan", "--why"),
    ("inspect", "digits/fp32@ada"),
    ("explain", "digits/fp32@ada"),
    ("run", "digits/fp32@ada", "--random", "--cpu"),
    ("report",),
    ("graph",),
    ("cache", "stats"),
    ("toolchain", "list"),
    ("doctor",),
    ("build", "nothing.yaml"),
    ("bild",),
    ("--help",),
)


MEASURED = re.compile(r"\d (ms|s|B|KiB|MiB|GiB)\b|\bBLAKE3\b")
"""Seconds and sizes, and the digest of a file that tells them."""


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """The same project, built by a cold command and by a warm one; their paths have one length."""
    root = tmp_path_factory.mktemp("two")
    one, other = make_project(root / "cold"), make_project(root / "warm")
    ran = other.run("build")
    assert ran.code == 0, ran.err
    assert told(ran.code, ran.out, ran.err) == told(*cold(one, ("build",)))
    return one, other


def cold(project, argv):
    done = subprocess.run(
        project.command(*argv), cwd=project.root, env=project.environment(), capture_output=True, text=True,
        timeout=300, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


def told(code, out, err):
    """What was said, without what is measured and without the order of what runs at once."""
    lines = re.sub(r"/(cold|warm)\b", "/PROJECT", f"{out}\n--\n{err}").splitlines()
    return code, sorted(" ".join(line.split()) for line in lines if not MEASURED.search(line))


@pytest.mark.parametrize("argv", STORY, ids=" ".join)
def test_a_warm_command_says_what_a_cold_one_says(two, argv):
    one, other = two
    ran = other.run(*argv)

    assert told(ran.code, ran.out, ran.err) == told(*cold(one, argv))


def test_a_warm_build_delivers_what_a_cold_one_delivers(two):
    one, other = (
        {
            str(path.relative_to(project.root)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in (project.root / "build").rglob("*")
            if path.suffix in (".engine", ".onnx")
        }
        for project in two
    )

    assert one == other and any(name.endswith(".engine") for name in one)


def test_the_server_of_stages_is_a_fork_too(two):
    _, warm = two
    before = warm_commands.stage_servers(warm.environment())

    assert warm.run("build", "--force").code == 0

    assert warm_commands.stage_servers(warm.environment()) == before + 1


def test_a_command_has_the_variables_and_the_directory_that_it_is_given(two, tmp_path):
    _, warm = two
    there = {**warm.environment(), "TRTPIPE_STORE": str(tmp_path / "store")}

    done = warm_commands.run(warm.command("cache", "stats"), tmp_path, there)
    back = warm.run("cache", "stats")

    assert str(tmp_path / "store") in done.stdout + done.stderr
    assert str(tmp_path / "store") not in back.out + back.err


def test_other_commands_and_other_paths_are_run_cold(two):
    _, warm = two

    done = warm_commands.run(["echo", "a"], warm.root, warm.environment())
    assert done.stdout == "a\n"
    assert not warm_commands.is_warm(
        warm.command("build"), {**warm.environment(), "PYTHONPATH": "/elsewhere"}
    )
