"""A fleet whose agents have a real GPU: what they say of it, whose proofs name it, and who has it when.

Agents are started as a user starts them. The engines are a stand-in's for TensorRT, which is found as an installed one
is and launches real kernels with CUDA's own driver. On a machine with several GPUs each has its own lane.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.fleet.fleets import AGENT, Process, TestFleet, digits_project, trtpipe, wait_until

pytest.importorskip("distributed", reason="needs the extra dask")

pytest.importorskip("psutil", reason="needs psutil")

from tests.fleet.engine_processes import EngineProcess, Watched, runs, started_client
from tests.runners.cells import make_cell
from tests.runners.engine_bench import STAND_IN, copying, rows
from tests.runners.gpu_kernels import compiled_kernels
from tests.runners.test_validating_engines import engine_record, write_cell
from trtpipe.building.engines.jobs import EngineWork, JobDone, engine_files, need_of_manifest
from trtpipe.cli.fleets.use import FleetOptions, opened_jobs
from trtpipe.digests import digest_file
from trtpipe.fleet.keygen import keygen
from trtpipe.loader.project import Project
from trtpipe.toolchains.detect import DetectedGpu, detect_gpus

pytestmark = pytest.mark.skipif(not detect_gpus(), reason="not run: needs a CUDA GPU")

DASK = ("--executor", "dask")
VERSIONS = {"tensorrt_rtx": "1.7.1.116", "tensorrt": "11.4.0.106"}
WEIGHTS = 2 << 30
"""Bytes of GPU memory that a slow engine holds."""


@pytest.fixture(scope="module")
def gpus() -> tuple[DetectedGpu, ...]:
    return detect_gpus()


@pytest.fixture(scope="module")
def kernels(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The kernels, compiled for the GPU at hand."""
    return compiled_kernels(tmp_path_factory.mktemp("kernels"))


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Both stand-ins, as packages that every process finds installed."""
    folder = tmp_path / "site"
    for flavour, version in VERSIONS.items():
        (folder / flavour).mkdir(parents=True)
        shutil.copy(STAND_IN / "engines" / f"{flavour}.py", folder / flavour / "__init__.py")
        about = folder / f"{flavour}_cu13-{version}.dist-info" / "METADATA"
        about.parent.mkdir()
        about.write_text(f"Metadata-Version: 2.1\nName: {flavour}_cu13\nVersion: {version}\n")
    shutil.copy(STAND_IN / "engines" / "stand_in_engine.py", folder)
    paths = [str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    return folder


@pytest.fixture
def fleet(tmp_path: Path, site: Path) -> Iterator[TestFleet]:
    """Over TLS. Each agent has a home and a cache of its own, as agents of different users have."""
    certificates = keygen_in(tmp_path / "certificates")
    options = ("--certificates", str(certificates))
    found = TestFleet(tmp_path / "fleet", options, "tls").start()
    yield found
    found.close()


def keygen_in(folder: Path) -> Path:
    keygen(folder)
    return folder


def agent(fleet: TestFleet, name: str) -> Process:
    command = [sys.executable, "-m", "trtpipe", "agent", fleet.address, "--name", name, *fleet.options]
    return serving(fleet.process(name, command), name)


def with_the_first_gpu_alone(fleet: TestFleet) -> None:
    """The agents that are started from now on see no other GPU: which one of several is taken is a matter of luck."""
    fleet.variables |= {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": "0"}


def serving(process: Process, name: str) -> Process:
    wait_until(lambda: " serves " in process.said() or process.child.poll() is not None, name)
    assert process.child.poll() is None, process.said()
    return process


def client(fleet: TestFleet, folder: Path, *arguments: str, home: str = "client") -> Any:
    """A command of a user that waits for its end."""
    asked = (*arguments, *fleet.options)
    return trtpipe(folder, *asked, home=folder / home, scheduler=fleet.address)


def engine(gpu: DetectedGpu, **changes: Any) -> dict[str, Any]:
    """How a delivered cell for this GPU differs from one of `write_cell`."""
    return {"compute_capabilities": [gpu.compute_capability.sm], **changes}


def slow(record: dict[str, Any], kernels: str, seconds: float) -> dict[str, Any]:
    """The same engine, which holds memory, and keeps the GPU busy for about so long in each run."""
    count = max(round(seconds / 0.25), 1)
    spin = {"op": "launch", "kernel": "spin", "from": "x", "to": "y", "number": 250_000.0, "blocks": 16}
    return {**record, "kernels": kernels, "weights": WEIGHTS, "ops": [spin] * count + record["ops"]}


def asked_of_driver(gpu: DetectedGpu, *fields: str) -> list[str]:
    """What the driver's own tool says."""
    command = [
        "nvidia-smi",
        "-i",
        gpu.uuid,
        f"--query-gpu={','.join(fields)}",
        "--format=csv,noheader,nounits",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [text.strip() for text in done.stdout.strip().split(",")]


def used_mebibytes(gpu: DetectedGpu) -> int:
    return int(asked_of_driver(gpu, "memory.used")[0])


def overlaps(found: list[EngineProcess]) -> list[tuple[int, int]]:
    """Pairs that had the same GPU at the same time."""
    return [
        (one.pid, two.pid)
        for number, one in enumerate(found)
        for two in found[number + 1 :]
        if one.variables["CUDA_VISIBLE_DEVICES"] == two.variables["CUDA_VISIBLE_DEVICES"]
        and one.began < two.ended
        and two.began < one.ended
    ]


def told(found: list[EngineProcess]) -> str:
    start = min((one.began for one in found), default=0.0)
    return "\n" + "; ".join(
        f"agent {one.agent}: {one.began - start:.2f} to {one.ended - start:.2f} s" for one in found
    )


# -- what an agent says of its GPU


def test_status_names_the_gpus_as_the_driver_does(fleet: TestFleet, tmp_path: Path, gpus):
    agent(fleet, "gpu-box")

    done = client(fleet, tmp_path, "fleet", "status", "--json")

    assert done.returncode == 0, done.stderr
    (found,) = json.loads(done.stdout)["agents"]
    shown = found["labels"]["gpus"]
    print(f"\n{json.dumps(shown)}")
    assert len(shown) == len(gpus)
    for gpu, one in zip(gpus, shown, strict=True):
        fields = ("name", "uuid", "driver_version", "compute_cap", "memory.total")
        name, uuid, driver, capability, mebibytes = asked_of_driver(gpu, *fields)
        assert (one["name"], one["uuid"], one["driver"]) == (name, uuid, driver)
        assert one["compute_capability"] == "sm" + capability.replace(".", "")
        assert abs(one["memory_bytes"] - (int(mebibytes) << 20)) < 1 << 30
    assert (
        f"{gpus[0].name} ({gpus[0].compute_capability.sm})"
        in client(fleet, tmp_path, "fleet", "status").stdout
    )


# -- proofs


def test_a_proof_names_the_gpu_and_its_driver(fleet: TestFleet, tmp_path: Path, gpus):
    agent(fleet, "gpu-box")
    cell = write_cell(tmp_path / "cell", engine_record(), **engine(gpus[0]))

    done = client(fleet, tmp_path, "validate", "cell", *DASK)

    assert done.returncode == 0, done.stderr
    name, sm = gpus[0].name, gpus[0].compute_capability.sm
    print(f"\n{done.stdout.splitlines()[0]}")
    assert f"net/fp32@ada: passed on {name} ({sm}) (agent gpu-box)" in done.stdout.splitlines()[0]
    proof = json.loads((cell / "proof.json").read_text())
    print(json.dumps({key: proof[key] for key in ("gpu", "machine", "outcome")}))
    assert proof["gpu"]["name"] == name and proof["gpu"]["compute_capability"] == sm
    assert proof["machine"]["driver"] == asked_of_driver(gpus[0], "driver_version")[0]
    assert proof["machine"]["agent"] == "gpu-box" and proof["machine"]["processor"]
    assert proof["outcome"] == "passed" and len(proof["places"]) == 4


def test_an_engine_that_computes_something_else_on_the_gpu_fails(fleet: TestFleet, tmp_path: Path, gpus):
    agent(fleet, "gpu-box")
    write_cell(tmp_path / "cell", engine_record(y="z", w="x"), **engine(gpus[0]))

    done = client(fleet, tmp_path, "validate", "cell", *DASK)

    assert done.returncode == 1, done.stderr
    assert f"failed on {gpus[0].name}" in done.stdout and "output 'y' has cosine" in done.stdout


def test_a_build_writes_the_gpu_into_the_lockfile(fleet: TestFleet, tmp_path: Path, gpus):
    """Stages take no time here; the engine that they leave runs on the GPU."""
    project = digits_project(tmp_path / "project")
    spec = project / "pipelines" / "digits.yaml"
    text = spec.read_text()
    begins, ends = text.index("targets:"), text.index("validate:")
    target = "targets:\n  here: {gpu: this, toolchain: server}\n"
    toolchain = f"toolchains:\n  server: {{flavour: tensorrt, version: {VERSIONS['tensorrt']}}}\n"
    validated = text[ends : text.index("  thresholds:")] + "  readback: {run: false}\n"
    spec.write_text(text[:begins] + toolchain + target + validated)
    pretended = {"stand_ins": True, "stand_in_engines": True, "real_gpu": True}
    command = [sys.executable, str(AGENT), json.dumps(pretended), "agent", fleet.address, "--name", "gpu-box"]
    serving(fleet.process("gpu-box", [*command, *fleet.options]), "gpu-box")

    done = client(
        fleet,
        project,
        "build",
        "pipelines/digits.yaml",
        "--only",
        "digits/fp32@here",
        *DASK,
        home="../client",
    )

    assert done.returncode == 0, done.stderr
    name, sm = gpus[0].name, gpus[0].compute_capability.sm
    assert f"proved   digits/fp32@here on {name} (agent gpu-box)" in done.stderr
    (line,) = [one for one in (project / "trtpipe.lock").read_text().splitlines() if "run_on_gpu" in one]
    print(f"\n{line.strip()}")
    assert (
        f"run_on_gpu: {name} ({sm}), driver {asked_of_driver(gpus[0], 'driver_version')[0]}, linux " in line
    )
    manifest = json.loads((project / "build/digits/fp32@here/manifest.json").read_text())
    assert manifest["run_on_gpu"]["machine"]["agent"] == "gpu-box"


# -- one piece of work at a time


COPY = "copy/fp16@here"
RUN = ("run", COPY, "--input", "x=x.npy", "--output", "out.npz")


def user_with_a_slow_engine(folder: Path, kernels: str, gpu: DetectedGpu, seconds: float) -> Path:
    """A user's project with a delivered cell, and an input for it."""
    folder.mkdir()
    record = slow(copying(name=COPY), kernels, seconds)
    make_cell(folder, record, COPY, capabilities=(gpu.compute_capability.sm,))
    np.save(folder / "x.npy", rows(2))
    return folder


def test_a_second_client_waits_until_the_first_one_has_ended(fleet: TestFleet, tmp_path: Path, gpus, kernels):
    agent(fleet, "gpu-box")
    folders = [
        user_with_a_slow_engine(tmp_path / f"user{number}", kernels, gpus[0], 2) for number in range(2)
    ]
    began = time.monotonic()

    with Watched(fleet) as watched, ExitStack() as stack:
        clients = [stack.enter_context(started_client(fleet, folder, *RUN)) for folder in folders]
        outputs = [one.communicate(timeout=120)[0] for one in clients]

    found = watched.in_order()
    print(f"\n{time.monotonic() - began:.1f} s{told(found)}", *outputs, sep="\n")
    assert [one.returncode for one in clients] == [0, 0], outputs
    assert all(f"engine on {gpus[0].name}" in text for text in outputs)
    for folder in folders:
        assert np.array_equal(np.load(folder / "out.npz")["y"], rows(2))
    assert len([one for one in found if one.ended - one.began > 1.5]) == 2
    if len(gpus) == 1:
        assert not overlaps(found)
        assert found[-1].ended - found[0].began > 4


def test_a_second_agent_on_the_machine_waits_for_the_first_one(
    fleet: TestFleet, tmp_path: Path, gpus, kernels
):
    """One client that sees two agents sends each of them work for what is the same GPU."""
    agents = [agent(fleet, name).child.pid for name in ("one", "two")]
    names = [f"cell{number}" for number in range(2 * len(gpus))]
    for name in names:
        record = slow(engine_record(), kernels, 0.25)
        write_cell(tmp_path / name, record, **engine(gpus[0], cell=f"net/{name}@here"))

    with Watched(fleet) as watched:
        done = client(fleet, tmp_path, "validate", *names, *DASK)

    found = watched.in_order()
    print(told(found))
    assert done.returncode == 0, done.stderr
    sent = [line for line in done.stderr.splitlines() if line.startswith("send")]
    print("\n".join(sent))
    assert len(sent) == len(names)
    assert {one.agent for one in found} == set(agents)
    assert len({one.variables["CUDA_VISIBLE_DEVICES"] for one in found}) == len(gpus)
    assert not overlaps(found)


def test_two_gpus_work_at_the_same_time_and_each_for_one_alone(
    fleet: TestFleet, tmp_path: Path, gpus, kernels
):
    """Two agents see both GPUs, and get more work than there are GPUs: waiting for one does not keep the other idle."""
    if len(gpus) < 2:
        pytest.skip("not run: needs two CUDA GPUs")
    for name in ("one", "two"):
        agent(fleet, name)
    names = [f"cell{number}" for number in range(8)]
    for name in names:
        record = slow(engine_record(), kernels, 0.5)
        write_cell(tmp_path / name, record, **engine(gpus[0], cell=f"net/{name}@here"))

    with Watched(fleet) as watched:
        done = client(fleet, tmp_path, "validate", *names, *DASK)

    found = watched.in_order()
    print(told(found))
    assert done.returncode == 0, done.stderr
    by_gpu = Counter(one.variables["CUDA_VISIBLE_DEVICES"] for one in found)
    print(dict(by_gpu))
    assert by_gpu.keys() == {gpu.uuid for gpu in gpus}
    assert not overlaps(found)
    beside = [
        (one, two)
        for number, one in enumerate(found)
        for two in found[number + 1 :]
        if two.began < one.ended
        and one.variables["CUDA_VISIBLE_DEVICES"] != two.variables["CUDA_VISIBLE_DEVICES"]
    ]
    assert len(beside) >= 2, "the GPUs worked one after the other"


def validated_through(fleet: TestFleet, folder: Path, cell: str) -> JobDone:
    """The whole answer to the job of validating a cell."""
    manifest = json.loads((folder / cell / "manifest.json").read_text())
    trust = [digest_file(folder / cell / "model.engine").hex]
    options = FleetOptions("dask", fleet.address, Path(fleet.options[1]))
    with opened_jobs(options, Project(folder)) as jobs:
        assert jobs is not None
        work = EngineWork(
            "validate", cell, need_of_manifest(manifest), engine_files(folder / cell), {"trust": trust}
        )
        return jobs.do(work)


def test_a_job_sees_the_gpu_of_its_lane_alone_and_its_clocks_are_noted(
    fleet: TestFleet, tmp_path: Path, gpus, kernels
):
    agent(fleet, "gpu-box")
    write_cell(tmp_path / "cell", slow(engine_record(), kernels, 0.25), **engine(gpus[0]))

    with Watched(fleet) as watched:
        done = validated_through(fleet, tmp_path, "cell")

    found = watched.in_order()
    assert found and {one.variables["CUDA_VISIBLE_DEVICES"] for one in found} == {done.lane.gpu}
    assert done.lane.gpu in [gpu.uuid for gpu in gpus] and done.lane.gpu.startswith("GPU-")
    clocks: Any = done.result["clocks"]
    print(f"\nCUDA_VISIBLE_DEVICES={done.lane.gpu}\n{json.dumps(clocks)}")
    fastest = float(asked_of_driver(done.on.gpu, "clocks.max.sm")[0])
    for state in (clocks["before"], clocks["after"]):
        assert state["sm_max_mhz"] == fastest and 0 < state["sm_mhz"] <= fastest
        assert state["power_w"] > 0 and state["temperature_c"] > 0
    assert done.result["report"]


def test_a_benchmark_names_the_gpu_and_its_clocks(fleet: TestFleet, tmp_path: Path, gpus, kernels):
    agent(fleet, "gpu-box")
    user = user_with_a_slow_engine(tmp_path / "user", kernels, gpus[0], 0.25)
    how = ("--window", "0.5", "--time-limit", "20", "--warm-up", "1", "--streams", "1", "--graph", "off")

    done = client(fleet, user, "bench", COPY, *how, *DASK)

    assert done.returncode == 0, done.stderr
    assert f"engine on {gpus[0].name} ({gpus[0].compute_capability.sm}) (agent gpu-box)" in done.stdout
    record = json.loads((user / "build" / COPY / "bench.json").read_text())
    print(f"\n{json.dumps({name: record[name] for name in ('machine', 'clocks')})}")
    assert record["machine"]["driver"] == asked_of_driver(gpus[0], "driver_version")[0]
    assert all(state["sm_mhz"] > 0 for state in record["clocks"].values())


# -- whoever goes away


def test_a_dead_agent_leaves_neither_memory_nor_the_lease_behind(
    fleet: TestFleet, tmp_path: Path, gpus, kernels
):
    gpu = gpus[0]
    with_the_first_gpu_alone(fleet)
    before = used_mebibytes(gpu)
    first = agent(fleet, "one")
    project = user_with_a_slow_engine(tmp_path / "user", kernels, gpu, 10)

    with Watched(fleet) as watched, started_client(fleet, project, *RUN) as running:
        wait_until(lambda: used_mebibytes(gpu) - before > WEIGHTS >> 20, "the engine runs")
        held = used_mebibytes(gpu)
        watched.look()
        (busy,) = [one for one in watched.in_order() if runs(one.pid)]
        second = agent(fleet, "two")
        assert used_mebibytes(gpu) - before > WEIGHTS >> 20, "it ended too early for this test"
        os.kill(first.child.pid, signal.SIGKILL)
        killed = time.monotonic()
        first.child.wait()
        wait_until(lambda: not runs(busy.pid), "the engine's process is gone", 10)
        gone = time.monotonic() - killed
        wait_until(lambda: used_mebibytes(gpu) - before < WEIGHTS >> 20, "its memory is free", 10)
        freed_after = time.monotonic() - killed
        output = running.communicate(timeout=120)[0]

    found = watched.in_order()
    freed = used_mebibytes(gpu)
    (again,) = [one for one in found if one.agent == second.child.pid and one.ended - one.began > 4]
    print(f"\n{before} MiB used before, {held} with the engine, {freed} at the end")
    print(
        f"after the agent was killed the engine's process was gone in {gone:.3f} s, its memory in {freed_after:.2f} s"
    )
    print(f"the next one began {again.began - killed:.2f} s after it", told(found), f"\n{output}")
    assert running.returncode == 0, output
    assert "one vanished" in output and "run by the agent two" in output
    assert gone < 5 and abs(freed - before) < 64
    assert not overlaps(found)


@pytest.mark.parametrize("who", ["client", "scheduler", "agent"])
def test_whoever_ends_leaves_no_engine_on_the_gpu(fleet: TestFleet, tmp_path: Path, gpus, kernels, who: str):
    """The client and the scheduler are killed; the agent is told to end, and does."""
    with_the_first_gpu_alone(fleet)
    before = used_mebibytes(gpus[0])
    box = agent(fleet, "gpu-box")
    user = user_with_a_slow_engine(tmp_path / "user", kernels, gpus[0], 30)
    with Watched(fleet) as watched, started_client(fleet, user, *RUN) as running:
        wait_until(lambda: any(map(runs, list(watched.seen))), "the engine runs")
        wait_until(lambda: used_mebibytes(gpus[0]) - before > WEIGHTS >> 20, "the engine has its memory")
        began = time.monotonic()
        if who == "client":
            running.kill()
        elif who == "scheduler":
            assert fleet.scheduler is not None
            fleet.scheduler.kill()
        else:
            assert box.end() == 0, box.said()
        wait_until(lambda: not any(map(runs, list(watched.seen))), "the engine's process is gone", 25)
    took = max(one.ended for one in watched.seen.values()) - began
    print(f"\n{who}: the engine's process was gone {took:.2f} s later")
    assert took < 4
    wait_until(lambda: abs(used_mebibytes(gpus[0]) - before) < 64, "its memory is free", 5)
