"""A fleet of network namespaces: 60 cells are built while agents die, links are cut and the scheduler restarts.

Three agents have a store and a GPU of their own, and a fourth one lies about artifacts all the time. Stages and engines
are stand-ins that take a moment; the scheduler, agents, stores, TLS, transfers and proofs are real. What comes out is
what a build on one machine yields.
"""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("distributed", reason="needs the extra dask")

from tests.fleet.fleets import AGENT, ROOT, TestFleet, stand_in_project, wait_until
from tests.fleet.namespaces import Network, network, why_none
from trtpipe.fleet.keygen import keygen

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(why_none()), reason=why_none() or "can")]

PORT = 8786
_MOST_SECONDS = 900
STAND_INS = {"stand_ins": True, "stand_in_engines": True}
PRETENDED = {**STAND_INS, "slow": 0.3}
GPUS = {"a": ["Make-believe GPU", "sm89"], "b": ["Tesla T4", "sm75"], "c": ["NVIDIA H100 80GB HBM3", "sm90"]}
"""The first one is that of the stand-in for CUDA; the matrix has no engines for the others."""
PROVED = re.compile(r"run_on_gpu: .*")
LOCAL = f"""
import sys
sys.argv = ["agent", {json.dumps(json.dumps(STAND_INS))}, *sys.argv[1:]]
import runpy
runpy.run_path({str(AGENT)!r}, run_name="__main__")
"""
"""Runs any command of trtpipe with stand-in stages."""


class NetworkFleet(TestFleet):
    """A fleet whose machines are namespaces."""

    net: Network

    @property
    def address(self) -> str:
        return f"tls://{self.net.machines['scheduler']}:{PORT}"

    def prefix(self, name: str) -> list[str]:
        return self.net.inside(name)


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[NetworkFleet]:
    certificates = tmp_path / "certificates"
    with network() as net:
        for name in ("scheduler", "client", *GPUS, "liar", "s3"):
            net.add(name)
        keygen(certificates, list(net.machines.values()), 2)
        found = NetworkFleet(tmp_path / "fleet", ("--certificates", str(certificates)))
        found.net = net
        yield found
        found.close()


@pytest.fixture
def matrix(tmp_path: Path) -> Path:
    """Three pipelines of four variants for five targets."""
    project = stand_in_project(tmp_path / "project")
    spec = project / "pipelines" / "digits.yaml"
    text = spec.read_text()
    for other in (project / "pipelines").glob("*.yaml"):
        other.unlink()
    head, rest = text[: text.index("variants:")], text[text.index("profiles:") :]
    variants = "variants:\n  fp32: {}\n  fp16: {precision: fp16, min_low_precision: 0}\n" + "".join(
        f"  kept{number}: {{precision: fp16, min_low_precision: 0, keep: {{fp32: ['op:{op}']}}}}\n"
        for number, op in enumerate(("Conv", "Gemm"))
    )
    targets = "targets:\n" + "".join(f"  t{sm}: {{gpu: sm{sm}}}\n" for sm in (80, 86, 89, 120, 121))
    rest = rest[: rest.index("targets:")] + targets + rest[rest.index("validate:") :]
    for number in range(3):
        own = head.replace("pipeline: digits", f"pipeline: net{number}") + variants + rest
        own = own.replace("max: 64x1x8x8", f"max: {60 + number}x1x8x8")
        (project / "pipelines" / f"net{number}.yaml").write_text(own)
    return project


def environment(home: Path, more: dict[str, str]) -> dict[str, str]:
    return {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "XDG_CACHE_HOME": str(home / "cache"),
        "XDG_CONFIG_HOME": str(home / "config"),
        **more,
    }


def build(
    fleet: NetworkFleet, project: Path, home: Path, more: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    command = [*fleet.net.inside("client"), sys.executable, "-m", "trtpipe", "build", "--keep-going"]
    options = ["--executor", "dask", "--scheduler", fleet.address, *fleet.options, "--wait-for-agents", "60"]
    return subprocess.run(
        [*command, *options], cwd=project, env=environment(home, more), capture_output=True, text=True, timeout=600,
        check=False,
    )  # fmt: skip


def start_agent(fleet: NetworkFleet, name: str, *, waits: bool = True) -> None:
    fleet.agent(name, waits=waits, gpus=[GPUS[name]], **PRETENDED)


class Trouble(threading.Thread):
    """Kills agents, cuts links and restarts the scheduler, until it is told to stop."""

    def __init__(self, fleet: NetworkFleet, seed: int) -> None:
        super().__init__(daemon=True)
        self.fleet, self.random, self.over, self.done = fleet, random.Random(seed), threading.Event(), []

    def run(self) -> None:
        kinds = [f"{what} {name}" for what in ("kill", "cut") for name in GPUS] + ["cut client", "restart"]
        self.random.shuffle(kinds)
        for kind in kinds:
            if self.over.wait(self.random.uniform(2, 5)):
                return
            self.make(kind)
            self.done.append(kind)

    def make(self, kind: str) -> None:
        what, _, name = kind.partition(" ")
        if what == "kill":
            self.fleet.agents[name].kill()
            start_agent(self.fleet, name, waits=False)
        elif what == "cut":
            self.fleet.net.cut(name)
            time.sleep(self.random.uniform(1, 4))
            self.fleet.net.cut(name, up=True)
        else:
            assert self.fleet.scheduler is not None
            self.fleet.scheduler.kill()
            self.fleet.start()


@pytest.mark.parametrize("route", ["direct", "remote"])
def test_a_matrix_is_built_whatever_happens(fleet: NetworkFleet, matrix: Path, tmp_path: Path, route: str):
    more = s3(fleet, tmp_path) if route == "remote" else {}
    fleet.variables = more
    fleet.start()
    for name in GPUS:
        start_agent(fleet, name)
    fleet.agent("liar", lies=True, **PRETENDED)
    trouble = Trouble(fleet, seed=7)
    trouble.start()
    said = ""
    ends = time.monotonic() + _MOST_SECONDS
    while time.monotonic() < ends:
        done = build(fleet, matrix, tmp_path / "client", more)
        said += done.stderr
        assert "Traceback" not in done.stderr, done.stderr
        if done.returncode == 0 and not trouble.is_alive():
            break
        time.sleep(1)
    trouble.over.set()
    trouble.join()

    assert done.returncode == 0, said[-5000:]
    assert len(trouble.done) == 8
    if route == "direct":
        assert "liar" in said and "sent other bytes" in said
    assert build(fleet, matrix, tmp_path / "client", more).stdout == "nothing to do\n"
    assert_as_on_one_machine(matrix, tmp_path)


def assert_as_on_one_machine(matrix: Path, tmp_path: Path) -> None:
    import shutil

    local = tmp_path / "local"
    shutil.copytree(matrix, local, ignore=shutil.ignore_patterns("build", ".trtpipe", "trtpipe*.lock"))
    done = subprocess.run(
        [sys.executable, "-c", LOCAL, "build"], cwd=local, env=environment(tmp_path / "other", {}),
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    alone, made = ((one / "trtpipe.lock").read_text() for one in (local, matrix))
    assert PROVED.sub("", alone) == PROVED.sub("", made)
    assert set(PROVED.findall(alone)) == {"run_on_gpu: not run"}
    proofs = Counter(PROVED.findall(made))
    print(dict(proofs))  # an engine whose build was cut off just then has none
    assert all("Make-believe GPU (sm89), driver 580.95.05" in one for one in proofs if "not run" not in one)
    assert sum(count for one, count in proofs.items() if "not run" not in one) <= 12
    engines = {str(one.relative_to(local)): one.read_bytes() for one in local.glob("build/**/*.engine")}
    assert len(engines) == 60
    assert engines == {
        str(one.relative_to(matrix)): one.read_bytes() for one in matrix.glob("build/**/*.engine")
    }


def s3(fleet: NetworkFleet, folder: Path) -> dict[str, str]:
    """A server that speaks S3 on a machine of its own, and the variables by which the others reach it."""
    pytest.importorskip("moto", reason="needs moto")
    pytest.importorskip("obstore", reason="needs the extra remote")
    address = f"http://{fleet.net.machines['s3']}:5000"
    program = (
        "from moto.server import ThreadedMotoServer; import time; "
        "ThreadedMotoServer('0.0.0.0', 5000, verbose=False).start(); print('serves', flush=True); time.sleep(9999)"
    )
    server = fleet.process("s3", [sys.executable, "-c", program])
    wait_until(lambda: "serves" in server.said(), "the S3 server starts")
    put = f"import urllib.request as u; u.urlopen(u.Request('{address}/bucket', method='PUT'))"
    subprocess.run([*fleet.net.inside("client"), sys.executable, "-c", put], check=True)
    return {
        "AWS_ENDPOINT_URL": address,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
        "AWS_ALLOW_HTTP": "true",
        "TRTPIPE_REMOTE": "s3://bucket/fleet",
        "TRTPIPE_REMOTE_MODE": "read-write",
    }
