"""Running engines without a GPU: the protocol, shapes, what is refused and how, and that memory is given back.

TensorRT and CUDA are stand-ins here; `test_engines_on_a_gpu.py` holds the same runner against a real driver.
"""

from __future__ import annotations

import json
import signal
import threading
import time

import ml_dtypes
import numpy as np
import pytest

from tests.runners.engine_bench import copying, rows, tensor
from trtpipe.digests import digest_file
from trtpipe.errors import Interrupted, ModelError, SpecError, StepFailed, ToolchainError
from trtpipe.runners.inference.requests import BuiltFor, EngineRun
from trtpipe.runners.inference.tensors import StoredTensor, store_tensors
from trtpipe.runners.inference.trust import trusted_engine, vouched_by_lock
from trtpipe.toolchains.detect import detect_gpus

NOTHING_LEFT = dict.fromkeys(["stream", "event", "graph", "executable", "context", "device", "pinned"], 0)

RESIZING = {
    "tensors": [
        tensor("x", "INPUT", shape=[-1, 4]),
        tensor("size", "INPUT", "INT64", [2], host=True),
        tensor("y", "OUTPUT", "UINT8", [-1, -1]),
        tensor("shape", "OUTPUT", "INT64", [2], host=True),
    ],
    "profiles": [{"x": [[1, 4], [1, 4], [8, 4]]}],
    "values": [{"size": [[1, 1], [2, 2], [9, 9]]}],
    "ops": [
        {"op": "fill", "size": "size", "to": "y", "byte": 7},
        {"op": "shape_of", "from": "x", "to": "shape"},
    ],
}
COPY = {"op": "copy", "from": "x", "to": "y"}
COUNTING = {
    "tensors": [tensor("x", "INPUT", "UINT8", [-1]), tensor("where", "OUTPUT", "INT64", [-1])],
    "profiles": [{"x": [[0], [4], [4096]]}],
    "ops": [{"op": "nonzero", "from": "x", "to": "where"}],
}


# -- what comes out


@pytest.mark.parametrize("flavour", ["tensorrt", "tensorrt_rtx"])
def test_an_engine_is_run_and_described(bench, flavour):
    bench.flavour = flavour

    found = bench.run(copying(), {"x": rows(3)})

    assert np.array_equal(found.runs[0].outputs["y"].array(), rows(3))
    assert found.gpu.name == "Make-believe GPU"
    assert found.gpu.compute_capability == "sm89"
    assert found.engine["io"][0]["shapes"] == [[[1, 4], [2, 4], [8, 4]]]
    assert found.memory.engine == 0
    assert found.memory.contexts == 256
    assert found.memory.tensors_peak == 2 * 512
    assert bench.ledger()["left"] == NOTHING_LEFT


@pytest.mark.parametrize(
    ("dtype", "array"),
    [
        ("FLOAT", np.float32([[1.5, -2, 3, np.nan]])),
        ("HALF", np.float16([[1.5, -2, 3, np.inf]])),
        ("INT64", np.int64([[1, -(2**60), 3, 4]])),
        ("INT32", np.int32([[1, -2, 3, 4]])),
        ("INT8", np.int8([[1, -128, 3, 4]])),
        ("UINT8", np.uint8([[1, 255, 3, 4]])),
        ("BOOL", np.array([[True, False, True, True]])),
        ("BF16", np.array([[1.5, -2, 3, 4]], ml_dtypes.bfloat16)),
        ("FP8", np.array([[1.5, -2, 3, 4]], ml_dtypes.float8_e4m3fn)),
        ("E8M0", np.array([[1, 2, 0.5, 4]], ml_dtypes.float8_e8m0fnu)),
        ("FP4", np.array([[1.5, -2, 3, 6]], ml_dtypes.float4_e2m1fn)),
        ("INT4", np.array([[1, -8, 7, 4]], ml_dtypes.int4)),
    ],
)
def test_every_type_comes_back_as_it_went_in(bench, dtype, array):
    found = bench.run(copying(dtype), {"x": array}).runs[0].outputs["y"].array()

    assert found.dtype == array.dtype
    assert found.tobytes() == array.tobytes()


def test_an_odd_number_of_half_bytes(bench):
    array = np.array([1, -2, 3], ml_dtypes.int4)

    assert bench.run(copying("INT4", [3]), {"x": array}).runs[0].outputs["y"].array().tolist() == [1, -2, 3]


def test_scalars_and_tensors_without_elements(bench):
    engine = copying("FLOAT", [], profiles=[])
    assert bench.run(engine, {"x": np.float32(2)}).runs[0].outputs["y"].array() == 2

    empty = {**copying("FLOAT", [-1, 4]), "profiles": [{"x": [[0, 4], [2, 4], [8, 4]]}]}
    assert bench.run(empty, {"x": rows(0)}).runs[0].outputs["y"].array().shape == (0, 4)


def test_buffers_grow_with_shapes_and_stay(bench):
    found = bench.run(copying(), *({"x": rows(count)} for count in (1, 8, 2, 8)), iterations=2)

    assert [run.shapes["y"] for run in found.runs] == [(1, 4), (8, 4), (2, 4), (8, 4)]
    assert all(
        np.array_equal(run.outputs["y"].array(), rows(n))
        for run, n in zip(found.runs, (1, 8, 2, 8), strict=False)
    )
    assert bench.ledger()["calls"]["cuMemAllocAsync"] == 2

    wide = copying("FLOAT", [-1, 4], profiles=[{"x": [[1, 4], [2, 4], [512, 4]]}])
    found = bench.run(wide, *({"x": rows(count)} for count in (1, 512, 2)))
    assert np.array_equal(found.runs[1].outputs["y"].array(), rows(512))
    assert found.memory.tensors_peak == 2 * 512 * 16
    assert bench.ledger()["left"] == NOTHING_LEFT


def test_shape_tensors_are_read_and_written_on_the_host(bench):
    sizes = [np.int64([3, 5]), np.int64([9, 1])]

    found = bench.run(RESIZING, *({"x": rows(2), "size": size} for size in sizes))

    assert [run.shapes["y"] for run in found.runs] == [(3, 5), (9, 1)]
    assert np.array_equal(found.runs[0].outputs["y"].array(), np.full((3, 5), 7, np.uint8))
    assert found.runs[1].outputs["shape"].array().tolist() == [2, 4]


def test_an_output_whose_shape_depends_on_data(bench):
    arrays = [np.uint8([0, 1, 0, 1]), np.uint8([0] * 4), np.ones(4096, np.uint8), np.uint8([1])]

    found = bench.run(COUNTING, *({"x": array} for array in arrays), iterations=2)

    for run, array in zip(found.runs, arrays, strict=True):
        assert np.array_equal(run.outputs["where"].array(), np.flatnonzero(array))
    assert bench.ledger()["left"] == NOTHING_LEFT


def test_a_profile_is_chosen_by_shapes(bench):
    profiles = [
        {"x": [[1, 4], [1, 4], [4, 4]]},
        {"x": [[1, 4], [3, 4], [4, 4]]},
        {"x": [[5, 4], [8, 4], [8, 4]]},
    ]
    engine = copying(profiles=profiles)

    found = bench.run(engine, *({"x": rows(count)} for count in (2, 3, 6)))

    assert [run.profile for run in found.runs] == [0, 1, 2]
    assert bench.run(engine, {"x": rows(2)}, profile=1).runs[0].profile == 1


def test_several_streams_give_each_run_its_own_outputs(bench):
    found = bench.run(copying(), *({"x": rows(count)} for count in (1, 2, 3, 4, 5)), streams=3, iterations=3)

    assert [run.index for run in found.runs] == [0, 1, 2, 3, 4]
    assert all(np.array_equal(run.outputs["y"].array(), rows(run.index + 1)) for run in found.runs)
    assert bench.ledger()["left"] == NOTHING_LEFT


def test_graphs_replay_what_would_have_run(bench):
    found = bench.run(copying(), {"x": rows(3)}, graph="capture", warm_up=2)

    assert found.runs[0].graph
    assert (found.graphs.captured, found.graphs.replayed) == (1, 2)
    assert np.array_equal(found.runs[0].outputs["y"].array(), rows(3))
    assert bench.ledger()["left"] == NOTHING_LEFT


def test_a_graph_is_dropped_when_shapes_change(bench):
    found = bench.run(copying(), {"x": rows(3)}, {"x": rows(4)}, graph="capture", iterations=3)

    assert found.graphs.captured == 0
    assert [run.shapes["y"] for run in found.runs] == [(3, 4), (4, 4)]


def test_what_cannot_be_captured_runs_all_the_same(bench):
    found = bench.run(copying(not_capturable=True), {"x": rows(3)}, graph="capture", iterations=3)

    assert found.graphs.replayed == 0
    assert found.notes == (
        "ran without a CUDA graph: TensorRT says that this engine cannot be captured with these shapes",
    )
    assert np.array_equal(found.runs[0].outputs["y"].array(), rows(3))


def test_timings_are_one_row_an_execution(bench):
    found = bench.run(
        copying(), {"x": rows(3)}, {"x": rows(4)}, warm_up=1, iterations=5, timing=True, save=False
    )

    assert found.timings.microseconds.shape == (10, 5)
    assert (found.timings.column("total") >= found.timings.column("compute")).all()
    assert found.timings.executions == 10
    assert found.runs[0].outputs == {}
    assert found.runs[0].shapes == {"y": (3, 4)}


def test_times_of_an_earlier_run_in_the_folder_are_not_taken_for_this_ones(bench):
    bench.run(copying(), {"x": rows(3)}, timing=True)

    assert bench.run(copying(), {"x": rows(3)}).timings is None


def test_equal_shapes_with_other_values_of_a_shape_tensor_are_bound_again(bench):
    runs = [{"x": rows(1), "size": np.int64(size)} for size in ([2, 2], [3, 3], [2, 2])]

    found = bench.run(RESIZING, *runs, graph="capture", iterations=3)

    assert [run.shapes["y"] for run in found.runs] == [(2, 2), (3, 3), (2, 2)]
    assert all((run.outputs["y"].array() == 7).all() for run in found.runs)


def test_a_duration_goes_on_after_the_iterations(bench):
    found = bench.run(copying(), {"x": rows(1)}, duration=0.2, timing=True)

    assert found.timings.window >= 0.2e6
    assert found.timings.executions > 1


def test_the_runtime_cache_is_read_and_written(bench):
    cache = bench.folder / "runtime.cache"

    bench.run(copying(), {"x": rows(1)}, runtime_cache=(cache, cache), specialization="eager", graph="rtx")
    assert cache.read_bytes() == b"cache:+"
    bench.run(copying(), {"x": rows(1)}, runtime_cache=(cache, cache))
    assert cache.read_bytes() == b"cache:++"

    cache.write_bytes(b"of another GPU")
    found = bench.run(copying(), {"x": rows(1)}, runtime_cache=(cache, cache))
    assert found.notes[0] == f"the runtime cache {cache} was made for another GPU or version"


def test_an_engine_without_runs_is_described(bench):
    found = bench.run(copying(name="net"))

    assert found.engine["name"] == "net"
    assert [port["name"] for port in found.engine["io"]] == ["x", "y"]
    assert found.runs == ()
    assert json.loads(found.layers.read_text()) == {"Layers": ["copy"]}
    assert bench.run(copying(garbled=",")).layers is None


# -- what may not be deserialized


def test_only_an_engine_that_somebody_vouched_for_is_deserialized(bench, tmp_path):
    path = bench.write_engine(copying())
    with pytest.raises(ModelError, match=r"is in no manifest and no lockfile.*\n.*use --trust [0-9a-f]{64}"):
        trusted_engine(path, set())

    hex_digest = digest_file(path).hex
    lock = f"schema: 1\ncells:\n  a/b@c:\n    engine: {hex_digest} (12 bytes)\n"
    (tmp_path / "trtpipe.lock").write_text(lock)
    assert trusted_engine(path, vouched_by_lock(tmp_path / "trtpipe.lock")).path == path
    assert trusted_engine(path, {hex_digest}).digest.hex == hex_digest
    assert vouched_by_lock(tmp_path / "none.lock") == frozenset()


def test_an_engine_that_changed_since_it_was_trusted_is_not_deserialized(bench):
    path = bench.write_engine(copying())
    bench.on_event = lambda event: (
        event["event"] == "gpu" and path.write_text(path.read_text().replace("copy", "die "))
    )

    with pytest.raises(ModelError, match=r"is not the engine that was expected: its bytes changed"):
        bench.run_file(path, [EngineRun(store_tensors({"x": rows(1)}, bench.folder, "in"))])

    assert "loading the engine" not in [event.get("name") for event in bench.events]


@pytest.mark.parametrize(
    ("bits", "kind", "text"),
    [
        (
            2,
            ToolchainError,
            r"^the engine was built for sm86, and this GPU is Make-believe GPU \(sm89\)\n  run it on a GPU of sm86,",
        ),
        (1, ToolchainError, "^TensorRT-RTX 1.7.1.116 cannot read this engine, it was built by 1.6.1.120\n"),
        (1 | 2, ToolchainError, "cannot read this engine"),
        (
            4,
            ToolchainError,
            "^the CUDA driver here, which runs CUDA 13.0, is too old for this engine\n  update the dr",
        ),
        (8, ToolchainError, "the CUDA runtime of TensorRT-RTX 1.7.1.116 is too old"),
        (16, ToolchainError, "Make-believe GPU has too little free memory for this engine: 1073741824 bytes"),
        (32, ModelError, "^the file is damaged, or not an engine\n"),
        (64, ToolchainError, "CUDA failed while the engine was looked at"),
        (1 << 10, ToolchainError, "^TensorRT-RTX 1.7.1.116 cannot run this engine here$"),
    ],
)
def test_what_does_not_match_is_one_sentence(bench, bits, kind, text):
    with pytest.raises(kind, match=text) as caught:
        bench.run(copying(validity=bits), {"x": rows(1)}, built_for=BuiltFor(("sm86",), "1.6.1.120"))

    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("built_for", "text"),
    [
        (BuiltFor(("sm86",)), r"the engine was built for sm86, and this GPU is Make-believe GPU \(sm89\)"),
        (
            BuiltFor(("sm86",), "10.9.0.34"),
            "TensorRT 11.4.0.106 cannot read this engine, it was built by 10.9.0.34",
        ),
        (
            BuiltFor(("sm89",), "11.4.0.106"),
            "TensorRT 11.4.0.106 refused the engine: no kernel for the layer",
        ),
    ],
)
def test_without_a_validity_the_refusal_tells(bench, built_for, text):
    bench.flavour = "tensorrt"

    with pytest.raises(ToolchainError, match=text):
        bench.run(copying(refused="no kernel for the layer"), {"x": rows(1)}, built_for=built_for)


# -- what this machine lacks


@pytest.mark.parametrize(
    ("gpu", "device", "text"),
    [
        ({"driver": False}, 0, "^there is no CUDA driver here, and an engine runs on a GPU only\n"),
        ({"devices": 0}, 0, "^the CUDA driver sees no GPU\n"),
        ({"devices": 2}, 2, "^there is no GPU 2\n  choose from 0 to 1$"),
    ],
)
def test_a_machine_without_that_gpu(bench, gpu, device, text):
    bench.set_gpu(**gpu)

    with pytest.raises(ToolchainError, match=text):
        bench.run(copying(), {"x": rows(1)}, device=device)


def test_an_interpreter_without_tensorrt(bench):
    bench.site, bench.flavour = bench.site[1:], "tensorrt"

    with pytest.raises(
        ToolchainError, match=r"^cannot import tensorrt: No module named 'tensorrt'\n  install"
    ):
        bench.run(copying(), {"x": rows(1)})


def test_an_interpreter_that_is_not_there(bench, monkeypatch):
    monkeypatch.setattr("sys.executable", "/nowhere/python")

    with pytest.raises(ToolchainError, match=r"cannot start the interpreter '/nowhere/python': no such file"):
        bench.run(copying(), {"x": rows(1)})


@pytest.mark.engine
@pytest.mark.skipif(bool(detect_gpus()), reason="not run: there is a GPU, see test_engines_on_a_gpu.py")
def test_real_tensorrt_and_cuda_without_a_driver(bench):
    pytest.importorskip("tensorrt_rtx", reason="not run: needs a tensorrt_rtx wheel", exc_type=ImportError)
    from tests.runners.real_engines import add_one

    path, site = add_one(bench.folder)
    bench.site = [site]

    with pytest.raises(
        ToolchainError, match=r"^there is no CUDA driver here, and an engine runs on a GPU only\n"
    ):
        bench.run_real(path, {"x": rows(1)})


# -- what the engine does not take


@pytest.mark.parametrize(
    ("inputs", "text"),
    [
        ({"z": rows(1)}, "the engine has no input 'z'; it has 'x'; input 'x' is missing"),
        ({"x": rows(1, np.float16)}, "input 'x' is float16, the engine takes float32"),
        ({"x": np.zeros((1, 5), np.float32)}, r"input 'x' is \[1, 5\], the engine takes \[-1, 4\]"),
        ({"x": rows(9)}, "no profile takes these shapes: profile 0: 'x' is 9x4, not 1x4 to 8x4"),
        ({"x": np.zeros((1, 4), ">f2")}, "input 'x' is float16"),
    ],
)
def test_inputs_that_do_not_fit(bench, inputs, text):
    with pytest.raises(SpecError, match=text):
        bench.run(copying(), inputs)

    assert bench.ledger()["left"] == NOTHING_LEFT


def test_the_run_that_does_not_fit_is_named(bench):
    with pytest.raises(SpecError, match=r"^run 1: no profile takes these shapes"):
        bench.run(copying(), {"x": rows(1)}, {"x": rows(9)})


def test_values_of_a_shape_tensor_outside_the_profile(bench):
    with pytest.raises(SpecError, match=r"'size' holds \[3, 50\], not \[1, 1\] to \[9, 9\]"):
        bench.run(RESIZING, {"x": rows(1), "size": np.int64([3, 50])})


def test_a_profile_that_the_engine_does_not_have(bench):
    with pytest.raises(SpecError, match=r"the engine has no profile 3\n  choose from 0 to 0"):
        bench.run(copying(), {"x": rows(1)}, profile=3)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"\x93NUMPY\x01\x00\x76\x00{'descr'", "is not an .npy file"),
        (b"PK\x03\x04" + bytes(60), "is not an .npy file"),
        (b"", "is not an .npy file"),
        (b"\x93NUMPY\x01\x00\x04\x00" + b"(((\n", "is a damaged .npy file"),
        (b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + bytes(60), "is not an .npy file"),
    ],
)
def test_a_damaged_input_file(bench, data, text):
    path = bench.folder / "in.npy"
    path.write_bytes(data)

    with pytest.raises(SpecError, match=text):
        bench.run_file(
            bench.write_engine(copying()), [EngineRun({"x": StoredTensor(path, "float32", (1, 4))})]
        )


@pytest.mark.parametrize(
    ("array", "text"),
    [
        (rows(2), r"holds <f4 \[2, 4\], not float32 \[1, 4\]"),
        (rows(1).astype(">f4"), r"holds >f4 \[1, 4\], not"),
        (np.asfortranarray(rows(2)), "in Fortran's order"),
    ],
)
def test_an_input_file_that_holds_something_else(bench, array, text):
    path = bench.folder / "in.npy"
    np.save(path, array)

    with pytest.raises(SpecError, match=text):
        bench.run_file(
            bench.write_engine(copying()), [EngineRun({"x": StoredTensor(path, "float32", (1, 4))})]
        )


def test_an_input_file_that_is_too_short(bench):
    path = bench.folder / "in.bin"
    path.write_bytes(bytes(15))

    with pytest.raises(SpecError, match=r"input 'x' is float32 \[1, 4\], which is 16 bytes; .* holds 15"):
        bench.run_file(
            bench.write_engine(copying()), [EngineRun({"x": StoredTensor(path, "float32", (1, 4))})]
        )


def test_a_tensor_that_is_not_linear(bench):
    engine = copying()
    engine["tensors"][1]["format"] = "CHW32"

    with pytest.raises(ModelError, match=r"tensor 'y' has the format CHW32: only linear tensors can be run"):
        bench.run(engine, {"x": rows(1)})


def test_shapes_that_do_not_go_together(bench):
    with pytest.raises(SpecError, match=r"these shapes cannot be combined: shapes cannot be broadcast"):
        bench.run(copying(cannot_infer=True), {"x": rows(1)})


def test_only_rtx_has_what_only_rtx_has(bench):
    bench.flavour = "tensorrt"

    with pytest.raises(SpecError, match=r"only TensorRT-RTX has specialization"):
        bench.run(copying(), {"x": rows(1)}, specialization="lazy")


def test_a_plugin_library_that_cannot_be_loaded(bench):
    bench.flavour = "tensorrt"
    bench.run(copying(), {"x": rows(1)}, plugins=[bench.folder / "good.so"])

    with pytest.raises(ToolchainError, match=r"cannot load the plugin library '.*bad.so'"):
        bench.run(copying(), {"x": rows(1)}, plugins=[bench.folder / "bad.so"])


# -- what goes wrong on the way


def test_tensorrts_own_words_are_kept(bench):
    engine = copying(
        ops=[{"op": "copy", "from": "x", "to": "y"}, {"op": "refuse", "text": "the reshape is wrong"}]
    )

    with pytest.raises(
        StepFailed, match=r"^TensorRT did not run the engine: the reshape is wrong$"
    ) as caught:
        bench.run(engine, {"x": rows(1)})

    assert "the reshape is wrong" in caught.value.log
    assert bench.ledger()["left"] == NOTHING_LEFT


def test_a_launch_that_fails_ends_everything_in_one_sentence(bench):
    bench.set_gpu(fail={"cuMemcpyDtoDAsync": [2, "CUDA_ERROR_ILLEGAL_ADDRESS"]})
    engine = copying(ops=[{"op": "copy", "from": "x", "to": "x"}, {"op": "copy", "from": "x", "to": "y"}])

    with pytest.raises(StepFailed, match=r"AssertionError: cuMemcpyDtoDAsync: CUDA_ERROR_ILLEGAL_ADDRESS"):
        bench.run(engine, {"x": rows(1)})  # a binding that raises: told, whatever it is

    bench.set_gpu(fail={"cuStreamSynchronize": [1, "CUDA_ERROR_LAUNCH_FAILED"]})
    with pytest.raises(
        StepFailed,
        match=r"^the engine failed on the GPU: CUDA_ERROR_LAUNCH_FAILED \(launch failed\) from cuStream",
    ):
        bench.run(copying(), {"x": rows(1)})


@pytest.mark.parametrize(
    ("gpu", "text"),
    [
        (
            {"memory": 900},
            "^no room on the GPU for 512 bytes of output 'y': 132 of 900 are free\n  use smaller shapes",
        ),
        (
            {"fail": {"cuMemHostAlloc": [2, "CUDA_ERROR_OUT_OF_MEMORY"]}},
            "^no room in pinned memory for 512 bytes of output 'y'\n",
        ),
    ],
)
def test_no_memory_left(bench, gpu, text):
    bench.set_gpu(**gpu)

    with pytest.raises(StepFailed, match=text):
        bench.run(copying(), {"x": rows(1)})

    assert bench.ledger()["left"] == NOTHING_LEFT


def test_no_memory_for_an_output_that_grows(bench):
    engine = {**COUNTING, "ops": [{"op": "nonzero", "from": "x", "to": "where", "asks": 1 << 40}]}

    with pytest.raises(StepFailed, match=r"^no room on the GPU for 1099511627776 bytes of output 'where'"):
        bench.run(engine, {"x": np.ones(4, np.uint8)})

    assert bench.ledger()["left"] == NOTHING_LEFT


def test_no_execution_context(bench):
    with pytest.raises(
        StepFailed, match=r"TensorRT created no execution context: out of memory for activations"
    ):
        bench.run(copying(no_context=True), {"x": rows(1)})


def test_the_memory_limit(bench):
    with pytest.raises(StepFailed, match=r"output 'y' takes 512 bytes on the GPU, and 512 of 1000 are taken"):
        bench.run(copying(), {"x": rows(1)}, memory_limit=1000)


def test_an_output_that_cannot_be_written(bench):
    (bench.folder / "run0-output0.npy").mkdir()

    with pytest.raises(StepFailed, match=r"^run0-output0.npy: is a directory$"):
        bench.run(copying(), {"x": rows(1)})


def test_an_input_file_that_is_gone(bench):
    gone = StoredTensor(bench.folder / "gone.bin", "float32", (1, 4))

    with pytest.raises(SpecError, match=r"gone.bin: no such file or directory$"):
        bench.run_file(bench.write_engine(copying()), [EngineRun({"x": gone})])


def test_a_failed_capture_is_no_failure(bench):
    bench.set_gpu(fail={"cuStreamBeginCapture": [1, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED"]})

    found = bench.run(copying(), {"x": rows(3)}, graph="capture", iterations=3)

    assert "capturing failed: CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED" in found.graphs.why_not


def test_a_crash_says_where(bench):
    engine = copying(ops=[COPY, {"op": "die", "signal": int(signal.SIGSEGV)}])

    with pytest.raises(StepFailed, match=r"^the process that runs the engine died of SIGSEGV while running$"):
        bench.run(engine, {"x": rows(1)})


def test_bindings_that_raise(bench):
    with pytest.raises(StepFailed, match=r"^ValueError: the bindings broke$"):
        bench.run(copying(ops=[COPY, {"op": "throw"}]), {"x": rows(1)})


def test_the_time_limit_ends_a_run_that_hangs(bench):
    began = time.monotonic()

    with pytest.raises(StepFailed, match=r"^the time limit was reached\n  raise the time limit$"):
        bench.run(copying(ops=[COPY, {"op": "sleep", "seconds": 60}]), {"x": rows(1)}, time_limit=0.5)

    assert time.monotonic() - began < 10


def test_cancelling_stops_between_runs_and_gives_memory_back(bench):
    bench.on_event = lambda event: event.get("name") == "running" and bench.cancelled.set()

    with pytest.raises(Interrupted):
        bench.run(copying(ops=[COPY, {"op": "sleep", "seconds": 0.05}]), {"x": rows(1)}, iterations=10_000)

    assert bench.ledger()["left"] == NOTHING_LEFT


def test_killing_is_at_once(bench):
    threading.Timer(1, bench.killed.set).start()

    with pytest.raises(Interrupted):
        bench.run(copying(ops=[COPY, {"op": "sleep", "seconds": 60}]), {"x": rows(1)})


def test_everything_is_freed_in_reverse_order(bench):
    bench.run(RESIZING, {"x": rows(1), "size": np.int64([2, 2])}, streams=2, graph="capture", iterations=9)

    freed = bench.ledger()["freed"]
    assert freed[-1] == "context"
    assert freed.count("stream") == 2
    first_lane = [kind for kind in freed[: freed.index("stream") + 1] if kind != "graph"]
    on_host, on_gpu = ["pinned"], ["device", "pinned"]
    events = ["event"] * 4
    assert first_lane == ["executable", *on_host, *on_gpu, *on_host, *on_gpu, "device", *events, "stream"]
