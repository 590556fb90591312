"""`trtpipe run` and `trtpipe bench` through the real CUDA driver: bytes, times that mean what they say, clocks.

The engines are the stand-in's, with kernels that copy or spin for a known time.
"""

from __future__ import annotations

import importlib.util
import json

import numpy as np
import pytest

from tests.runners.cells import make_cell
from tests.runners.engine_bench import STAND_IN, Bench
from tests.runners.test_engines_on_a_gpu import kernels, launching  # noqa: F401 - a fixture
from trtpipe.app.engines import bench as benching
from trtpipe.app.engines.bench_request import BenchRequest
from trtpipe.app.engines.choice import ENGINE, ON_CPU, Where
from trtpipe.app.engines.inputs import FeedRequest
from trtpipe.app.engines.machine import Machine, this_machine
from trtpipe.app.engines.run import InferRequest, infer
from trtpipe.errors import ToolchainError
from trtpipe.metrics.records import read_record
from trtpipe.runners.inference.requests import Steady
from trtpipe.runners.inference.run import cuda_site
from trtpipe.toolchains.detect import detect_gpus

pytestmark = pytest.mark.skipif(not detect_gpus(), reason="not run: needs a CUDA GPU")

WIDE = [{"x": {"min": [1, 4], "opt": [1 << 20, 4], "max": [1 << 24, 4]}}]
REQUIRED = Where(require_gpu=True)


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path, [str(STAND_IN / "engines"), *cuda_site()])


@pytest.fixture
def machine(bench):
    return Machine(detect_gpus(), lambda flavour, version: bench.toolchain)


def cell(bench, engine, name="spin/fp16@here"):
    """A cell for the GPU at hand."""
    capability = detect_gpus()[0].compute_capability.sm
    return make_cell(bench.folder, engine, name, profiles=WIDE, capabilities=[capability])


def measure(bench, machine, *names, **asked):
    request = BenchRequest(
        names or ("spin/fp16@here",), REQUIRED, **{"steady": Steady(0.2, 0.02, 20), "alone": True, **asked}
    )
    found = list(benching.bench(request, print, machine, bench.folder))
    for one in found:
        assert one.error is None, one.error
    return [one.record for one in found]


def test_a_run_gives_the_kernels_bytes(bench, machine, kernels):  # noqa: F811
    cell(bench, launching(kernels, ("axpy", 3.0)))
    x = np.random.default_rng(0).standard_normal((100_000, 4), np.float32)
    np.save(bench.folder / "x.npy", x)
    asked = InferRequest(
        "spin/fp16@here",
        FeedRequest(inputs=["x=x.npy"], batch=30_000),
        REQUIRED,
        output=bench.folder / "y.npz",
    )

    found = infer(asked, machine, bench.folder)

    assert (found["subject"], len(found["runs"])) == (ENGINE, 4)
    assert found["gpu"]["name"] == detect_gpus()[0].name
    assert np.allclose(np.load(bench.folder / "y.npz")["y"], 3 * x + 1, rtol=1e-6, atol=1e-6)


def test_a_cell_for_another_gpu_is_refused_in_one_sentence_or_its_typed_model_runs(bench):
    here = detect_gpus()[0].compute_capability.sm
    other = "sm86" if here != "sm86" else "sm89"
    make_cell(bench.folder, capabilities=[other])
    why = f"the engine needs {other}, this machine has {here}"

    with pytest.raises(ToolchainError, match=f"^copy/fp16@here: {why}\n") as caught:
        infer(InferRequest("copy/fp16", FeedRequest(random=True), REQUIRED), this_machine(), bench.folder)
    assert caught.value.exit_code == 2

    found = infer(InferRequest("copy/fp16", FeedRequest(random=True)), this_machine(), bench.folder)
    assert (found["subject"], found["why_not_engine"]) == (ON_CPU, why)


def test_times_are_those_of_the_kernel_and_clocks_are_noted(bench, machine, kernels):  # noqa: F811
    folder = cell(bench, launching(kernels, ("spin", 1000.0), blocks=16))

    (record,) = measure(bench, machine)

    print(json.dumps({**record, "measurements": "…", "latency": _short(record)}, indent=1))
    compute, total = record["latency"]["compute"], record["latency"]["total"]
    assert 1000 <= compute["min_us"] <= compute["p50_us"] < 2000
    copies = record["latency"]["copies_in"]["p50_us"] + record["latency"]["copies_out"]["p50_us"]
    assert total["p50_us"] == pytest.approx(compute["p50_us"] + copies, rel=0.05)
    assert record["latency"]["host"]["p50_us"] >= total["p50_us"] * 0.98
    assert 0.5 < 1e6 / record["throughput"][0]["per_second"] / record["latency"]["host"]["p50_us"] < 2
    assert record["stable"]
    assert read_record(folder / "bench.json")["engine"] == record["engine"]
    if importlib.util.find_spec("cuda.bindings.nvml") is None:
        assert record["not_run"] == [
            "clocks, power and temperature: cuda-python has no nvml here: pip install -U cuda-python"
        ]
        return
    assert record["clocks"] is not None, record["not_run"]
    assert record["clocks"]["before"]["sm_mhz"] > 0
    assert record["clocks"]["after"]["power_w"] > 0
    assert 0 < record["clocks"]["after"]["temperature_c"] < 120


def _short(record):
    names = ("p50_us", "p99_us", "mean_us", "count")
    return {part: {name: one[name] for name in names} for part, one in record["latency"].items()}


def test_streams_overlap_copies_with_compute(bench, machine, kernels):  # noqa: F811
    cell(bench, launching(kernels, ("spin", 1000.0), blocks=16))

    (record,) = measure(bench, machine, shapes=["x=2097152x4"], streams=(1, 2, 3))

    rates = {rate["streams"]: rate["per_second"] for rate in record["throughput"]}
    print(rates)
    assert rates[2] > 1.3 * rates[1]
    assert rates[3] > rates[1]


def test_graphs_off_and_on(bench, machine, kernels):  # noqa: F811
    cell(bench, launching(kernels, *[("add_to", 0.1)] * 20))

    (record,) = measure(bench, machine, graph="both", shapes=["x=1000x4"])

    off, on = record["measurements"]
    print({one["graph"]: one["latency"]["host"]["p50_us"] for one in (off, on)})
    assert on["graphs"]["replayed"] >= on["latency"]["total"]["count"]
    assert on["latency"]["host"]["p50_us"] < off["latency"]["host"]["p50_us"]


def test_a_slower_variant_is_called_so_and_an_equal_one_is_not(bench, machine, kernels):  # noqa: F811
    cell(bench, launching(kernels, ("spin", 2000.0), blocks=16), "spin/fp32@here")
    cell(bench, launching(kernels, ("spin", 1000.0), blocks=16))
    cell(bench, launching(kernels, ("spin", 2000.0), blocks=16, name="equal"), "spin/int8@here")

    plain, *others = measure(
        bench, machine, "spin/fp16@here", "spin/int8@here", alone=False, shapes=["x=1000x4"]
    )

    assert plain["cell"] == "spin/fp32@here"
    verdicts = {
        record["cell"]: record["compared"][0]["measurements"][0]["parts"]["compute"] for record in others
    }
    print({name: one["words"] for name, one in verdicts.items()})
    assert verdicts["spin/fp16@here"]["verdict"] == "faster"
    assert verdicts["spin/fp16@here"]["ratio"] == pytest.approx(0.5, rel=0.05)
    assert verdicts["spin/int8@here"]["verdict"] == "inside the noise"


def test_an_engine_that_fails_on_the_gpu_loses_no_others_result(bench, machine, kernels):  # noqa: F811
    cell(bench, launching(kernels, ("crash", 1.0)), "a/crash@here")
    cell(bench, launching(kernels, ("axpy", 1.0)), "b/fine@here")
    request = BenchRequest(("*/*",), REQUIRED, steady=Steady(0.1, 0.1, 5), alone=True)

    found = {one.name: one for one in benching.bench(request, print, machine, bench.folder)}

    assert "CUDA_ERROR_ILLEGAL_ADDRESS" in str(found["a/crash@here"].error)
    assert found["b/fine@here"].record["subject"] == ENGINE
