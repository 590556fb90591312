"""The choices in the lockfile are read once in a build, however many steps ask for them."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import pytest

from trtpipe.building import lock_refusals, lock_writer
from trtpipe.building.build import HowToBuild, run_build
from trtpipe.building.lock_refusals import refuse_contradicting_store
from trtpipe.building.outcome import Outcome
from trtpipe.building.planned import make_plan
from trtpipe.building.silent import Unheard
from trtpipe.lockfile import writer
from trtpipe.workspace import site
from trtpipe.workspace.workspace import open_workspace

ROOT = Path(__file__).resolve().parents[2]
AUTO = "  auto: {precision: auto, calibration: digits-calib, budget: {accuracy_drop: 0.005}}\n"

pytestmark = pytest.mark.engine


@pytest.fixture
def build(tmp_path, monkeypatch):
    """Builds the demo's engine of an automatic precision, which searches; each time as on a new machine."""
    pytest.importorskip("tensorrt_rtx", reason="not run: needs a tensorrt_rtx wheel")
    for name in ("pipelines", "calibration"):
        shutil.copytree(ROOT / name, tmp_path / name)
    spec = tmp_path / "pipelines/digits.yaml"
    spec.write_text(spec.read_text().replace("  fp32: {}\n", "  fp32: {}\n" + AUTO))
    monkeypatch.chdir(tmp_path)

    def run(machine: str) -> None:
        monkeypatch.setenv("TRTPIPE_STORE", str(tmp_path / machine))
        for name in (".trtpipe", "build"):
            shutil.rmtree(tmp_path / name, ignore_errors=True)
        planned = make_plan(open_workspace(["pipelines/digits.yaml"], ("digits/auto@ada",)))
        refuse_contradicting_store(planned)
        outcome = Outcome()
        run_build(planned, Unheard(), outcome, HowToBuild(jobs=1))
        assert outcome.built == ["digits/auto@ada"]

    return run


def test_choices_and_tactics_of_the_lockfile_are_read_once_in_a_build(build, monkeypatch):
    build("first")
    read: Counter[str] = Counter()

    def counting(module, name):
        original = getattr(module, name)

        def counted(*arguments):
            read[f"{name} of {module.__name__}"] += 1
            return original(*arguments)

        monkeypatch.setattr(module, name, counted)

    for name in ("load_lock", "choices_in", "tactics_in"):
        counting(site, name)
    # Before it is written it is read once more, under its lock: another build may have written it.
    counting(writer, "load_lock")
    assert not hasattr(lock_writer, "load_lock")
    assert not hasattr(lock_refusals, "load_lock")

    build("second")

    assert read["load_lock of trtpipe.workspace.site"] == 1
    assert read["load_lock of trtpipe.lockfile.writer"] <= 1
    assert read["choices_in of trtpipe.workspace.site"] == 1
    assert read["tactics_in of trtpipe.workspace.site"] <= 1
