"""Reading: weights stay on disk, references are checked, and whatever is no ONNX is refused in one clear error."""

import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from trtpipe.canonical.reader import ir_model, read_skeleton
from trtpipe.canonical.tensors import array_of, is_external
from trtpipe.errors import ModelError

WEIGHTS = np.arange(1024, dtype=np.float32).reshape(32, 32)


def model_with(*initializers: TensorProto, attribute: TensorProto | None = None) -> onnx.ModelProto:
    nodes = [
        helper.make_node("MatMul", ["x", initializers[0].name if initializers else "c"], ["y"], name="mm")
    ]
    if attribute is not None:
        nodes.insert(0, helper.make_node("Constant", [], ["c"], value=attribute))
    info = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 32]) for name in ("x", "y")]
    graph = helper.make_graph(nodes, "g", info[:1], info[1:], list(initializers))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def external(
    location: str, *, offset: str = "0", length: str = "4096", dims: tuple[int, ...] = (32, 32)
) -> TensorProto:
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=dims, data_location=TensorProto.EXTERNAL)
    for key, value in (("location", location), ("offset", offset), ("length", length)):
        tensor.external_data.add(key=key, value=value)
    return tensor


def save(folder: Path, model: onnx.ModelProto, name: str = "m.onnx") -> Path:
    path = folder / name
    path.write_bytes(model.SerializeToString())
    return path


def one_error(path: Path, root: Path | None = None) -> str:
    with pytest.raises(ModelError) as caught:
        read_skeleton(path, root=root)
    assert len(caught.value.problems) == 1
    return str(caught.value)


@pytest.mark.parametrize("form", ["raw", "typed"])
def test_embedded_weights_are_left_in_the_file(tmp_path, form):
    if form == "raw":
        tensor = onnx.numpy_helper.from_array(WEIGHTS, "w")
    else:
        tensor = helper.make_tensor("w", TensorProto.FLOAT, WEIGHTS.shape, WEIGHTS.reshape(-1))
    skeleton = read_skeleton(save(tmp_path, model_with(tensor)))
    (weight,) = skeleton.proto.graph.initializer
    assert is_external(weight)
    assert skeleton.proto.ByteSize() < 1000
    assert skeleton.big_bytes == WEIGHTS.nbytes
    assert skeleton.external_files == ()
    np.testing.assert_array_equal(array_of(weight), WEIGHTS)


def test_weights_in_a_constant_node_are_left_in_the_file(tmp_path):
    skeleton = read_skeleton(save(tmp_path, model_with(attribute=onnx.numpy_helper.from_array(WEIGHTS))))
    constant = skeleton.proto.graph.node[0].attribute[0].t
    assert is_external(constant)
    np.testing.assert_array_equal(array_of(constant), WEIGHTS)


def test_external_weights_are_found_beside_the_model(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "w.bin").write_bytes(b"\0" * 64 + WEIGHTS.tobytes())
    skeleton = read_skeleton(save(tmp_path, model_with(external("data/w.bin", offset="64"))), root=tmp_path)
    (weight,) = skeleton.proto.graph.initializer
    assert skeleton.external_files == ((tmp_path / "data" / "w.bin").resolve(),)
    np.testing.assert_array_equal(array_of(weight), WEIGHTS)


def test_the_ir_model_maps_the_same_weights(tmp_path):
    path = save(tmp_path, model_with(onnx.numpy_helper.from_array(WEIGHTS, "w")))
    value = ir_model(read_skeleton(path)).graph.initializers["w"]
    np.testing.assert_array_equal(value.const_value.numpy(), WEIGHTS)


def test_small_external_tensors_come_inline(tmp_path):
    (tmp_path / "w.bin").write_bytes(np.ones(32, np.float32).tobytes())
    skeleton = read_skeleton(save(tmp_path, model_with(external("w.bin", length="128", dims=(32,)))))
    assert not is_external(skeleton.proto.graph.initializer[0])


@pytest.mark.parametrize(
    "location", ["/etc/passwd", "../w.bin", "a/../../w.bin", "C:\\w.bin", "..\\w.bin", "\\w"]
)
def test_locations_outside_the_folder_are_refused_by_name(tmp_path, location):
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "w.bin").write_bytes(WEIGHTS.tobytes())
    message = one_error(save(folder, model_with(external(location))))
    assert "'w'" in message
    assert "not a path inside the model's folder" in message


def test_a_link_out_of_the_folder_is_refused(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "w.bin").write_bytes(WEIGHTS.tobytes())
    (folder / "w.bin").symlink_to(tmp_path / "w.bin")
    assert "leaves the model's folder" in one_error(save(folder, model_with(external("w.bin"))))


def test_a_model_outside_the_root_is_refused(tmp_path):
    root = tmp_path / "project"
    root.mkdir()
    path = save(tmp_path, model_with(onnx.numpy_helper.from_array(WEIGHTS, "w")))
    (root / "m.onnx").symlink_to(path)
    assert "is outside" in one_error(path, root)
    assert "is outside" in one_error(root / "m.onnx", root)


@pytest.mark.parametrize(
    ("tensor", "says"),
    [
        (external("w.bin", length="4000"), "needs 4096 bytes"),
        (external("w.bin", offset="8"), "ends at byte 4104"),
        (external("w.bin", offset="-1"), "impossible offset"),
        (external("w.bin", length="9" * 30), "impossible length"),
        (external("w.bin", dims=(-32, -32)), "negative dims"),
        (external("w.bin", length="", dims=(2**40, 2**40)), "but"),
        (external("missing.bin"), "does not exist"),
        (external("folder"), "not a regular file"),
        (external(""), "no location"),
    ],
)
def test_data_that_does_not_fit_is_refused_by_tensor(tmp_path, tensor, says):
    (tmp_path / "w.bin").write_bytes(WEIGHTS.tobytes())
    (tmp_path / "folder").mkdir()
    message = one_error(save(tmp_path, model_with(tensor)))
    assert says in message
    assert "'w'" in message


def test_a_pipe_is_refused_without_waiting_for_it(tmp_path):
    os.mkfifo(tmp_path / "w.bin")
    assert "not a regular file" in one_error(save(tmp_path, model_with(external("w.bin"))))
    os.mkfifo(tmp_path / "m2.onnx")
    assert "not a regular file" in one_error(tmp_path / "m2.onnx")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n", "git lfs pull"),
        (b"<!DOCTYPE html><html>not found</html>", "HTML"),
        (b'{"error": "not found"}', "JSON"),
        (b"hello, world\n", "text file"),
        (b"PK\x03\x04" + b"\0" * 40, "zip archive"),
        (b"\x80\x02}q\x00.", "pickle"),
        (b"\x89HDF\r\n\x1a\n", "HDF5"),
        (b"ptrt" + b"\0" * 60, "TensorRT engine"),
        (b"\x1c\0\0\0TFL3" + b"\0" * 60, "TensorFlow Lite"),
        (bytes(range(255, 0, -1)), "not an ONNX model"),
        (b"\x08\x08", "contains no graph"),
        (b"\x3a\xff\xff\xff\xff\x0f", "is truncated"),
        (b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", "not an ONNX model"),
    ],
)
def test_what_is_no_onnx_is_named(tmp_path, content, says):
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    message = one_error(path)
    assert says in message
    assert "m.onnx" in message


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    assert "cannot read" in one_error(tmp_path / "none.onnx")
    assert "not a regular file" in one_error(tmp_path)


def test_a_truncated_model_is_refused_at_every_length(tmp_path):
    whole = model_with(onnx.numpy_helper.from_array(WEIGHTS, "w")).SerializeToString()
    path = tmp_path / "m.onnx"
    for length in range(1, len(whole), 97):
        path.write_bytes(whole[:length])
        try:
            skeleton = read_skeleton(path)
        except ModelError:
            continue
        assert not skeleton.proto.graph.output, f"{length} of {len(whole)} bytes were taken for the model"


def test_nesting_without_end_is_refused(tmp_path):
    def field(number: int, payload: bytes) -> bytes:
        out, size = bytearray([number << 3 | 2]), len(payload)
        while size >= 0x80:
            out.append(size & 0x7F | 0x80)
            size >>= 7
        return bytes([*out, size]) + payload

    graph = b"\x12\xff\x0f" + b"n" * 2047  # a graph name, so that it is worth walking
    for _ in range(3000):
        graph = field(1, field(5, field(6, graph)))
    (tmp_path / "m.onnx").write_bytes(field(7, graph))
    assert "is nested deeper" in one_error(tmp_path / "m.onnx")


def test_a_name_that_is_no_text_is_refused(tmp_path):
    encoded = model_with(onnx.numpy_helper.from_array(WEIGHTS, "w")).SerializeToString()
    (tmp_path / "m.onnx").write_bytes(encoded.replace(b"mm", b"\xff\xfe"))
    assert "not UTF-8" in one_error(tmp_path / "m.onnx")


def test_embedded_bytes_that_do_not_fit_the_dims_are_refused(tmp_path):
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[2, 2], raw_data=b"\0" * 12)
    assert "needs 16 bytes, but has 12" in one_error(save(tmp_path, model_with(tensor)))
