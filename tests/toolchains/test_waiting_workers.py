"""Workers that import TensorRT before there is a request: what comes of them is what a new worker would make."""

from __future__ import annotations

import sys
import time

import pytest

from tests import models
from tests.worker_requests import worker_request
from trtpipe.digests import digest_file
from trtpipe.toolchains.engine_worker import launch
from trtpipe.toolchains.engine_worker.launch import expect_worker, run_worker
from trtpipe.toolchains.engine_worker.waiting_workers import WAITING_WORKERS, Wanted
from trtpipe.toolchains.engine_worker.watch import Supervision

pytestmark = pytest.mark.engine
PYTHON = [sys.executable]
SHAPES = {"min": [1, 3, 224, 224], "opt": [4, 3, 224, 224], "max": [8, 3, 224, 224]}


@pytest.fixture
def site(rtx_site):
    return (rtx_site,)


@pytest.fixture(autouse=True)
def none_left():
    yield
    WAITING_WORKERS.dismiss()


@pytest.fixture
def started(monkeypatch):
    """The processes that are started for requests, as opposed to those that waited."""
    made = []
    start = launch._start

    def counted(*arguments):
        made.append(start(*arguments))
        return made[-1]

    monkeypatch.setattr(launch, "_start", counted)
    return made


def request(site, action="build"):
    profiles = [{"x": SHAPES}]
    return worker_request(site, network_name="net", profiles=profiles, action=action)


def expect(site, action="build"):
    expect_worker(PYTHON, "tensorrt_rtx", action, site)


def test_a_waiting_worker_builds_the_same_bytes(site, tmp_path, started):
    models.resnet50_like(tmp_path / "model.onnx", width=0.25)

    def build():
        facts = run_worker(PYTHON, request(site), tmp_path, Supervision()).facts
        return digest_file(tmp_path / "model.engine"), facts["addresses"]

    new = build()
    expect(site)
    waited = build()
    expect(site)
    time.sleep(1)  # this one is ready long before it is asked
    ready = build()

    assert new == waited == ready
    assert len(started) == 1


def test_a_waiting_worker_parses_the_same_network(site, tmp_path, started):
    models.small_cnn(tmp_path / "model.onnx", dynamic_batch=True)
    made = []
    for _ in range(2):
        run_worker(PYTHON, request(site, "parse"), tmp_path, Supervision())
        made.append(
            [(tmp_path / name).read_bytes() for name in ("parsed.json", "parsed.weights", "network.json")]
        )
        expect(site, "parse")

    assert made[0] == made[1]
    assert len(started) == 1, "the second one waited"


def test_one_that_has_died_or_is_for_something_else_is_not_used(site, tmp_path, started):
    models.small_cnn(tmp_path / "model.onnx")
    expect(site, "parse")
    expect(site)
    for _, child in WAITING_WORKERS._waiting[1:]:
        child.kill()
        child.wait()

    run_worker(PYTHON, worker_request(site), tmp_path, Supervision())

    assert len(started) == 1
    assert [wanted.action for wanted, _ in WAITING_WORKERS._waiting] == ["parse"]


def test_those_that_were_not_needed_end(site):
    expect(site)
    ((_, child),) = WAITING_WORKERS._waiting

    WAITING_WORKERS.dismiss()

    assert child.poll() is not None


def test_one_ends_by_itself_when_nobody_can_ask_any_more(site):
    expect(site)
    ((_, child),) = WAITING_WORKERS._waiting
    assert child.stdin is not None

    child.stdin.close()

    assert child.wait(60) == 0


def test_an_interpreter_that_cannot_be_started_is_reported_when_it_is_needed(tmp_path):
    expect_worker(["/nonexistent"], "tensorrt_rtx", "build", ())

    assert (
        WAITING_WORKERS.take(Wanted.of(["/nonexistent"], "tensorrt_rtx", "build", (), {}), tmp_path) is None
    )
