"""Running engines on a real GPU: bytes, memory, overlap, graphs and errors, with CUDA's own driver.

The engines are a stand-in's, which has TensorRT's interface and launches real copies and kernels on the addresses and
streams that it is given; real ones of TensorRT-RTX are only refused where the GPU is not theirs.
"""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from tests.runners.engine_bench import STAND_IN, Bench, copying, rows, tensor
from tests.runners.gpu_kernels import compiled_kernels
from trtpipe.errors import Interrupted, StepFailed, ToolchainError
from trtpipe.runners.inference.run import cuda_site
from trtpipe.toolchains.detect import detect_gpus

pytestmark = pytest.mark.skipif(not detect_gpus(), reason="not run: needs a CUDA GPU")

TYPES = {
    "FLOAT": np.float32,
    "HALF": np.float16,
    "INT64": np.int64,
    "INT32": np.int32,
    "INT8": np.int8,
    "UINT8": np.uint8,
    "BOOL": np.bool_,
    "BF16": ml_dtypes.bfloat16,
    "FP8": ml_dtypes.float8_e4m3fn,
    "E8M0": ml_dtypes.float8_e8m0fnu,
    "FP4": ml_dtypes.float4_e2m1fn,
    "INT4": ml_dtypes.int4,
}
CODE_BYTES = 4 << 20
"""What CUDA keeps for the code of kernels until its context goes."""

WIDE = [{"x": [[1, 4], [2, 4], [1 << 24, 4]]}]


@pytest.fixture(scope="module")
def kernels(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The kernels, compiled for the GPU at hand."""
    return compiled_kernels(tmp_path_factory.mktemp("kernels"))


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """Stand-in engines with the real driver."""
    return Bench(tmp_path, [str(STAND_IN / "engines"), *cuda_site()])


def launching(kernels: str, *ops: tuple[str, float], blocks: int | None = None, **more) -> dict:
    """An engine of kernels from x to y."""
    return copying(
        profiles=WIDE,
        kernels=kernels,
        ops=[
            {"op": "launch", "kernel": kernel, "from": "x", "to": "y", "number": number, "blocks": blocks}
            for kernel, number in ops
        ],
        **more,
    )


def random_rows(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, 4), dtype=np.float32)


@pytest.mark.parametrize("dtype", TYPES)
def test_every_type_and_dynamic_shape_comes_back_as_it_went_in(bench, dtype):
    kind = np.dtype(TYPES[dtype])
    low = 4 if dtype in ("INT4", "FP4") else 8
    random = np.random.default_rng(1)
    arrays = []
    for count in (1, 3, 1000, 2, 200_000):
        raw = random.integers(0, 2 if dtype == "BOOL" else 1 << low, (count, 4 * kind.itemsize), np.uint8)
        arrays.append(raw.view(kind))

    found = bench.run(copying(dtype, profiles=WIDE), *({"x": array} for array in arrays), streams=2)

    for run, array in zip(found.runs, arrays, strict=True):
        back = run.outputs["y"].array()
        assert (back.shape, back.dtype) == (array.shape, array.dtype)
        assert back.tobytes() == array.tobytes()
    assert found.memory.tensors_left == 0


def test_kernels_compute_on_the_addresses_they_are_given(bench, kernels):
    arrays = [random_rows(count, count) for count in (1, 50_000, 7)]

    found = bench.run(launching(kernels, ("axpy", 3.0), ("add_to", 2.0)), *({"x": array} for array in arrays))

    for run, array in zip(found.runs, arrays, strict=True):
        assert np.allclose(run.outputs["y"].array(), 5 * array + 1, rtol=1e-6, atol=1e-6)
    assert found.gpu.memory_total > 1 << 30


def test_shape_tensors(bench):
    engine = {
        "tensors": [
            tensor("size", "INPUT", "INT64", [2], host=True),
            tensor("y", "OUTPUT", "UINT8", [-1, -1]),
            tensor("shape", "OUTPUT", "INT64", [1], host=True),
        ],
        "values": [{"size": [[1, 1], [2, 2], [4096, 4096]]}],
        "ops": [
            {"op": "fill", "size": "size", "to": "y", "byte": 7},
            {"op": "shape_of", "from": "size", "to": "shape"},
        ],
    }

    found = bench.run(engine, *({"size": np.int64(size)} for size in ([3, 5], [4000, 1000], [1, 2])))

    assert [run.shapes["y"] for run in found.runs] == [(3, 5), (4000, 1000), (1, 2)]
    assert all((run.outputs["y"].array() == 7).all() for run in found.runs)
    assert found.runs[0].outputs["shape"].array().tolist() == [2]


def counting(**more):
    return {
        "tensors": [tensor("x", "INPUT", "UINT8", [-1]), tensor("where", "OUTPUT", "INT64", [-1])],
        "profiles": [{"x": [[0], [4], [1 << 20]]}],
        "ops": [{"op": "nonzero", "from": "x", "to": "where", **more}],
    }


def test_outputs_whose_shapes_depend_on_data(bench):
    random = np.random.default_rng(2)
    arrays = [random.integers(0, 2, count, np.uint8) for count in (4, 100_000, 0, 9)]

    found = bench.run(counting(), *({"x": array} for array in arrays), streams=2, iterations=3)

    for run, array in zip(found.runs, arrays, strict=True):
        assert np.array_equal(run.outputs["where"].array(), np.flatnonzero(array))


def test_graph_replay_equals_plain_runs(bench, kernels):
    engine = launching(kernels, ("axpy", 3.0), ("add_to", 0.1), ("add_to", 0.7))
    array = random_rows(100_000)

    plain = bench.run(engine, {"x": array}).runs[0].outputs["y"].array().tobytes()
    found = bench.run(engine, {"x": array}, graph="capture", warm_up=3, iterations=50, streams=2)

    assert found.runs[0].graph
    assert found.graphs.captured == 2
    assert found.graphs.replayed >= 48
    assert found.runs[0].outputs["y"].array().tobytes() == plain


def test_what_waits_for_its_stream_cannot_be_captured_and_runs_all_the_same(bench, kernels):
    engine = launching(kernels, ("axpy", 3.0))
    engine["ops"].append({"op": "synchronize"})

    found = bench.run(engine, {"x": rows(2)}, graph="capture", warm_up=3)

    assert (
        "capturing failed: TensorRT did not run the engine: cannot wait: CUDA_ERROR" in found.graphs.why_not
    )
    assert np.array_equal(found.runs[0].outputs["y"].array(), 3 * rows(2) + 1)


@pytest.mark.parametrize(("graph", "counts"), [("off", (10, 20_000, 300, 5000)), ("capture", (5000,))])
def test_ten_thousand_runs_leak_nothing(bench, kernels, graph, counts):
    arrays = [random_rows(count, count) for count in counts]

    found = bench.run(
        launching(kernels, ("axpy", 3.0)),
        *({"x": array} for array in arrays),
        iterations=10_000 // len(counts),
        streams=3,
        graph=graph,
        save=False,
        timing=True,
        time_limit=200,
    )

    print(f"\n10,000 runs, graph {graph}: {found.timings.window / 1e4:.1f} us each; {found.memory}")
    assert found.timings.executions == 10_000
    assert found.memory.gpu_free_middle == found.memory.gpu_free_last
    assert found.memory.host_last - found.memory.host_middle < 1 << 20
    assert found.memory.tensors_left == 0
    assert found.memory.gpu_free_before - found.memory.gpu_free_after <= CODE_BYTES
    assert found.graphs.replayed == (9_997 if graph == "capture" else 0)


def test_ten_thousand_outputs_of_their_own_shape_leak_nothing(bench):
    found = bench.run(
        counting(),
        *({"x": np.ones(count, np.uint8)} for count in (1, 10, 1000, 5)),
        iterations=2500,
        save=False,
        time_limit=200,
    )

    assert found.memory.gpu_free_middle == found.memory.gpu_free_last
    assert found.memory.host_last - found.memory.host_middle < 1 << 20


def test_copies_and_compute_of_two_streams_overlap(bench, kernels):
    engine = launching(kernels, ("spin", 2000.0), blocks=16)
    array = random_rows(1 << 21)  # 32 MiB each way

    windows = {}
    for streams in (1, 2, 3):
        found = bench.run(
            engine, {"x": array}, streams=streams, warm_up=2, iterations=200, timing=True, save=streams == 2
        )
        windows[streams] = found.timings.window_after_first / (found.timings.executions - 1)
        parts = {
            name: round(float(np.median(found.timings.column(name))), 1) for name in ("copies_in", "compute")
        }
        parts["copies_out"] = round(float(np.median(found.timings.column("copies_out"))), 1)
        print(f"\n{streams} streams: {windows[streams]:.1f} us a run; medians {parts}")
        if streams == 1:
            assert 2000 <= np.median(found.timings.column("compute")) < 4000
        if streams == 2:
            assert np.array_equal(found.runs[0].outputs["y"].array(), array)

    assert windows[2] < 0.75 * windows[1]


# -- errors


def test_a_kernel_that_writes_where_it_may_not(bench, kernels):
    with pytest.raises(
        StepFailed,
        match=r"^the engine failed on the GPU: CUDA_ERROR_ILLEGAL_ADDRESS \(.*\) from cuStreamSynchronize$",
    ):
        bench.run(launching(kernels, ("crash", 1.0)), {"x": rows(1)})


def test_no_room_for_a_tensor(bench):
    with pytest.raises(
        StepFailed, match=r"^no room on the GPU for \d+ bytes of output 'where': \d+ of \d+ are free\n"
    ):
        bench.run(counting(asks=1 << 42), {"x": np.ones(4, np.uint8)})


def test_a_gpu_that_is_not_there(bench):
    with pytest.raises(ToolchainError, match="there is no GPU 99\n  choose from 0 to "):
        bench.run(copying(), {"x": rows(1)}, device=99)


def test_a_kernel_that_hangs_meets_the_time_limit(bench, kernels):
    began = time.monotonic()

    with pytest.raises(StepFailed, match="the time limit was reached"):
        bench.run(launching(kernels, ("spin", 15e6)), {"x": rows(1)}, time_limit=3)

    assert time.monotonic() - began < 14


def test_cancelling_between_runs(bench, kernels):
    bench.on_event = lambda event: (
        event.get("name") == "running" and threading.Timer(0.3, bench.cancelled.set).start()
    )

    with pytest.raises(Interrupted):
        bench.run(launching(kernels, ("spin", 1000.0)), {"x": rows(1)}, iterations=100_000)


# -- real engines


@pytest.mark.engine
def test_an_engine_of_tensorrt_rtx_for_another_gpu_is_refused_in_one_sentence(bench):
    pytest.importorskip("tensorrt_rtx", reason="not run: needs a tensorrt_rtx wheel", exc_type=ImportError)
    from tests.runners.real_engines import BUILT_FOR, add_one

    if detect_gpus()[0].compute_capability.sm in BUILT_FOR:
        pytest.skip("not run: this GPU is one of those that the engine is for")
    path, site = add_one(bench.folder)
    bench.site = [site, *cuda_site()]

    with pytest.raises(ToolchainError) as caught:
        bench.run_real(path, {"x": rows(2)})

    print(f"\n{caught.value}", file=sys.stderr)
    gpu = detect_gpus()[0]
    assert str(caught.value).splitlines()[0] == (
        f"the engine was built for {', '.join(BUILT_FOR)}, and this GPU is {gpu.name} ({gpu.compute_capability.sm})"
    )
    assert caught.value.exit_code == 2


@pytest.mark.engine
def test_a_real_engine_adds_one(bench):
    pytest.importorskip("tensorrt_rtx", reason="not run: needs a tensorrt_rtx wheel", exc_type=ImportError)
    from tests.runners.real_engines import BUILT_FOR, add_one

    if detect_gpus()[0].compute_capability.sm not in BUILT_FOR:
        pytest.skip(f"not run: needs a GPU of {', '.join(BUILT_FOR)}")
    path, site = add_one(bench.folder)
    bench.site = [site, *cuda_site()]

    found = bench.run_real(path, {"x": rows(2)}, {"x": rows(7)})

    assert [
        np.array_equal(run.outputs["y"].array(), rows(n) + 1)
        for run, n in zip(found.runs, (2, 7), strict=True)
    ]
