"""Searches of a fleet: agents measure, this machine chooses, and it chooses what it would have found alone."""

from __future__ import annotations

import json
import re
from pathlib import Path

import psutil
import pytest

from tests.fleet.fleets import TestFleet, digits_project, trtpipe

pytest.importorskip("distributed", reason="needs the extra dask")

DASK = ("--executor", "dask")
EVALUATED = re.compile(r"send +digits/\w+:evaluate to (\w+)")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return digits_project(tmp_path / "project")


@pytest.mark.slow
def test_sensitivities_are_measured_by_agents_at_the_same_time(
    fleet: TestFleet, project: Path, tmp_path: Path
):
    fleet.agent("one", "--lanes", "1")
    fleet.agent("two", "--lanes", "1")
    asked = ("sensitivity", "digits/fp16", "--json")

    done = trtpipe(project, *asked, *DASK, home=tmp_path / "client", scheduler=fleet.address)
    alone = trtpipe(project, *asked, home=tmp_path / "other")
    again = trtpipe(project, *asked, *DASK, home=tmp_path / "client", scheduler=fleet.address)

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == json.loads(alone.stdout)
    assert set(EVALUATED.findall(done.stderr)) == {"one", "two"}
    assert (
        len(EVALUATED.findall(done.stderr)) == 1 + json.loads(done.stdout)["evaluations_run"]
    )  # and the units
    assert json.loads(again.stdout)["evaluations_run"] == 0
    assert not EVALUATED.findall(again.stderr)


def test_a_search_asks_agents_and_finds_what_it_finds_alone(fleet: TestFleet, project: Path, tmp_path: Path):
    spec = project / "pipelines" / "digits.yaml"
    text = spec.read_text()
    auto = "variants:\n  auto: {precision: auto, try: [fp16], budget: {metric: cosine, min: 0.999999}}\n"
    spec.write_text(text.replace("variants:\n", auto, 1))
    fleet.agent("one", "--lanes", "1")
    asked = ("debug", "digits/auto", "--json")
    agent = psutil.Process(fleet.agents["one"].child.pid)

    done = trtpipe(project, *asked, *DASK, home=tmp_path / "client", scheduler=fleet.address)
    alone = trtpipe(project, *asked, home=tmp_path / "other")

    assert done.returncode == alone.returncode != 2, done.stderr
    assert json.loads(done.stdout) == json.loads(alone.stdout)
    assert "digits/auto:search" in done.stderr and len(EVALUATED.findall(done.stderr)) > 1
    waiting = [
        one for one in agent.children(recursive=True) if "trtpipe.processes.evaluator" in one.cmdline()
    ]
    assert len(waiting) == 1, "one process has answered all"
    fleet.agents["one"].end()
    assert not psutil.wait_procs(waiting, timeout=20)[1]


@pytest.mark.slow
def test_without_an_agent_that_can_measure_this_machine_does(fleet: TestFleet, project: Path, tmp_path: Path):
    fleet.agent("first")
    asked = ("sensitivity", "digits/fp16", "--json")
    assert trtpipe(project, *asked, *DASK, home=tmp_path / "client", scheduler=fleet.address).returncode == 0
    fleet.agents["first"].end()
    fleet.agent("old", packages={"onnxruntime": "1.0.0"})

    done = trtpipe(
        project, *asked, "--samples", "3", *DASK, home=tmp_path / "client", scheduler=fleet.address
    )

    assert done.returncode == 0, done.stderr
    assert not EVALUATED.findall(done.stderr)
    assert json.loads(done.stdout)["evaluations_run"] > 0
