"""dask's dashboard: where bokeh is installed its link is said, and it is good."""

from __future__ import annotations

import re
import urllib.request
from pathlib import Path

import pytest

pytest.importorskip("distributed", reason="needs the extra dask")

from tests.fleet.fleets import TestFleet, stand_in_project, trtpipe

pytest.importorskip("bokeh", reason="needs bokeh")

ONE = ("build", "pipelines/digits.yaml", "--only", "digits/fp32@ada", "--executor", "dask")


@pytest.mark.parametrize("local", [True, False], ids=["this machine's fleet", "a scheduler"])
def test_the_dashboard_is_named_and_answers_on_loopback(tmp_path: Path, local: bool):
    fleet = TestFleet(tmp_path / "fleet")
    try:
        if not local:
            fleet.start().agent("a", stand_ins=True)
            link = re.search(
                r"http://127\.0\.0\.1:[0-9]+/status", fleet.scheduler.said() if fleet.scheduler else ""
            )
            assert link is not None
            assert "Dask" in urllib.request.urlopen(link[0], timeout=20).read().decode()
        project = stand_in_project(tmp_path / "project")

        done = trtpipe(project, *ONE, home=tmp_path / "client", scheduler="" if local else fleet.address)

        assert done.returncode == 0, done.stderr
        assert re.search(r"dask's dashboard is at http://127\.0\.0\.1:[0-9]+/status", done.stderr)
    finally:
        fleet.close()
