"""What else `inspect` is given: models of other formats, weights, a project's own files; and what is damaged."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from tests.frontends import foreign_files as foreign
from trtpipe.app.look.inspect import Subject, describe, find_subject
from trtpipe.cli.inspect import Wanted, inspect_command
from trtpipe.cli.main import app
from trtpipe.errors import ModelError, SpecError, TrtpipeError
from trtpipe.inspection.inspect_model import Asked
from trtpipe.text.descriptions import description_lines

ROOT = Path(__file__).resolve().parents[2]

MODELS = ROOT / "pipelines" / "models"
EVERYTHING = Asked(nodes=True, weights=True)


def text_of(record: dict[str, Any]) -> str:
    assert json.loads(json.dumps(record, default=str)) == json.loads(json.dumps(record))
    return "\n".join(description_lines(record))


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("digits.uff", "UFF model, "),
        ("digits.prototxt", "Caffe net, "),
        ("digits.caffemodel", "Caffe net, "),
        ("digits_cnn.onnx", "ONNX model, "),
    ],
)
def test_the_same_network_costs_the_same_in_every_format(name: str, title: str) -> None:
    record = describe(Subject(MODELS / name, EVERYTHING))
    text = text_of(record)
    assert text.startswith(title)
    assert "906 k FLOPs" in text
    assert "weights float32: 15338 values" in text
    assert sum(line["statistics"]["nonfinite"] for line in record["weights"]) == 0


def test_the_weights_of_a_prototxt_can_lie_elsewhere(tmp_path: Path) -> None:
    shutil.copy(MODELS / "digits.prototxt", tmp_path / "net.prototxt")
    there = Subject(tmp_path / "net.prototxt", companion=MODELS / "digits.caffemodel")
    assert "weights float32: 15338 values" in text_of(describe(there))
    with pytest.raises(ModelError):
        describe(Subject(tmp_path / "net.prototxt"))
    with pytest.raises(SpecError, match=r"no such file: '.*nowhere'"):
        describe(Subject(tmp_path / "net.prototxt", companion=tmp_path / "nowhere"))


@pytest.mark.parametrize("option", ["--with", "--caffemodel"])  # the second is its former name
def test_the_command_takes_the_second_file_of_a_model(option: str, tmp_path: Path) -> None:
    shutil.copy(MODELS / "digits.prototxt", tmp_path / "net.prototxt")
    asked = ["inspect", str(tmp_path / "net.prototxt"), option, str(MODELS / "digits.caffemodel")]
    ran = CliRunner().invoke(app, asked)
    assert ran.exit_code == 0, ran.output
    assert "weights float32: 15338 values" in ran.output
    assert "--caffemodel" not in CliRunner().invoke(app, ["inspect", "--help"]).output


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("digits_cnn.onnx", "the parser 'onnx' takes none"),
        ("digits.uff", "the parser 'uff' takes none"),
        ("digits.safetensors", "is none"),
    ],
)
def test_a_second_file_is_refused_where_there_is_no_use_for_it(name: str, why: str) -> None:
    with pytest.raises(SpecError, match=why):
        describe(Subject(MODELS / name, companion=MODELS / "digits.caffemodel"))


@pytest.mark.parametrize("suffix", ["npy", "npz", "safetensors", "wts"])
def test_weights_are_told_by_name_type_shape_and_statistics(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"w.{suffix}"
    values = np.array([[1.0, -2.0], [0.0, 4.0]], np.float32)
    if suffix == "npy":
        np.save(path, values)
    elif suffix == "npz":
        np.savez_compressed(path, w=values)
    elif suffix == "wts":
        bits = " ".join(f"{one:08x}" for one in values.ravel().view(np.uint32))
        path.write_text(f"1\nw 4 {bits}\n")
    else:
        header = b'{"w":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]}}'
        path.write_bytes(len(header).to_bytes(8, "little") + header + values.tobytes())
    record = describe(Subject(path, Asked(weights=True)))
    (line,) = record["tensors"]
    assert (record["kind"], record["format"], line["name"], line["elements"]) == ("weights", suffix, "w", 4)
    found = line["statistics"]
    assert (found["least"], found["most"], found["mean"], found["zeros"]) == (-2.0, 4.0, 0.75, 1)
    assert text_of(record).splitlines()[0].startswith(f"weights ({suffix}), ")


def test_a_tensorflow_graph_is_told_without_tensorflow(tmp_path: Path) -> None:
    nodes = [
        foreign.node("x", "Placeholder", dims=(-1, 3)),
        foreign.node("r", "Relu", "x"),
        foreign.node("f", "ReadFile", "x"),
    ]
    path = tmp_path / "graph.pb"
    path.write_bytes(foreign.graph(*nodes))
    record = describe(Subject(path))
    assert record["inputs"] == [{"name": "x", "dtype": "float32", "dims": [-1, 3]}]
    assert record["operators"] == {"Placeholder": 1, "ReadFile": 1, "Relu": 1}
    text = text_of(record)
    assert "input   x       float32  ?x3" in text
    assert "node 'f' is ReadFile, which has side effects" in text
    with pytest.raises(SpecError, match="need a model that can be read as ONNX"):
        describe(Subject(path, Asked(nodes=True)))


def test_a_saved_model_is_told_by_its_signatures(tmp_path: Path) -> None:
    body = foreign.graph(foreign.node("x", "Placeholder", dims=(1, 3)), foreign.node("y", "Relu", "x"))
    (tmp_path / "saved_model.pb").write_bytes(foreign.saved_model(body, {"serving_default": ("x",)}))
    text = text_of(describe(Subject(tmp_path)))
    assert text.startswith("tensorflow SavedModel: 2 nodes")
    assert "signature serving_default: x -> y" in text


def test_a_directory_that_is_neither_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="contains neither an engine nor a SavedModel"):
        describe(Subject(tmp_path))


LOCK = """\
# Written by trtpipe build: commit it, do not edit it.
schema: 1
cells:
  a/fp16@ada:
    key: 00
    toolchain: tensorrt_rtx 1.7.1.116
    validated: passed
"""


def test_a_lockfile_is_a_table_of_its_cells(tmp_path: Path) -> None:
    (tmp_path / "trtpipe.lock").write_text(LOCK)
    assert text_of(describe(Subject(tmp_path / "trtpipe.lock"))).splitlines() == [
        "lockfile, 1 cells",
        "cell        toolchain               validated",
        "a/fp16@ada  tensorrt_rtx 1.7.1.116  passed",
    ]


def test_scales_and_calibration_caches_are_tables_too(tmp_path: Path) -> None:
    scales = {
        "schema": 1, "method": "entropy", "backend": "trtpipe 1", "samples": 8, "source": "a set",
        "tensors": {"x": {"amax": 2.5, "clipped": 0.01}},
    }  # fmt: skip
    (tmp_path / "scales.json").write_text(json.dumps(scales))
    assert text_of(describe(Subject(tmp_path / "scales.json"))).splitlines() == [
        "scales by entropy (trtpipe 1), 8 samples",
        "from a set",
        "tensor  amax  largest  clipped  zeros",
        "x       2.5   -        1.00%    -",
    ]
    (tmp_path / "c.cache").write_text("TRT-8601-EntropyCalibration2\nx: 3c010a14\n")
    assert "calibration cache: TRT-8601-EntropyCalibration2" in text_of(
        describe(Subject(tmp_path / "c.cache"))
    )


HOSTILE = {
    "empty": b"",
    "json": b'{"a": "b"}',
    "deep": b'{"a":' * 100_000,
    "cut manifest": b'{"cell": "x", "engine"',
    "manifest of nothing": b'{"cell": 1, "engine": 2}',
    "scales of nothing": b'{"method": 1, "backend": [], "tensors": 3}',
    "lock": b"schema: 1\ncells:\n  - 1\n",
    "cache": b"TRT-8601-EntropyCalibration2\nnothing\n",
    "npy": b"\x93NUMPY\x01\x00v\x00{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999,), }\n",
    "safetensors": (2**40).to_bytes(8, "little") + b"{",
    "engine": b"vtrt",
    "other engine": b"ftrt" + bytes(200),
    "zip": b"PK\x03\x04" + bytes(50),
    "wts": b"1\nw 99999999999 3f800000\n",
    "page": b"<!doctype html><html>",
    "text": b"hello\n",
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE)
def test_what_is_damaged_is_refused_in_a_sentence(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(data)
    for asked in (Asked(), EVERYTHING, Asked(weights=True)):
        with pytest.raises(TrtpipeError) as caught:
            describe(Subject(path, asked))
        assert caught.value.problems[0].fact


ODD = (0, None, [], {}, "x", [1], {"a": [{}]})


@pytest.mark.parametrize("value", ODD, ids=map(str, ODD))
@pytest.mark.parametrize("field", ["toolchain", "io", "profiles", "typed", "validation", "not_run", "source"])
def test_a_manifest_that_says_odd_things_is_shown_as_far_as_it_goes(
    field: str, value: Any, tmp_path: Path
) -> None:
    from trtpipe.digests import digest_bytes

    engine = b"ftrt" + bytes(200)
    (tmp_path / "model.engine").write_bytes(engine)
    manifest = {"cell": "a/b@c", "engine": {"blake3": digest_bytes(engine).hex}, field: value}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    for name in ("network.json", "bench.json", "proof.json"):
        (tmp_path / name).write_text(json.dumps({"layers": value, "engine": value}))
    assert "cell a/b@c" in text_of(describe(Subject(tmp_path)))


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ModelError, match="not a regular file"):
        describe(Subject(tmp_path / "pipe"))


def test_a_cell_that_was_not_built_says_how_to_build_it(tmp_path: Path) -> None:
    with pytest.raises(SpecError) as caught:
        find_subject("digits/fp16@ada", tmp_path)
    assert caught.value.problems[0].remedy == "trtpipe build digits/fp16@ada"
    with pytest.raises(SpecError):
        find_subject("../../etc/x@y", tmp_path)


@pytest.mark.parametrize(
    ("shapes", "gpus", "told"),
    [
        (["x"], [], "--shape must be INPUT=SHAPE, not 'x'"),
        (["=3"], [], "--shape must be INPUT=SHAPE, not '=3'"),
        (["x=-1x3"], [], "--shape must be INPUT=SHAPE"),
        (["image=1x1x8x8", "image=2x1x8x8"], [], "--shape names 'image' twice"),
        ([], ["sm89,,"], "--for names no GPU"),
        ([], ["rtx9999"], "unknown GPU 'rtx9999'"),
    ],
)
def test_options_that_mean_nothing_are_refused(shapes: list[str], gpus: list[str], told: str) -> None:
    with pytest.raises(SpecError, match=told):
        inspect_command(str(MODELS / "digits_cnn.onnx"), Wanted(shapes, gpus))


# -- engines --------------------------------------------------------------------------------------------------------


@pytest.fixture
def delivered(tmp_path: Path) -> Path:
    from trtpipe.digests import digest_bytes

    engine = b"ftrt" + bytes(200)
    (tmp_path / "model.engine").write_bytes(engine)
    manifest = {
        "cell": "a/b@c",
        "engine": {"blake3": digest_bytes(engine).hex},
        "toolchain": {"flavour": "tensorrt", "version": "11.1.0.1"},
        "compute_capabilities": ["sm89"],
    }
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    outputs = [{"name": "y", "dtype": "float16", "shape": [-1, 4]}]
    layers = [{"name": "c1", "type": "CONVOLUTION", "inputs": ["x"], "outputs": outputs}]
    (tmp_path / "network.json").write_text(json.dumps({"io": [], "layers": layers}))
    return tmp_path


def on_gpus(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    from types import SimpleNamespace

    from trtpipe.targets.compute_capability import ComputeCapability
    from trtpipe.toolchains import detect

    gpus = tuple(SimpleNamespace(compute_capability=ComputeCapability.parse(name)) for name in names)
    monkeypatch.setattr(detect, "detect_gpus", lambda: gpus)


def test_layers_of_the_network_are_told_without_a_gpu(delivered: Path, monkeypatch: Any) -> None:
    on_gpus(monkeypatch)
    text = text_of(describe(Subject(delivered, Asked(nodes=True))))
    assert "c1     CONVOLUTION  float16  ?x4" in text
    assert "layers: not run: needs sm89, this machine has no GPU" in text
    assert "not run: needs" not in text_of(describe(Subject(delivered)))


def test_layers_that_no_toolchain_here_can_load_say_what_they_need(delivered: Path, monkeypatch: Any) -> None:
    on_gpus(monkeypatch, "sm89")
    record = describe(Subject(delivered, Asked(nodes=True)))
    assert record["layers"].startswith("not run: ")
    assert "11.1.0.1" in record["layers"]


def test_layers_of_an_engine_that_nobody_vouches_for_are_not_asked(delivered: Path, monkeypatch: Any) -> None:
    on_gpus(monkeypatch, "sm89")
    text = (delivered / "manifest.json").read_text()
    (delivered / "model.engine").write_bytes((delivered / "model.engine").read_bytes() + b"x")
    (delivered / "manifest.json").write_text(text)
    from trtpipe.app.look.engine_layers import engine_layers

    told = engine_layers(delivered / "model.engine")
    assert isinstance(told, str)
    assert "is in no manifest and no lockfile" in told


def test_on_its_gpu_the_inspector_is_asked(delivered: Path, monkeypatch: Any) -> None:
    from types import SimpleNamespace

    from trtpipe.app.look import engine_layers as inspecting_layers
    from trtpipe.targets.toolchain import Toolchain
    from trtpipe.toolchains import resolve

    here = Toolchain("tensorrt", "11.1.0.1", ("python3",), ("/nowhere",), "cpython 3.11.7")
    told = {"Layers": [{"Name": "c1+relu", "LayerType": "gemm", "Outputs": [{"Name": "y"}]}, "named alone"]}

    def run(toolchain: Any, engine: Any, runs: Any, how: Any, folder: Path) -> Any:
        assert (toolchain, runs) == (here, ())
        (folder / "layers.json").write_text(json.dumps(told))
        return SimpleNamespace(layers=folder / "layers.json")

    on_gpus(monkeypatch, "sm89")
    monkeypatch.setattr(resolve, "locate_toolchain", lambda *_: here)
    monkeypatch.setattr(inspecting_layers, "run_engine", run)
    record = describe(Subject(delivered, Asked(nodes=True)))
    assert [one["name"] for one in record["layers"]] == ["c1+relu", "named alone"]
    assert "c1+relu       gemm  y" in text_of(record)


def test_what_is_asked_in_vain_is_refused(delivered: Path, tmp_path: Path) -> None:
    (tmp_path / "trtpipe.lock").write_text(LOCK)
    np.save(tmp_path / "w.npy", np.zeros(3, np.float32))
    for name, asked in (
        ("model.engine", Asked(weights=True)),
        ("trtpipe.lock", Asked(nodes=True)),
        ("w.npy", Asked(shapes={"x": (1,)})),
    ):
        with pytest.raises(SpecError, match="need a model that can be read as ONNX"):
            describe(Subject(tmp_path / name, asked))
