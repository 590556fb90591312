"""`debug reduce` on a fleet: parts of a model are tried where its engine is built, and what is found is the same."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.debugging.failing_models import dilated_pooling, make_project, needs_rtx
from tests.fleet.fleets import TestFleet, trtpipe

pytest.importorskip("distributed", reason="needs the extra dask")

DASK = ("--executor", "dask")
SENT = "send     net/fp16@ada:build_engine to one"


@pytest.mark.engine
@needs_rtx
def test_parts_of_a_model_are_tried_by_agents(fleet: TestFleet, tmp_path: Path):
    project = make_project(tmp_path / "project", dilated_pooling(3))
    fleet.agent("one", "--lanes", "1")
    asked = ("debug", "reduce", "net/fp16", "--json", "--output")

    done = trtpipe(project, *asked, "there", *DASK, home=tmp_path / "client", scheduler=fleet.address)
    alone = trtpipe(project, *asked, "here", home=tmp_path / "other")
    again = trtpipe(project, *asked, "again", *DASK, home=tmp_path / "client", scheduler=fleet.address)

    assert done.returncode == alone.returncode == again.returncode == 0, done.stderr
    found, known = json.loads(done.stdout), json.loads(again.stdout)
    assert found["nodes"] == [{"name": "pool", "op": "MaxPool"}]
    assert {**found, "directory": ""} == {**json.loads(alone.stdout), "directory": ""}
    assert done.stderr.count(SENT) == 1 + found["trials_run"] > 2  # the cell's own engine is the first
    assert known["trials_run"] == 0 and again.stderr.count(SENT) == 1


@needs_rtx
def test_a_part_that_crashes_is_not_tried_on_other_agents(fleet: TestFleet, tmp_path: Path):
    project = make_project(tmp_path / "project", dilated_pooling(1))
    for name in ("one", "two"):
        fleet.agent(name, "--lanes", "1", crashes_in="build_engine")
    asked = ("debug", "reduce", "net/fp16", "--json", "--max-trials", "3")

    done = trtpipe(project, *asked, *DASK, home=tmp_path / "client", scheduler=fleet.address)

    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["failure"] == {"kind": "crash", "text": "SIGSEGV"} and found["trials_run"] == 3
    assert done.stderr.count("net/fp16@ada:build_engine to ") == 3 + found["trials_run"]
