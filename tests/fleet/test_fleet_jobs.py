"""Engines that run on agents with GPUs: what comes back, where it lands, and what is said when nobody has the GPU."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest

from tests.fleet.fleets import TestFleet, stand_in_project, trtpipe, wait_until

pytest.importorskip("distributed", reason="needs the extra dask")

from tests.fleet.engine_processes import Watched, runs, started_client
from tests.runners.cells import make_cell
from tests.runners.engine_bench import copying, rows
from tests.runners.test_validating_engines import engine_record, write_cell
from trtpipe.runners.validation.recordings import read_recording

DASK = ("--executor", "dask")
ADA, TURING = ["NVIDIA L4", "sm89"], ["Tesla T4", "sm75"]


def gpu_agent(fleet: TestFleet, name: str, *gpus: list[str], **more: object) -> None:
    fleet.agent(name, gpus=list(gpus), stand_in_engines=True, **more)


def test_an_engine_is_validated_on_the_agent_that_has_its_gpu(fleet: TestFleet, tmp_path: Path):
    gpu_agent(fleet, "old-box", TURING)
    gpu_agent(fleet, "gpu-box", TURING, ADA, hot=True)
    cell = write_cell(tmp_path / "cell", engine_record())

    done = trtpipe(tmp_path, "validate", "cell", *DASK, home=tmp_path / "client", scheduler=fleet.address)

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == (
        "net/fp32@ada: passed on Make-believe GPU (sm89) (agent gpu-box), TensorRT 1.7.1.116"
    )
    assert "send     net/fp32@ada to gpu-box gpu 1 (validate)" in done.stderr
    assert (
        "warning: net/fp32@ada (validate): the clocks of its GPU were held down when it began by sw thermal slowdown "
        "(SM 1410 of 1980 MHz) and when it ended by" in done.stderr
    )
    proof = json.loads((cell / "proof.json").read_text())
    assert proof["machine"]["agent"] == "gpu-box"
    assert proof["machine"]["driver"] == "580.95.05"
    assert proof["outcome"] == "passed" and len(proof["places"]) == 4


@pytest.mark.slow
def test_what_misses_a_threshold_on_an_agent_fails_here_and_its_inputs_come_back(
    fleet: TestFleet, tmp_path: Path
):
    gpu_agent(fleet, "gpu-box", ADA)
    cell = write_cell(tmp_path / "cell", engine_record(y="z", w="x"))

    done = trtpipe(tmp_path, "validate", "cell", *DASK, home=tmp_path / "client", scheduler=fleet.address)

    assert done.returncode == 1, done.stderr
    assert "output 'y' has cosine" in done.stdout
    (kept,) = read_recording(cell / "failed" / "data.npz")
    assert kept.inputs["x"].shape == (1, 4)


def test_an_engine_that_nobody_can_run_is_named_before_anything_is_sent(fleet: TestFleet, tmp_path: Path):
    gpu_agent(fleet, "old-box", TURING)
    fleet.agent("no-box")
    write_cell(tmp_path / "cell", engine_record())

    done = trtpipe(tmp_path, "validate", "cell", *DASK, home=tmp_path / "client", scheduler=fleet.address)

    assert done.returncode == 2, done.stderr
    reason = (
        "needs sm89, TensorRT-RTX 1.7.1.116, and no agent of the fleet has that: "
        "no-box has no sm89; old-box has no sm89, but Tesla T4 (sm75)"
    )
    assert done.stderr.splitlines()[0] == f"not run: net/fp32@ada: {reason}"
    assert "send " not in done.stderr
    assert f"net/fp32@ada: the engine was not run: {reason}" in done.stdout
    assert "validated instead: its typed model on the CPU: passed" in done.stdout
    assert not (tmp_path / "cell" / "proof.json").exists()


@pytest.mark.slow
def test_a_broken_engine_is_an_error_as_on_this_machine(fleet: TestFleet, tmp_path: Path):
    gpu_agent(fleet, "gpu-box", ADA)
    record = engine_record()
    record["ops"].append({"op": "refuse", "text": "no kernel image"})
    write_cell(tmp_path / "cell", record)

    done = trtpipe(tmp_path, "validate", "cell", *DASK, home=tmp_path / "client", scheduler=fleet.address)

    assert done.returncode == 1, done.stderr
    assert "no kernel image" in done.stdout and "Traceback" not in done.stderr


@pytest.mark.parametrize("option", [("--cpu",), ("--device", "1")])
def test_options_that_choose_this_machine_are_refused(tmp_path: Path, option: tuple[str, ...]):
    write_cell(tmp_path / "cell", engine_record())

    done = trtpipe(tmp_path, "validate", "cell", *DASK, *option, home=tmp_path / "client")

    assert done.returncode == 2
    assert f"{option[0]} is about this machine, and --executor dask runs engines on others" in done.stderr


ADA_CELL = ("pipelines/digits.yaml", "--only", "digits/fp32@a*")
LIKE_THE_RUNNER = ["Make-believe GPU", "sm89"]
"""As the stand-in for CUDA calls its GPU."""


def test_a_build_proves_its_engines_where_their_gpu_is(fleet: TestFleet, tmp_path: Path):
    project = stand_in_project(tmp_path / "project")
    gpu_agent(fleet, "gpu-box", LIKE_THE_RUNNER, stand_ins=True)
    gpu_agent(fleet, "old-box", TURING, stand_ins=True)

    done = trtpipe(project, "build", *ADA_CELL, *DASK, home=tmp_path / "client", scheduler=fleet.address)

    assert done.returncode == 0, done.stderr
    assert "proved   digits/fp32@ada on Make-believe GPU (agent gpu-box)" in done.stderr
    assert (
        "not run  digits/fp32@ampere: the engine needs sm86, TensorRT-RTX 1.7.1.116, and no agent"
        in done.stderr
    )
    lock = (project / "trtpipe.lock").read_text()
    assert "run_on_gpu: Make-believe GPU (sm89), driver 580.95.05, linux " in lock
    assert "run_on_gpu: not run" in lock
    ampere = json.loads((project / "build/digits/fp32@ampere/manifest.json").read_text())
    assert any("old-box has no sm86, but Tesla T4 (sm75)" in one for one in ampere["not_run"])
    ada = json.loads((project / "build/digits/fp32@ada/manifest.json").read_text())
    assert ada["run_on_gpu"]["machine"]["agent"] == "gpu-box"
    again = trtpipe(
        project, "build", *ADA_CELL, *DASK, "--force", home=tmp_path / "client", scheduler=fleet.address
    )
    assert again.returncode == 0, again.stderr
    assert "proved   digits/fp32@ada" not in again.stderr  # the same engine on the same GPU model


def test_an_engine_that_misses_its_thresholds_on_the_gpu_fails_the_build(fleet: TestFleet, tmp_path: Path):
    project = stand_in_project(tmp_path / "project")
    gpu_agent(fleet, "gpu-box", LIKE_THE_RUNNER, stand_ins=True, wrong=True)
    only = ("pipelines/digits.yaml", "--only", "digits/fp32@ada")

    done = trtpipe(project, "build", *only, *DASK, home=tmp_path / "client", scheduler=fleet.address)

    assert done.returncode == 1, done.stderr
    assert "FAILED   digits/fp32@ada on Make-believe GPU (agent gpu-box)" in done.stderr
    assert "on Make-believe GPU (sm89): output 'logits' has" in done.stderr
    assert ".trtpipe/failed/digits/fp32@ada/data.npz" in done.stderr
    assert done.stdout.startswith("built 0 engines, 1 failed")
    assert not (project / "build/digits/fp32@ada/manifest.json").exists()
    again = trtpipe(project, "build", *only, home=tmp_path / "client")
    assert again.returncode == 1, again.stderr


@pytest.mark.slow
def test_inputs_are_sent_and_outputs_come_back(fleet: TestFleet, tmp_path: Path):
    make_cell(tmp_path)
    np.save(tmp_path / "x.npy", rows(3))
    gpu_agent(fleet, "gpu-box", ADA)
    asked = ("run", "copy/fp16@here", "--input", "x=x.npy", "--output", "out.npz")

    done = trtpipe(tmp_path, *asked, *DASK, home=tmp_path / "client", scheduler=fleet.address)

    assert done.returncode == 0, done.stderr
    assert "engine on Make-believe GPU (sm89), TensorRT 1.7.1.116" in done.stdout
    assert "note: run by the agent gpu-box" in done.stdout
    assert np.array_equal(np.load(tmp_path / "out.npz")["y"], rows(3))  # its typed model would negate


@pytest.mark.slow
def test_a_benchmark_is_measured_by_one_agent_and_lands_beside_the_engine(fleet: TestFleet, tmp_path: Path):
    cell = make_cell(tmp_path)
    gpu_agent(fleet, "gpu-box", ADA)
    how = ("--window", "0.05", "--time-limit", "5", "--warm-up", "1", "--streams", "1,2", "--graph", "both")

    done = trtpipe(
        tmp_path, "bench", "copy/fp16@here", *how, *DASK, home=tmp_path / "client", scheduler=fleet.address
    )

    assert done.returncode == 0, done.stderr
    assert "engine on Make-believe GPU (sm89) (agent gpu-box)" in done.stdout
    record = json.loads((cell / "bench.json").read_text())
    assert (record["subject"], record["machine"]["agent"]) == ("engine", "gpu-box")
    assert [one["graph"] for one in record["measurements"]] == ["off", "capture"]
    assert [one["streams"] for one in record["throughput"]] == [1, 2]


@pytest.mark.slow
def test_what_no_agent_can_run_falls_back_to_the_typed_model_as_here(fleet: TestFleet, tmp_path: Path):
    make_cell(tmp_path)
    gpu_agent(fleet, "old-box", TURING)
    asked = ("run", "copy/fp16@here", "--random")

    done = trtpipe(tmp_path, *asked, *DASK, home=tmp_path / "client", scheduler=fleet.address)
    required = trtpipe(
        tmp_path, *asked, *DASK, "--require-gpu", home=tmp_path / "client", scheduler=fleet.address
    )

    assert done.returncode == 0, done.stderr
    assert "not run: copy/fp16@here as an engine: needs sm89" in done.stderr
    assert required.returncode == 2
    assert "old-box has no sm89, but Tesla T4 (sm75)" in required.stderr


@pytest.mark.parametrize("who", ["scheduler", "agent"])
def test_an_engine_does_not_go_on_when_its_scheduler_is_gone_or_its_agent_ends(
    fleet: TestFleet, tmp_path: Path, who: str
):
    """It has the GPU, for which others wait."""
    record = copying()
    record["ops"].insert(0, {"op": "sleep", "seconds": 60})
    make_cell(tmp_path, record)
    gpu_agent(fleet, "gpu-box", ADA)
    box, scheduler = fleet.agents["gpu-box"], fleet.scheduler
    assert scheduler is not None

    with Watched(fleet) as watched, started_client(fleet, tmp_path, "run", "copy/fp16@here", "--random"):
        wait_until(lambda: any(map(runs, list(watched.seen))), "the engine runs")
        began = time.monotonic()
        scheduler.kill() if who == "scheduler" else box.end()
        wait_until(lambda: not any(map(runs, list(watched.seen))), "the engine's process is gone")

    assert max(one.ended for one in watched.seen.values()) - began < 4
