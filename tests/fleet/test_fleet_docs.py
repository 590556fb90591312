"""The two terminals of the README and of docs/fleet.md, typed as they stand; and the specs that the page shows."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

from tests.fleet.fleets import AGENT, ROOT, free_port, stand_in_project, wait_until
from tests.markdown_pages import blocks_of
from trtpipe.loader.schema import fleet_schema

pytest.importorskip("distributed", reason="needs the extra dask")

PAGES = {"README.md": "trtpipe fleet keygen", "docs/fleet.md": "trtpipe fleet keygen"}


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A home of its own, and a `trtpipe` whose agents have stages that take no time."""
    programs = tmp_path / "bin"
    programs.mkdir()
    command = programs / "trtpipe"
    command.write_text(
        f"""#!/bin/sh
[ "$1" = agent ] && exec "{sys.executable}" "{AGENT}" '{{"stand_ins": true}}' "$@"
exec "{sys.executable}" -m trtpipe "$@"
"""
    )
    command.chmod(0o755)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "TRTPIPE_"))}
    path = os.pathsep.join([str(programs), os.environ["PATH"]])
    return {**kept, "HOME": str(tmp_path / "home"), "PATH": path, "PYTHONPATH": str(ROOT)}


@pytest.fixture
def terminal(tmp_path: Path, environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """A shell in a session of its own, as a terminal's; what runs in it ends with the test."""
    log = tmp_path / "said"
    with log.open("wb") as stream:
        shell = subprocess.Popen(
            ["bash"], stdin=subprocess.PIPE, stdout=stream, stderr=stream, env=environment, cwd=tmp_path,
            start_new_session=True,
        )  # fmt: skip
    yield shell
    os.killpg(shell.pid, signal.SIGTERM)
    shell.communicate(timeout=30)
    wait_until(lambda: not session_of(shell.pid), "all of the terminal's processes end")


def session_of(pid: int) -> list[str]:
    listed = subprocess.run(["ps", "-o", "pid=", "-s", str(pid)], capture_output=True, text=True, check=False)
    return listed.stdout.split()


def leave_what_stand_ins_can(project: Path) -> None:
    """A stand-in of an engine has no layers, so nothing shows that it computes in fp16."""
    for path in project.glob("pipelines/*.yaml"):
        if path.name != "digits.yaml":
            path.unlink()
    spec = project / "pipelines" / "digits.yaml"
    spec.write_text(spec.read_text().replace("  fp16: {precision: fp16}\n", ""))


@pytest.mark.parametrize("page", PAGES)
def test_the_two_terminals(
    page: str, tmp_path: Path, terminal: subprocess.Popen[bytes], environment: dict[str, str]
):
    shown = [one.text for one in blocks_of(ROOT / page, "console")]
    at = next(number for number, text in enumerate(shown) if PAGES[page] in text)
    first, second = (
        text.replace(":8786", f":{free}") for free in [free_port()] for text in shown[at : at + 2]
    )
    assert (first + second).count("\n") == 5
    project = stand_in_project(tmp_path / "project")
    leave_what_stand_ins_can(project)

    assert terminal.stdin is not None
    terminal.stdin.write(first.encode())
    terminal.stdin.flush()
    said = tmp_path / "said"
    wait_until(lambda: said.read_text().count(" serves tls://") == 2, "the scheduler and the agent serve")
    done = subprocess.run(
        ["bash", "-e", "-c", second],
        cwd=project,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert " to " in done.stderr
    assert len(list(project.glob("build/**/*.engine"))) > 0


def test_specs_that_the_page_shows_fit_their_schema():
    specs = [yaml.safe_load(one.text) for one in blocks_of(ROOT / "docs" / "fleet.md", "yaml")]

    assert len(specs) == 1
    for spec in specs:
        Draft202012Validator(fleet_schema()).validate(spec)
