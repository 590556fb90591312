"""The engine worker through its launcher: what it builds, what it says, and how it ends."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from tests import models
from trtpipe.errors import Interrupted, StepFailed, ToolchainError
from trtpipe.toolchains.engine_worker.launch import WORKER, run_worker
from trtpipe.toolchains.engine_worker.request import Timing
from trtpipe.toolchains.engine_worker.watch import Supervision
from trtpipe.toolchains.engine_worker.worker import fused_layers, plain_message, plain_reason
from trtpipe.toolchains.lookup import python_version

pytestmark = pytest.mark.engine

BATCH = {"x": {"min": [1, 16], "opt": [4, 16], "max": [8, 16]}}


def save(bench, nodes, inputs, outputs, weights=()):
    """A model of `name: (type, shape)` inputs and outputs."""
    values = [
        [helper.make_tensor_value_info(n, *facts) for n, facts in part.items()] for part in (inputs, outputs)
    ]
    graph = helper.make_graph(nodes, "g", *values, list(weights))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, bench.folder / "model.onnx")


def failure_of(bench, error=StepFailed, **changes):
    with pytest.raises(error) as caught:
        bench.run(**changes)
    assert not bench.engine.exists()
    return caught.value


# -- what it builds and says


def test_a_build_leaves_an_engine_and_says_what_it_is(bench):
    models.mlp(bench.folder / "model.onnx")

    result = bench.run(profiles=[BATCH])

    assert result["ok"]
    assert result["engine_size"] == bench.engine.stat().st_size
    assert bench.engine.read_bytes()[:4] == b"vtrt"
    assert result["io"] == [
        {
            "name": "x",
            "mode": "input",
            "dtype": "float32",
            "shape": [-1, 16],
            "shape_tensor": False,
            "dimension_names": ["N", None],
        },
        {
            "name": "y",
            "mode": "output",
            "dtype": "float32",
            "shape": [-1, 4],
            "shape_tensor": False,
            "dimension_names": [],
        },
    ]
    assert result["layer_counts"] == {
        "by_type": {"ACTIVATION": 1, "CONSTANT": 2, "MATRIX_MULTIPLY": 2},
        "by_dtype": {"float32": 5},
    }
    assert result["weights_memory"] >= (16 * 64 + 64 * 4) * 4
    assert result["peak_rss"] > 50 << 20
    assert set(result["seconds"]) == {"import", "parse", "build", "write"}
    assert not list(bench.folder.glob("*.part"))


def test_events_come_in_order_and_end_with_the_result(bench):
    models.mlp(bench.folder / "model.onnx")

    bench.run(profiles=[BATCH])

    kinds = [event["event"] for event in bench.events]
    assert kinds[0] == "start" and kinds[-1] == "result"
    own = [event["name"] for event in bench.of("phase") if event["parent"] is None and not event["steps"]]
    assert own == ["import", "parse", "build", "write"]
    assert {"log", "network", "engine"} < set(kinds)
    assert "VERBOSE" not in {event["severity"] for event in bench.of("log")}


def test_layers_before_and_after_fusion_are_written(bench):
    models.mlp(bench.folder / "model.onnx")

    bench.run(profiles=[BATCH])

    network = json.loads((bench.folder / "network.json").read_text())
    fused = json.loads((bench.folder / "layers.json").read_text())
    assert network["layers"][-1]["type"] == "MATRIX_MULTIPLY"
    assert network["layers"][-1]["outputs"] == [{"name": "y", "dtype": "float32", "shape": [-1, 4]}]
    assert 1 <= len(fused) < len(network["layers"])


def test_the_log_holds_what_tensorrt_said(bench):
    models.mlp(bench.folder / "model.onnx")

    bench.run(profiles=[BATCH])

    assert "[INFO] Engine generation completed" in (bench.folder / "build.log").read_text()


def test_a_static_network_ignores_a_profile_that_says_the_same(bench):
    models.small_cnn(bench.folder / "model.onnx")
    bench.run()
    without = bench.engine.read_bytes()

    bench.run(profiles=[{"x": {key: [1, 3, 32, 32] for key in ("min", "opt", "max")}}])

    assert bench.engine.read_bytes() == without


def test_order_and_repetition_of_compute_capabilities_do_not_matter(bench):
    models.mlp(bench.folder / "model.onnx")
    bench.run(profiles=[BATCH], compute_capabilities=["sm86", "sm120"])
    first = bench.engine.read_bytes()

    bench.run(profiles=[BATCH], compute_capabilities=["SM120", "sm86", "sm120"])

    assert bench.engine.read_bytes() == first


def test_options_reach_tensorrt(bench):
    models.mlp(bench.folder / "model.onnx")
    bench.run(profiles=[BATCH])
    plain = bench.engine.read_bytes()

    for options in ({"tf32": True}, {"weight_streaming": True}, {"profiling_verbosity": "detailed"}):
        bench.run(profiles=[BATCH], options=options)
        assert bench.engine.read_bytes() != plain, options


def test_values_of_a_shape_tensor_are_set(bench):
    inputs = {"x": (TensorProto.FLOAT, ["N", 4]), "s": (TensorProto.INT64, [2])}
    node = helper.make_node("Reshape", ["x", "s"], ["y"])
    save(bench, [node], inputs, {"y": (TensorProto.FLOAT, ["A", "B"])})
    shapes = {"min": [2, 4], "opt": [4, 4], "max": [8, 4]}
    values = {"values": {"min": [1, 8], "opt": [2, 8], "max": [4, 8]}}

    result = bench.run(profiles=[{"x": shapes, "s": values}])

    assert [one["shape_tensor"] for one in result["io"]] == [False, True, False]
    with pytest.raises(StepFailed, match="input 's' takes values"):
        bench.run(profiles=[{"x": shapes}])


def test_parse_reports_the_network_and_builds_nothing(bench):
    models.mlp(bench.folder / "model.onnx")

    result = bench.run(action="parse")

    assert [one["name"] for one in result["io"]] == ["x", "y"]
    assert not bench.engine.exists()


def test_describe_tells_what_the_toolchain_is(bench):
    result = bench.run(action="describe")

    assert {"sm75", "sm80", "sm86", "sm89", "sm120"} <= set(result["compute_capabilities"])
    assert result["python"] == python_version()
    assert result["version"].count(".") >= 2
    assert isinstance(result["cuda_driver"], bool)
    assert isinstance(result["can_switch_randomisation_off"], bool)


# -- what it refuses


@pytest.mark.parametrize(
    ("data", "fact"),
    [
        (b"", "'model.onnx' is missing or empty"),
        (b"\x00\x01\xff" * 999, "'model.onnx' holds no ONNX model: it parses to a network without outputs"),
    ],
)
def test_what_is_no_model_is_refused(bench, data, fact):
    (bench.folder / "model.onnx").write_bytes(data)

    assert failure_of(bench).problems[0].fact == fact


def test_a_truncated_model_is_refused(bench):
    path = models.mlp(bench.folder / "model.onnx")
    path.write_bytes(path.read_bytes()[:2000])

    assert "Failed to parse the ONNX model" in failure_of(bench).problems[0].fact


def test_every_unsupported_node_is_named_with_its_operator(bench):
    nodes = [
        helper.make_node("Det", ["x"], ["a"], name="det"),
        helper.make_node("Acme", ["a"], ["b"], name="acme", domain="com.acme"),
        helper.make_node("Det", ["b"], ["y"], name="last"),
    ]
    save(bench, nodes, {"x": (TensorProto.FLOAT, [2, 2])}, {"y": (TensorProto.FLOAT, [])})

    error = failure_of(bench)

    assert [problem.fact for problem in error.problems] == [
        "the parser of TensorRT refuses node 'det' (Det): it has no importer for this use of Det",
        "the parser of TensorRT refuses node 'acme' (Acme): TensorRT has neither an operator nor a plugin named Acme",
        "the parser of TensorRT refuses node 'last' (Det): it has no importer for this use of Det",
    ]
    assert ".cpp" not in str(error)


def test_a_type_that_a_target_lacks_is_a_build_error_without_source_lines(bench):
    weight = helper.make_tensor("w", TensorProto.BFLOAT16, [16, 4], [1.0] * 64)
    node = helper.make_node("MatMul", ["x", "w"], ["y"], name="mm")
    io = {"x": (TensorProto.BFLOAT16, [2, 16])}, {"y": (TensorProto.BFLOAT16, [2, 4])}
    save(bench, [node], *io, [weight])

    error = failure_of(bench, compute_capabilities=["sm75"])

    assert "sm75" in str(error).lower()
    assert ".cpp" not in str(error) and "cudaError" not in str(error)


@pytest.mark.parametrize(
    ("profile", "fact"),
    [
        ({}, "profile 0: input 'x' is dynamic and has no shapes"),
        ({**BATCH, "z": BATCH["x"]}, "profile 0: the model has no input 'z'; it has x"),
        (
            {"x": {"min": [1, 8], "opt": [2, 8], "max": [4, 8]}},
            "profile 0: input 'x' is [-1, 16]: [8, 8, 8] is wrong in dimension 1",
        ),
        (
            {"x": {"min": [4, 16], "opt": [2, 16], "max": [8, 16]}},
            "profile 0: input 'x' is [-1, 16]: [4, 2, 8] is wrong in dimension 0",
        ),
        (
            {"x": {"min": [1], "opt": [2], "max": [4]}},
            "profile 0: input 'x' is [-1, 16]: min, opt and max need 2 dimensions",
        ),
        ({"x": BATCH["x"] | {"values": BATCH["x"]}}, "profile 0: input 'x' takes no values"),
    ],
)
def test_profiles_that_do_not_fit_are_refused(bench, profile, fact):
    models.mlp(bench.folder / "model.onnx")

    assert [problem.fact for problem in failure_of(bench, profiles=[profile]).problems] == [fact]


def test_a_dynamic_model_without_profiles_is_refused(bench):
    models.mlp(bench.folder / "model.onnx")

    assert failure_of(bench).problems[0].fact == "the model has dynamic inputs ('x') and no profile"


@pytest.mark.parametrize(
    ("changes", "fact"),
    [
        ({"compute_capabilities": []}, "TensorRT-RTX needs the compute capabilities named"),
        ({"compute_capabilities": ["sm90"]}, "unknown compute capability 'sm90'"),
        (
            {"compatibility": {"hardware_compatibility": "ampere_plus"}},
            "tensorrt_rtx has no option 'hardware_compatibility'",
        ),
        ({"compatibility": {"version_compatible": True}}, "tensorrt_rtx has no option 'version_compatible'"),
        ({"plugins": ["libx.so"]}, "TensorRT-RTX has no plugins"),
        ({"timing": Timing("cache", (), {})}, "TensorRT-RTX has no timing_cache"),
        ({"network_name": ""}, "the network needs a name"),
        (
            {"options": {"tactic_shared_memory": 1 << 40}},
            "TensorRT refused 1099511627776 bytes for TACTIC_SHARED_MEMORY",
        ),
    ],
)
def test_what_the_flavour_lacks_is_refused(bench, changes, fact):
    models.small_cnn(bench.folder / "model.onnx")

    assert failure_of(bench, **changes).problems[0].fact == fact


def test_a_missing_tensorrt_is_a_toolchain_error(bench):
    models.small_cnn(bench.folder / "model.onnx")

    error = failure_of(bench, ToolchainError, site=[])

    assert error.problems[0].fact == "cannot import tensorrt_rtx: No module named 'tensorrt_rtx'"


def test_a_missing_interpreter_is_a_toolchain_error(bench):
    with pytest.raises(ToolchainError, match="cannot start the interpreter '/no/python'"):
        run_worker(["/no/python"], bench.request(), bench.folder, Supervision(print))


# -- how it ends


def signal_when(bench, phase, number):
    """Send the worker a signal as soon as it says that it is in a phase."""

    def on_event(event):
        if event["event"] == "phase" and event["name"] == phase:
            os.kill(bench.of("start")[0]["pid"], number)

    bench.on_event = on_event


def test_a_crash_names_the_signal_and_the_phase(bench):
    models.resnet50_like(bench.folder / "model.onnx", width=0.25, dynamic_batch=False)
    signal_when(bench, "build", signal.SIGSEGV)

    error = failure_of(bench)

    assert error.problems[0].fact.startswith("TensorRT died of SIGSEGV while ")
    assert "Input filename" in error.log


def test_a_killed_worker_may_have_run_out_of_memory(bench):
    models.resnet50_like(bench.folder / "model.onnx", width=0.25, dynamic_batch=False)
    signal_when(bench, "build", signal.SIGKILL)

    error = failure_of(bench)

    assert error.problems[0].fact.startswith("TensorRT died of SIGKILL while ")
    assert error.problems[0].details == "it may have run out of memory"


def test_roi_align_ends_in_an_error_and_not_in_a_crash_of_ours(bench):
    inputs = {
        "x": (TensorProto.FLOAT, [1, 4, 16, 16]),
        "rois": (TensorProto.FLOAT, [2, 4]),
        "batch": (TensorProto.INT64, [2]),
    }
    node = helper.make_node("RoiAlign", list(inputs), ["y"], name="roi", output_height=2, output_width=2)
    save(bench, [node], inputs, {"y": (TensorProto.FLOAT, [2, 4, 2, 2])})

    assert failure_of(bench).problems[0].fact


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_during_the_build_cancels_it(bench, number):
    models.resnet50_like(bench.folder / "model.onnx", width=0.25, dynamic_batch=False)
    signal_when(bench, "build", number)

    failure_of(bench, Interrupted)

    assert bench.of("error")[0]["kind"] == "cancelled"


def test_cancelling_stops_the_build(bench):
    models.resnet50_like(bench.folder / "model.onnx", width=0.25, dynamic_batch=False)
    bench.on_event = lambda event: bench.cancelled.set() if event.get("name") == "build" else None

    failure_of(bench, Interrupted)

    assert bench.cancelled.is_set(), "the build began"


def test_killing_leaves_no_process(bench):
    models.resnet50_like(bench.folder / "model.onnx", width=0.25, dynamic_batch=False)
    bench.on_event = lambda event: bench.killed.set() if event.get("name") == "build" else None

    failure_of(bench, Interrupted)

    with pytest.raises(ProcessLookupError):
        os.kill(bench.of("start")[0]["pid"], 0)


def test_a_time_limit_ends_the_build(bench):
    models.resnet50_like(bench.folder / "model.onnx", width=0.25, dynamic_batch=False)

    error = failure_of(bench, options={"time_limit": 0.01})

    assert error.problems[0].fact == "the time limit was reached"


def test_a_memory_limit_ends_the_build(bench):
    models.resnet50_like(bench.folder / "model.onnx", width=0.25, dynamic_batch=False)

    error = failure_of(bench, options={"memory_limit": 10 << 20})

    assert "more than the limit of 10485760" in error.problems[0].fact


def test_a_worker_that_hangs_is_killed_after_its_grace(bench, monkeypatch):
    hanging = bench.folder / "hanging.py"
    hanging.write_text("import signal, time\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\ntime.sleep(600)\n")
    monkeypatch.setattr("trtpipe.toolchains.engine_worker.launch.WORKER", hanging)
    monkeypatch.setattr("trtpipe.toolchains.engine_worker.watch.GRACE_SECONDS", 0.1)

    error = failure_of(bench, options={"time_limit": 0.1})

    assert error.problems[0].fact == "TensorRT took longer than the time limit while starting"


def test_a_worker_deaf_to_interrupts_is_killed_after_its_grace(bench, monkeypatch):
    hanging = bench.folder / "hanging.py"
    hanging.write_text("import signal, time\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\ntime.sleep(600)\n")
    monkeypatch.setattr("trtpipe.toolchains.engine_worker.launch.WORKER", hanging)
    monkeypatch.setattr("trtpipe.toolchains.engine_worker.watch.GRACE_SECONDS", 0.1)
    bench.cancelled.set()
    began = time.monotonic()

    failure_of(bench, Interrupted)

    assert time.monotonic() - began < 60, "it would sleep for ten minutes"


def test_garbage_instead_of_events_is_survived(bench, monkeypatch):
    babbling = bench.folder / "babbling.py"
    babbling.write_text(
        "import sys\nsys.stdout.buffer.write(b'\\xff{]\\n[1]\\nnull\\n' * 1000)\nsys.exit(7)\n"
    )
    monkeypatch.setattr("trtpipe.toolchains.engine_worker.launch.WORKER", babbling)

    assert failure_of(bench).problems[0].fact == "the engine worker ended with code 7 while starting"


@pytest.mark.parametrize("stream_from", ["512 * MIB", "0"])
def test_an_engine_that_cannot_be_written_whole_is_no_engine(bench, monkeypatch, stream_from):
    models.small_cnn(bench.folder / "model.onnx")
    limited = bench.folder / "limited.py"  # a file size limit stands for a full disk
    source = WORKER.read_text().replace("STREAM_FROM = 512 * MIB", f"STREAM_FROM = {stream_from}")
    limit = "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
    limited.write_text(source.replace("import importlib\n", f"import importlib\n{limit}"))
    monkeypatch.setattr("trtpipe.toolchains.engine_worker.launch.WORKER", limited)

    assert failure_of(bench).problems[0].fact == "cannot write the engine: file too large"


def test_streamed_and_buffered_engines_are_the_same(bench, monkeypatch):
    models.small_cnn(bench.folder / "model.onnx")
    bench.run()
    buffered = bench.engine.read_bytes()
    streaming = bench.folder / "streaming.py"
    streaming.write_text(WORKER.read_text().replace("STREAM_FROM = 512 * MIB", "STREAM_FROM = 0"))
    monkeypatch.setattr("trtpipe.toolchains.engine_worker.launch.WORKER", streaming)

    bench.run()

    assert bench.engine.read_bytes() == buffered


def test_the_worker_dies_with_its_parent(bench):
    models.resnet50_like(bench.folder / "model.onnx", width=0.25, dynamic_batch=False)
    script = (
        "import pickle, sys, os; from pathlib import Path\n"
        "from trtpipe.plan.worker_messages import WorkerPhase, WorkerStart\n"
        "from trtpipe.toolchains.engine_worker.launch import run_worker\n"
        "from trtpipe.toolchains.engine_worker.watch import Supervision\n"
        "def heard(message):\n"
        "    if isinstance(message, WorkerStart): print(message.pid, flush=True)\n"
        "    if isinstance(message, WorkerPhase) and message.name == 'build': os._exit(0)\n"
        "request = pickle.loads(bytes.fromhex(sys.argv[1]))\n"
        "run_worker([sys.executable], request, Path(sys.argv[2]), Supervision(heard))\n"
    )
    command = [sys.executable, "-c", script, pickle.dumps(bench.request()).hex(), str(bench.folder)]
    environment = {**os.environ, "PYTHONPATH": str(WORKER.parents[3])}

    answer = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60)

    assert gone_within(int(answer.stdout), 10)
    assert not bench.engine.exists()


def gone_within(pid, seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.02)
    return False


# -- words


@pytest.mark.parametrize(
    "text",
    [
        "IBuilder::buildSerializedNetwork: Error Code 4: API Usage Error (It is bad. In check at /src/a.cpp:12)",
        "[pass.cpp:1500: run_passes] It is bad.",
        "[a.cpp::check::12] Error Code 4: Internal Error (It is bad.)",
        "It is bad.",
    ],
)
def test_messages_lose_their_wrapping(text):
    assert plain_message(text) == "It is bad."


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("false", "TensorRT's parser has no importer for this use of Det"),
        ('creator && "Plugin not found"', "TensorRT has neither an operator nor a plugin named Det"),
        ("Assertion failed: (a(b)): Node input was not registered.", "Node input was not registered."),
        ("Failed to convert", "Failed to convert"),
    ],
)
def test_parser_reasons_are_sentences(text, reason):
    assert plain_reason(text, "Det") == reason


def test_fused_layers_are_read_from_the_verbose_table():
    text = "Engine Layer Information:\nLayer(Myelin): {A...B}, Tactic: 0x0, x (Float[1]) -> y (Float[1]), z (Half[2])"

    assert fused_layers(text) == [
        {
            "name": "{A...B}",
            "type": "Myelin",
            "tactic": "0x0",
            "inputs": "x (Float[1])",
            "outputs": "y (Float[1]), z (Half[2])",
        }
    ]
