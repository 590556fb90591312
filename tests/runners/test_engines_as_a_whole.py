"""Several engines run one after the other, as a bundle's edges say, by the process that runs any engine.

The engines are stand-ins that copy. Where there is a GPU they copy on it, with CUDA's own driver; elsewhere on a
stand-in for that too.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.runners.cells import make_cell, write_model
from tests.runners.engine_bench import STAND_IN, Bench, copying
from trtpipe.errors import SpecError
from trtpipe.plan.control import Control
from trtpipe.plan.options import BundleOptions, EdgeOptions
from trtpipe.plan.options.stage_options import UNPLACED
from trtpipe.plan.task import Task
from trtpipe.processes.stage_runs import run_in_child
from trtpipe.runners.bundles.engines import (
    EngineRunner,
    engine_runner,
    measure_in_order,
    task_engine,
)
from trtpipe.runners.inference.delivered import delivered_engine
from trtpipe.runners.inference.requests import HowToRun
from trtpipe.runners.inference.run import cuda_site, run_engine
from trtpipe.runners.validation.recordings import RecordedRun, write_recording
from trtpipe.toolchains.detect import detect_gpus

DRIVER = """\
def run(models, inputs):
    once = models.first(x=inputs["first.x"])["y"]
    return {"twice": models["second"](x=once)["y"]}
"""
ROWS = [np.random.default_rng(seed).standard_normal((3, 4), dtype=np.float32) for seed in range(3)]


@pytest.fixture(
    params=[
        "no_gpu",
        pytest.param(
            "gpu",
            marks=pytest.mark.skipif(not detect_gpus(), reason="not run: needs a CUDA GPU"),
        ),
    ]
)
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Bench:
    cuda = [str(STAND_IN / "no_gpu")] if request.param == "no_gpu" else cuda_site()
    return Bench(tmp_path, [str(STAND_IN / "engines"), *cuda])


def cell(root: Path, name: str, **engine: object) -> Path:
    folder = make_cell(root, copying(**engine) if engine else None, f"{name}/fp32@here")
    write_model(folder / "model.onnx")
    return folder


def options(driver: str | None = None) -> BundleOptions:
    return BundleOptions(
        members=["first", "second"],
        edges=[EdgeOptions("first.y", "second.x", None, None)],
        joined=[],
        outputs=[],
        data=None,
        samples=None,
        profiles={},
        driver=driver,
        origins=UNPLACED,
    )


def runners(bench: Bench, **folders: Path) -> dict[str, EngineRunner]:
    def run(engine, runs, place):
        how = HowToRun(built_for=engine.built_for, time_limit=60)
        return run_engine(bench.toolchain, engine.engine, runs, how, place)

    return {
        name: engine_runner(folder, delivered_engine(folder), run, bench.folder / name)
        for name, folder in folders.items()
    }


def recording(folder: Path, output: str, outputs: list[np.ndarray]) -> Path:
    path = folder / "golden.npz"
    runs = [RecordedRun({"first.x": x}, {output: y}) for x, y in zip(ROWS, outputs, strict=True)]
    write_recording(path, runs)
    return path


def test_tensors_go_along_the_edges_and_are_compared_with_the_recording(bench, tmp_path):
    engines = runners(bench, first=cell(tmp_path, "a"), second=cell(tmp_path, "b"))

    report = measure_in_order(options(), recording(tmp_path, "second.y", ROWS), engines)

    (place,) = report["places"]
    assert (report["broken"], report["recorded"], place["samples"]) == ([], 9, 9)
    assert place["outputs"]["second.y"]["metrics"]["max_abs"] == 0
    assert report["gpu"]["name"] and report["tensorrt"] == "1.7.1.116"
    calls = [one.name for name in ("first", "second") for one in (tmp_path / name).iterdir()]
    assert calls == ["call0", "call0"], "one process for each member, whatever the number of batches"


def test_what_differs_from_the_recording_is_measured(bench, tmp_path):
    engines = runners(bench, first=cell(tmp_path, "a"), second=cell(tmp_path, "b"))

    report = measure_in_order(options(), recording(tmp_path, "second.y", [-x for x in ROWS]), engines)

    assert report["places"][0]["outputs"]["second.y"]["metrics"]["cosine"] == pytest.approx(-1)


def test_an_engine_that_does_not_take_what_the_one_before_yields_breaks_the_whole(bench, tmp_path):
    profiles = [{"x": [[1, 4], [2, 4], [2, 4]]}]
    engines = runners(bench, first=cell(tmp_path, "a"), second=cell(tmp_path, "b", profiles=profiles))

    report = measure_in_order(options(), recording(tmp_path, "second.y", ROWS), engines)

    (broken,) = report["broken"]
    assert report["places"] == []
    assert "3x4" in broken["why"]


@pytest.mark.parametrize(
    ("driver", "said"),
    [(DRIVER, None), (DRIVER.replace("second", "third"), "has no attribute 'third'")],
    ids=["right", "wrong"],
)
def test_a_driver_runs_engines_in_a_process_of_its_own(bench, tmp_path, monkeypatch, driver, said):
    code = tmp_path / "project/drivers/loop.py"
    code.parent.mkdir(parents=True)
    code.write_text(driver)
    monkeypatch.setenv("TRTPIPE_ALLOW_PROJECT_CODE", "1")
    golden = recording(tmp_path, "twice", ROWS)
    engines = [
        task_engine(name, cell(tmp_path, name), bench.toolchain, HowToRun()) for name in ("first", "second")
    ]
    inputs = {"golden": {golden.name: golden}, "code": {"drivers/loop.py": code}}
    scratch = tmp_path / "scratch"
    (scratch / "out").mkdir(parents=True)
    task = Task(
        "validate", options("drivers.loop:run").record(), inputs, scratch / "out", {"engines": engines}
    )

    if said is not None:
        with pytest.raises(SpecError, match=said):
            run_in_child(task, scratch, Control())
        return
    report = run_in_child(task, scratch, Control()).summary
    (place,) = report["places"]
    assert place["outputs"]["twice"]["metrics"]["max_abs"] == 0
    assert report["gpu"]["name"]
