"""`trtpipe bench` without a GPU: stand-in engines with a stand-in for CUDA, and typed models on the CPU.

What is proved here is what is measured, counted, compared, kept and said; that times are a GPU's,
`test_benchmarks_on_a_gpu.py` proves.
"""

from __future__ import annotations

import json
import os
import types

import numpy as np
import pytest

from tests.runners.cells import PROFILES, make_cell, with_gpu, without_gpu
from tests.runners.engine_bench import copying
from trtpipe.app.engines import bench as benching
from trtpipe.app.engines.bench_request import BenchRequest, graph_called, parsed_streams, steady_for
from trtpipe.app.engines.choice import ENGINE, ON_CPU, Where
from trtpipe.digests import digest_file
from trtpipe.errors import ModelError, SpecError
from trtpipe.metrics.records import read_record
from trtpipe.runners.benchmarks.gpu_state import Unknown, gpu_state
from trtpipe.runners.inference.requests import Steady
from trtpipe.toolchains.header import EngineHeader

CELL = "copy/fp16@here"
QUICK = Steady(window=0.005, within=0.5, limit=2.0)
UNSTEADY = Steady(window=0.005, within=1e-9, limit=0.1)


@pytest.fixture
def project(bench):
    root = bench.folder / "project"
    make_cell(root)
    return root


def measure(machine, root, *what, said=None, **asked):
    """The results of a benchmark of some cells, by name."""
    request = BenchRequest(what or (CELL,), **{"steady": QUICK, "warm_up": 2, "alone": True, **asked})
    heard = said if said is not None else []
    return {one.name: one for one in benching.bench(request, heard.append, machine, root)}


def one(machine, root, **asked):
    found = measure(machine, root, **asked)[CELL]
    assert found.error is None, found.error
    return found


# -- what is measured


def test_an_engine_is_measured_in_all_its_parts(bench, project):
    found = one(with_gpu(bench), project, streams=(1, 2, 4))

    record = found.record
    assert (record["subject"], record["cell"]) == (ENGINE, CELL)
    assert record["engine"] == digest_file(project / "build" / CELL / "model.engine").hex
    assert record["machine"]["gpu"]["name"] == "Make-believe GPU"
    assert record["tensorrt"] == "1.7.1.116"
    assert record["shapes"] == {"x": [2, 4]}
    assert set(record["latency"]) == {"compute", "copies_in", "copies_out", "total", "host"}
    for part, summary in record["latency"].items():
        assert summary["count"] >= 30, part
        assert summary["p50_us"] <= record["latency"]["host"]["p99_us"]
        assert sum(summary["histogram"]["counts"]) == summary["count"]
    assert [rate["streams"] for rate in record["throughput"]] == [1, 2, 4]
    assert all(rate["per_second"] > 0 for rate in record["throughput"])
    assert record["how"]["inputs"] == "random, seed 0"


def test_the_result_lies_beside_the_engine_as_it_was_told(bench, project):
    found = one(with_gpu(bench), project)

    path = project / "build" / CELL / "bench.json"
    assert found.saved == path
    assert read_record(path) == json.loads(json.dumps(found.record))
    assert not [left for left in path.parent.iterdir() if left.name.startswith(".")]


def test_only_the_windows_that_agree_count(bench, project):
    record = one(with_gpu(bench), project).record

    (measurement,) = record["measurements"]
    assert measurement["stable"]
    last = measurement["windows"][-3:]
    assert record["latency"]["total"]["count"] == sum(window["executions"] for window in last)


def test_what_does_not_settle_says_so_and_counts_everything(bench, project):
    record = one(with_gpu(bench), project, steady=UNSTEADY).record

    assert record["stable"] is False
    windows = record["measurements"][0]["windows"]
    assert record["latency"]["total"]["count"] >= sum(window["executions"] for window in windows)


def test_each_profile_is_measured_at_its_opt(bench, project):
    wide = {"x": {"min": [16, 4], "opt": [32, 4], "max": [64, 4]}}
    ranges = [{"x": [[1, 4], [2, 4], [8, 4]]}, {"x": [[16, 4], [32, 4], [64, 4]]}]
    make_cell(project, copying(profiles=ranges), "two/fp16@here", profiles=[*PROFILES, wide])

    def shapes(**asked):
        found = measure(with_gpu(bench), project, "two/fp16@here", **asked)["two/fp16@here"]
        assert found.error is None, found.error
        return [(each["profile"], each["shapes"]["x"]) for each in found.record["measurements"]]

    assert shapes() == [(0, [2, 4]), (1, [32, 4])]
    assert shapes(profile=1) == [(1, [32, 4])]
    assert shapes(shapes=["x=17x4"]) == [(1, [17, 4])]
    error = measure(with_gpu(bench), project, "two/fp16@here", shapes=["x=9x4"])["two/fp16@here"].error
    assert "no profile takes these shapes" in str(error)
    error = measure(with_gpu(bench), project, "two/fp16@here", profile=2)["two/fp16@here"].error
    assert str(error) == "there is no profile 2\n  choose from 0 to 1"


def test_with_a_graph_and_without(bench, project):
    record = one(with_gpu(bench), project, graph="both").record

    off, on = record["measurements"]
    assert (off["graph"], on["graph"]) == ("off", "capture")
    assert off["graphs"] == {"captured": 0, "replayed": 0, "why_not": ""}
    assert on["graphs"]["captured"] == 1
    assert on["graphs"]["replayed"] >= on["latency"]["total"]["count"]
    assert record["latency"] == off["latency"]


def test_an_engine_that_cannot_be_captured_says_why(bench, project):
    make_cell(project, copying(not_capturable=True), "stiff/fp16@here")

    found = measure(with_gpu(bench), project, "stiff/fp16@here", graph="on")["stiff/fp16@here"]

    (measurement,) = found.record["measurements"]
    assert "cannot be captured" in measurement["graphs"]["why_not"]
    assert measurement["graphs"]["replayed"] == 0


# -- without the GPU


@pytest.mark.parametrize(
    ("machine", "where", "why"),
    [
        (without_gpu, Where(), "the engine: needs sm89, this machine has no GPU"),
        (with_gpu, Where(cpu=True, threads=1), "the engine: --cpu requests the typed model"),
    ],
)
def test_elsewhere_the_typed_model_is_measured_and_every_result_says_so(bench, project, machine, where, why):
    record = one(machine(bench), project, where=where, streams=(1, 2), graph="both").record

    assert (record["subject"], record["machine"]["gpu"], record["tensorrt"]) == (ON_CPU, None, None)
    assert record["not_run"] == [why, "CUDA graphs: not available on the CPU"]
    assert list(record["latency"]) == ["host"]
    assert record["how"]["threads"] == (where.threads or len(os.sched_getaffinity(0)))
    assert record["how"]["runtime"].startswith("ONNX Runtime ")
    assert record["machine"]["cpu"]
    assert record["engine"] == digest_file(project / "build" / CELL / "model.engine").hex
    assert [rate["streams"] for rate in record["throughput"]] == [1, 2]


def test_a_gpu_that_turns_out_not_to_fit(bench, project):
    make_cell(project, copying(validity=2), "old/fp16@here")

    found = measure(with_gpu(bench), project, "old/fp16@here")["old/fp16@here"]
    assert found.record["subject"] == ON_CPU
    assert "and this GPU is Make-believe GPU (sm89)" in found.record["not_run"][0]

    required = measure(with_gpu(bench), project, "old/fp16@here", where=Where(require_gpu=True))
    assert required["old/fp16@here"].error.exit_code == 2


def test_a_cpus_result_does_not_replace_that_of_the_engine(bench, project):
    one(with_gpu(bench), project)
    path = project / "build" / CELL / "bench.json"
    before = path.read_bytes()

    found = one(without_gpu(bench), project)

    assert path.read_bytes() == before
    assert found.saved is None
    assert "contains measurements of the engine itself" in found.note
    elsewhere = one(without_gpu(bench), project, output=project / "cpu.json")
    assert read_record(project / "cpu.json")["subject"] == ON_CPU
    assert elsewhere.saved == project / "cpu.json"


def test_an_engine_of_another_name_leaves_no_result_beside_it(bench, project, monkeypatch):
    folder = project / "build" / CELL
    (folder / "model.engine").rename(folder / "copy.engine")
    header = EngineHeader("1.7.1.116", 0, ("sm89",), 0, 0)
    monkeypatch.setattr("trtpipe.toolchains.header.read_engine_header", lambda path: header)
    monkeypatch.setattr("trtpipe.runners.inference.delivered.read_engine_header", lambda path: header)
    monkeypatch.setattr("trtpipe.app.engines.places.kind_of_file", lambda path: "engine")
    name = f"build/{CELL}/copy.engine"

    found = measure(with_gpu(bench), project, name)[name]

    assert found.record["subject"] == ENGINE
    assert found.saved is None
    assert not (folder / "bench.json").exists()


def test_a_typed_model_by_itself(bench, project):
    found = measure(with_gpu(bench), project, f"build/{CELL}/model.onnx")[f"build/{CELL}/model.onnx"]

    assert found.record["subject"] == ON_CPU
    assert (found.record["not_run"], found.saved) == ([], None)
    assert not (project / "build" / CELL / "bench.json").exists()


# -- several cells


def test_a_cell_that_fails_loses_no_others_result(bench, project):
    make_cell(
        project, {**copying(), "ops": [{"op": "copy", "from": "x", "to": "y"}], "no_context": True}, "bad/a@b"
    )
    make_cell(project, copying(), "late/a@b")

    found = measure(with_gpu(bench), project, "bad/a@b", "*/*@*")

    assert set(found) == {"bad/a@b", CELL, "late/a@b"}
    assert "created no execution context" in str(found["bad/a@b"].error)
    assert found["bad/a@b"].record is None
    assert found["late/a@b"].saved.exists()


def test_each_result_is_written_before_the_next_cell_is_measured(bench, project):
    make_cell(project, copying(), "late/a@b")
    request = BenchRequest((CELL, "late/a@b"), steady=QUICK, alone=True)

    results = benching.bench(request, lambda text: None, with_gpu(bench), project)

    first = next(results)
    assert first.saved.exists()
    assert not (project / "build/late/a@b/bench.json").exists()


def test_what_is_no_cell_is_said_before_anything_is_measured(bench, project):
    with pytest.raises(SpecError) as caught:
        measure(with_gpu(bench), project, CELL, "nothing/here@all", "gone/too@all")

    assert len(caught.value.problems) == 2
    with pytest.raises(SpecError, match="--output is for one result"):
        make_cell(project, copying(), "late/a@b")
        measure(with_gpu(bench), project, CELL, "late/a@b", output=project / "x.json")
    with pytest.raises(ModelError, match="cannot read"):
        measure(with_gpu(bench), project, compare=project / "gone.json")


def test_what_cannot_be_written_is_still_told(bench, project):
    found = measure(with_gpu(bench), project, output=project / "gone" / "x.json")[CELL]

    assert found.record["latency"]["total"]["count"] > 0
    assert str(found.error).startswith(f"cannot write {project / 'gone' / 'x.json'}: no such file")


def test_pipes_are_neither_waited_for_nor_replaced(bench, project):
    pipe = project / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(SpecError, match="is not a regular file"):
        measure(with_gpu(bench), project, output=pipe)
    with pytest.raises(ModelError, match="is not a result of trtpipe bench"):
        measure(with_gpu(bench), project, compare=pipe)

    beside = project / "build" / CELL / "bench.json"
    os.mkfifo(beside)
    found = measure(with_gpu(bench), project, alone=False)[CELL]
    assert str(found.error).startswith(f"{beside} is not a regular file")
    assert found.record is not None


# -- comparisons


def test_a_second_result_is_compared_with_the_first(bench, project):
    first = one(with_gpu(bench), project, alone=False).record
    second = one(with_gpu(bench), project, alone=False).record

    assert first["compared"] == []
    (found,) = second["compared"]
    assert (found["with"], found["why_not"], found["engine"]) == ("before", "", first["engine"])
    parts = found["measurements"][0]["parts"]
    assert list(parts) == ["compute", "total"]
    ratio = second["latency"]["total"]["p50_us"] / first["latency"]["total"]["p50_us"]
    assert parts["total"]["ratio"] == pytest.approx(ratio)
    assert parts["total"]["verdict"] in ("faster", "slower", "inside the noise", "too few times")


def test_a_damaged_result_before_is_told_and_replaced(bench, project):
    (project / "build" / CELL / "bench.json").write_text("{}")

    found = one(with_gpu(bench), project, alone=False)

    assert found.record["compared"][0]["why_not"].endswith("bench.json' is not a result of trtpipe bench")
    assert read_record(found.saved)["cell"] == CELL


def test_with_the_fp32_variant_which_is_measured_first(bench, project):
    make_cell(project, copying(), "copy/fp32@here")
    make_cell(project, copying(), "copy/fp32@elsewhere")

    found = measure(with_gpu(bench), project, alone=False)

    assert list(found) == ["copy/fp32@here", CELL]
    assert found["copy/fp32@here"].for_comparison
    (compared,) = found[CELL].record["compared"]
    assert (compared["with"], compared["cell"]) == ("fp32", "copy/fp32@here")
    assert compared["measurements"][0]["parts"]["compute"]["words"]

    both = measure(with_gpu(bench), project, "copy/*@here", alone=False)
    assert list(both) == ["copy/fp32@here", CELL]
    assert not both["copy/fp32@here"].for_comparison


def test_an_fp32_variant_that_fails_is_named(bench, project):
    make_cell(project, copying(no_context=True), "copy/fp32@here")

    found = measure(with_gpu(bench), project, alone=False)

    assert "created no execution context" in found[CELL].record["compared"][0]["why_not"]


def test_with_a_file_of_another_machine(bench, project):
    record = one(with_gpu(bench), project).record
    other = {**record, "machine": {**record["machine"], "gpu": {"name": "NVIDIA L4"}}}
    (project / "other.json").write_text(json.dumps(other))

    found = one(with_gpu(bench), project, compare=project / "other.json")

    assert found.record["compared"][0]["why_not"] == "it was measured on NVIDIA L4"


# -- arguments


@pytest.mark.parametrize("text", ["", "0", "1,,2", "65", "-1", "a", "1" * 5000, "1.5", "²"])
def test_streams_that_are_none(text):
    with pytest.raises(SpecError, match="is not a list of 1 to 64\n  write 1,2,4"):
        parsed_streams(text)


def test_arguments_are_read():
    assert parsed_streams("4, 1,4") == (4, 1)
    assert BenchRequest((), streams=(4, 2)).with_one == (1, 4, 2)
    assert steady_for(1, 5, 60) == Steady(1, 0.05, 60)
    with pytest.raises(SpecError, match=r"did you mean 'on'|valid graphs: off, on, rtx, both"):
        graph_called("onn")
    with pytest.raises(SpecError) as caught:
        steady_for(0, float("nan"), -1)
    assert len(caught.value.problems) == 3


# -- the GPU's state


def library(**answers):
    """NVML as cuda.bindings has it, with these answers; what is missing is an error."""

    class NvmlError(Exception):
        pass

    def refusing(name):
        def call(*arguments):
            found = answers.get(name, NvmlError("not supported"))
            if isinstance(found, Exception):
                raise found
            return found(*arguments) if callable(found) else found

        return call

    names = ("init_v2", "shutdown", "device_get_handle_by_uuid", "device_get_handle_by_index_v2",
             "device_get_clock_info", "device_get_max_clock_info", "device_get_power_usage",
             "device_get_enforced_power_limit", "device_get_temperature_v",
             "device_get_current_clocks_event_reasons")  # fmt: skip
    members = {"EVENT_REASON_GPU_IDLE": 1, "EVENT_REASON_SW_POWER_CAP": 4, "THROTTLE_REASON_HW_SLOWDOWN": 8}
    return types.SimpleNamespace(
        NvmlError=NvmlError,
        ClockType=types.SimpleNamespace(CLOCK_SM=1, CLOCK_MEM=2),
        TemperatureSensors=types.SimpleNamespace(TEMPERATURE_GPU=0),
        ClocksEventReasons=types.SimpleNamespace(__members__=members),
        **{name: refusing(name) for name in names},
    )


GOOD = {
    "init_v2": None,
    "shutdown": None,
    "device_get_handle_by_uuid": 7,
    "device_get_clock_info": lambda device, kind: 1000 * kind + device,
    "device_get_max_clock_info": 1980,
    "device_get_power_usage": 75_432,
    "device_get_enforced_power_limit": 700_000,
    "device_get_temperature_v": 41,
    "device_get_current_clocks_event_reasons": 1 | 4,
}


def test_clocks_power_and_temperature_are_noted():
    assert gpu_state("GPU-1", 0, library(**GOOD)) == {
        "sm_mhz": 1007,
        "sm_max_mhz": 1980,
        "memory_mhz": 2007,
        "power_w": 75.4,
        "power_limit_w": 700.0,
        "temperature_c": 41,
        "limited_by": ["sw power cap"],
    }


def test_what_the_driver_does_not_tell_is_left_open():
    found = gpu_state("", 3, library(init_v2=None, shutdown=None, device_get_handle_by_index_v2=1))
    assert set(found.values()) == {None}

    assert gpu_state("x", 0, library(init_v2=RuntimeError("no nvml\nat all"))) == Unknown(
        "NVML does not start: no nvml"
    )
    assert gpu_state("x", 0, library(init_v2=None, shutdown=None)) == Unknown(
        "NVML does not find the GPU: not supported"
    )


def test_clocks_that_could_not_be_noted_are_named(bench, project, monkeypatch):
    monkeypatch.setattr(
        "trtpipe.app.engines.bench_runs.gpu_state", lambda uuid, index: Unknown("there is no nvml")
    )
    record = one(with_gpu(bench), project).record
    assert (record["clocks"], record["not_run"]) == (
        None,
        ["clocks, power and temperature: there is no nvml"],
    )

    monkeypatch.setattr("trtpipe.app.engines.bench_runs.gpu_state", lambda uuid, index: {"sm_mhz": 1})
    record = one(with_gpu(bench), project).record
    assert record["clocks"] == {"before": {"sm_mhz": 1}, "after": {"sm_mhz": 1}}
    assert record["not_run"] == []


# -- the command


@pytest.fixture
def command(bench, project, monkeypatch):
    from typer.testing import CliRunner

    from trtpipe.cli.main import app

    monkeypatch.chdir(project)
    monkeypatch.setattr("trtpipe.app.engines.bench.this_machine", lambda: without_gpu(bench))
    quick = ["--window", "0.005", "--within", "50", "--time-limit", "2", "--warm-up", "1"]
    return lambda *words: CliRunner().invoke(app, ["bench", *words, *quick])


def test_the_first_line_and_every_table_say_what_was_measured(command):
    done = command(CELL, "--streams", "1,2", "--threads", "1")

    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert lines[0].startswith(f"{CELL}: typed model on the CPU (")
    assert ", 1 thread, ONNX Runtime " in lines[0]
    assert lines[1] == "not run: the engine: needs sm89, this machine has no GPU"
    rows = [line for line in lines if "x=2x4" in line]
    assert len(rows) == 3
    assert all(row.startswith("typed model on the CPU") for row in rows)
    assert any(line.startswith("saved ") for line in lines)


def test_as_json_with_what_failed(command, project):
    make_cell(project, copying(), "broken/a@b")
    (project / "build/broken/a@b/model.onnx").write_bytes(b"nothing")

    done = command("*/*", "--json", "--alone")

    record = json.loads(done.stdout)
    assert [one["cell"] for one in record["results"]] == [CELL]
    assert [one["cell"] for one in record["failed"]] == ["broken/a@b"]
    assert done.exit_code == 2


def test_no_cell_and_wrong_words_are_refused(command):
    assert (command().exit_code, command().stderr.splitlines()[0]) == (2, "nothing to measure")
    assert command(CELL, "--graph", "maybe").exit_code == 2
    assert command(CELL, "--require-gpu").exit_code == 2
    assert "needs sm89" in command(CELL, "--require-gpu").stderr


def test_a_report_is_plain_json_without_nan(bench, project):
    text = one(with_gpu(bench), project).saved.read_text()

    json.loads(text, parse_constant=pytest.fail)
    assert np.isfinite(json.loads(text)["latency"]["total"]["mean_us"])
