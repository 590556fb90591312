"""Writing: the same bytes in any process, whole files, one data file for large models."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.canonical.onnx_text import run
from trtpipe.canonical import reader, writer
from trtpipe.canonical.reader import read_skeleton
from trtpipe.errors import ModelError
from trtpipe.frontends import ModelFiles, lower_model
from trtpipe.frontends.onnx import OnnxOptions, frontend

ROOT = Path(__file__).resolve().parents[2]
REAL = ROOT.parent / "shared" / "testdata" / "onnx" / "real"
WEIGHT = np.random.default_rng(0).standard_normal((64, 64), np.float32)


def save(path: Path) -> Path:
    info = [onnx.helper.make_tensor_value_info(name, 1, ["n", 64]) for name in ("x", "y")]
    weights = [onnx.numpy_helper.from_array(WEIGHT * k, f"w{k}") for k in (1, 2)]
    nodes = [
        onnx.helper.make_node("MatMul", ["x", "w1"], ["h"]),
        onnx.helper.make_node("MatMul", ["h", "w2"], ["y"]),
    ]
    graph = onnx.helper.make_graph(nodes, "g", info[:1], info[1:], weights)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


def test_an_embedded_model_is_what_protobuf_would_write(tmp_path):
    source = save(tmp_path / "m.onnx")
    (written,) = writer.write_model(read_skeleton(source).proto, tmp_path / "out.onnx")
    one, other = onnx.load(source), onnx.load(written)
    for name in ("w1", "w2"):
        (ours,) = (t for t in other.graph.initializer if t.name == name)
        (theirs,) = (t for t in one.graph.initializer if t.name == name)
        np.testing.assert_array_equal(onnx.numpy_helper.to_array(ours), onnx.numpy_helper.to_array(theirs))
    assert [node.op_type for node in other.graph.node] == ["MatMul", "MatMul"]
    assert onnx.ModelProto.FromString(written.read_bytes()).ByteSize() == written.stat().st_size


def test_large_weights_go_to_one_aligned_file_beside_it(tmp_path, monkeypatch):
    monkeypatch.setattr(writer, "EMBEDDED", 1000)
    source = save(tmp_path / "m.onnx")
    report = lower_model(frontend, ModelFiles(source), OnnxOptions(), tmp_path / "out.onnx")
    assert [file.name for file in report.files] == ["out.onnx", "out.onnx.data"]
    skeleton = read_skeleton(tmp_path / "out.onnx", root=tmp_path)
    assert [file.name for file in skeleton.external_files] == ["out.onnx.data"]
    offsets = [
        int(e.value) for t in skeleton.proto.graph.initializer for e in t.external_data if e.key == "offset"
    ]
    assert all(offset % 4096 == 0 for offset in offsets)
    x = np.ones((3, 64), np.float32)
    np.testing.assert_array_equal(run(tmp_path / "out.onnx", {"x": x})[0], run(source, {"x": x})[0])


def test_a_full_disk_leaves_nothing_behind(tmp_path, monkeypatch):
    skeleton = read_skeleton(save(tmp_path / "m.onnx"))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writer.os, "fsync", full)
    with pytest.raises(writer.ModelError, match="No space left"):
        writer.write_model(skeleton.proto, tmp_path / "out.onnx")
    assert [file.name for file in tmp_path.iterdir()] == ["m.onnx"]


LOWER = """
import sys
from pathlib import Path
from trtpipe.errors import ModelError
from trtpipe.frontends import ModelFiles, lower_model
from trtpipe.frontends.onnx import OnnxOptions, frontend
lower_model(frontend, ModelFiles(Path(sys.argv[1])), OnnxOptions(), Path(sys.argv[2]))
"""


@pytest.mark.parametrize("name", ["ppocr_cls", "magika_v3_3", "silero_vad_op18_ifless"])
@pytest.mark.slow
def test_the_bytes_do_not_depend_on_the_process(tmp_path, name):
    if not REAL.exists():
        pytest.skip("no real models in ../shared/testdata")
    contents = set()
    for seed in ("0", "1", "77"):
        folder = tmp_path / f"a folder {seed}"
        folder.mkdir()
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT), "TZ": f"UTC-{seed}"}
        command = [sys.executable, "-c", LOWER, str(REAL / f"{name}.onnx"), str(folder / "model.onnx")]
        subprocess.run(command, env=environment, cwd=folder, check=True)
        assert [file.name for file in folder.iterdir()] == ["model.onnx"]
        contents.add((folder / "model.onnx").read_bytes())
    assert len(contents) == 1


BIG = """
import resource, sys
from pathlib import Path
from trtpipe.errors import ModelError
from trtpipe.frontends import ModelFiles, lower_model
from trtpipe.frontends.onnx import OnnxOptions, frontend
report = lower_model(frontend, ModelFiles(Path(sys.argv[1])), OnnxOptions(), Path(sys.argv[2]))
print(len(report.files), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


@pytest.mark.slow
def test_a_model_of_three_gigabytes_takes_little_memory(tmp_path):
    side, count = 8192, 12
    with (tmp_path / "w.bin").open("wb") as file:
        file.truncate(count * side * side * 4)
    weights = []
    for index in range(count):
        tensor = onnx.TensorProto(name=f"w{index}", data_type=1, dims=[side, side], data_location=1)
        size = side * side * 4
        for key, value in (("location", "w.bin"), ("offset", str(index * size)), ("length", str(size))):
            tensor.external_data.add(key=key, value=value)
        weights.append(tensor)
    names = ["x", *(f"y{index}" for index in range(count))]
    nodes = [onnx.helper.make_node("MatMul", [names[i], f"w{i}"], [names[i + 1]]) for i in range(count)]
    info = [onnx.helper.make_tensor_value_info(name, 1, ["n", side]) for name in (names[0], names[-1])]
    graph = onnx.helper.make_graph(nodes, "g", info[:1], info[1:], weights)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    command = [sys.executable, "-c", BIG, str(tmp_path / "m.onnx"), str(tmp_path / "out.onnx")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    files, peak = map(int, done.stdout.split())
    assert files == 2
    assert (tmp_path / "out.onnx.data").stat().st_size == (tmp_path / "w.bin").stat().st_size
    assert peak < 300 << 20


@pytest.fixture
def opened(monkeypatch):
    """The names of the files that are opened by path, one for each time."""
    names = []
    real = Path.open

    def open_(path, *arguments, **options):
        names.append(path.name)
        return real(path, *arguments, **options)

    monkeypatch.setattr(Path, "open", open_)
    return names


def external(folder, files):
    """The model above, with one weight of it, or each, in the data files of these names."""
    model = onnx.load(save(folder / "embedded.onnx"))
    for tensor, name in zip(model.graph.initializer, files, strict=True):
        with (folder / name).open("ab") as file:
            entries = {"location": name, "offset": str(file.tell()), "length": str(len(tensor.raw_data))}
            file.write(tensor.raw_data)
        tensor.ClearField("raw_data")
        tensor.data_location = tensor.EXTERNAL
        for key, value in entries.items():
            tensor.external_data.add(key=key, value=value)
    path = folder / "external.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def test_a_data_file_is_opened_and_its_path_checked_once_for_all_its_weights(tmp_path, monkeypatch, opened):
    source = external(tmp_path, ["d.bin", "d.bin"])
    checked = []
    real = reader._inside
    monkeypatch.setattr(reader, "_inside", lambda name, *more: checked.append(name) or real(name, *more))
    opened.clear()
    writer.write_model(read_skeleton(source).proto, tmp_path / "out.onnx")
    assert opened.count("d.bin") == 1
    assert checked == ["w1"]


def test_more_data_files_than_may_be_open_are_read_all_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(writer, "_MOST_OPEN", 1)
    source = external(tmp_path, ["one.bin", "other.bin"])
    (written,) = writer.write_model(read_skeleton(source).proto, tmp_path / "out.onnx")
    found = {t.name: onnx.numpy_helper.to_array(t) for t in onnx.load(written).graph.initializer}
    np.testing.assert_array_equal(found["w2"], 2 * found["w1"])


def test_a_data_file_that_shrinks_while_it_is_copied_is_an_error(tmp_path):
    source = external(tmp_path, ["d.bin", "d.bin"])
    proto = read_skeleton(source).proto
    os.truncate(tmp_path / "d.bin", 20_000)
    with pytest.raises(ModelError, match="tensor 'w2' ended early"):
        writer.write_model(proto, tmp_path / "out.onnx")
    assert not list(tmp_path.glob("*out.onnx*"))
