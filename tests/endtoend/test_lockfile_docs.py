"""The commands of docs/lockfile.md print what the page says, and the facts that it names exist."""

from __future__ import annotations

import re
import subprocess

import pytest

from tests.endtoend.test_lockfile_stories import SMALL
from tests.projects import ROOT, make_project
from trtpipe.lockfile.entries import FIELDS

TEXT = (ROOT / "docs" / "lockfile.md").read_text()
BLOCKS = re.findall(r"```console\n(.*?)```", TEXT, re.S)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    made = make_project(tmp_path_factory.mktemp("docs") / "project", SMALL)
    assert made.run("build").code == 0
    return made


def shown(text):
    """A pattern of what the page shows: `…` is anything."""
    return re.escape(text).replace("…", ".*")


def test_the_commands_of_the_page_print_what_it_shows(project):
    for block in sorted(BLOCKS, key=lambda one: "sed" in one):  # the one that changes the spec comes last
        for command, printed in re.findall(r"\$ (.+)\n((?:(?!\$ ).*\n)*)", block):
            if command.startswith("trtpipe "):
                assert re.fullmatch(shown(printed), project.run(*command.split()[1:]).out), command
            else:
                subprocess.run(command, shell=True, cwd=project.root, check=True)


def test_the_facts_of_the_page_are_those_of_a_lockfile():
    (block,) = re.findall(r"```yml\n(.*?)```", TEXT, re.S)
    named = set(re.findall(r"^    (\w+):", block.split("steps:")[0], re.M))
    listed = set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`.*?) \|", TEXT, re.M))))

    assert named <= set(FIELDS)
    assert named | listed == set(FIELDS)
