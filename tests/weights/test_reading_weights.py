"""Weights from every kind of file: equal values, honest locations, and lies refused by name."""

from __future__ import annotations

import json
import struct
import tracemalloc
import zipfile
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import pytest

from trtpipe.errors import ModelError
from trtpipe.weights import open_weights
from trtpipe.weights.safetensors import Writable, write_safetensors

RANDOM = np.random.default_rng(5)
ARRAYS = {
    "conv/weight": RANDOM.standard_normal((4, 3, 3, 3)).astype(np.float32),
    "fc.weight": RANDOM.standard_normal((40, 50)).astype(np.float16),
    "steps": np.arange(7),
    "flag": np.array(True),
    "none": np.zeros((0, 3), np.float32),
}
SHARED = Path(__file__).resolve().parents[3] / "shared/testdata"


def save_npz(path):
    np.savez(path, **ARRAYS)


def save_compressed(path):
    np.savez_compressed(path, **ARRAYS)


def save_safetensors(path):
    write_safetensors(path, writable(ARRAYS))


def save_onnx(path):
    tensors = [onnx.numpy_helper.from_array(array, name) for name, array in ARRAYS.items()]
    large = onnx.numpy_helper.from_array(ARRAYS["fc.weight"], "value")
    node = onnx.helper.make_node("Constant", [], ["fc.weight"], value=large)
    kept = [tensor for tensor in tensors if tensor.name != "fc.weight"]
    graph = onnx.helper.make_graph([node], "g", [], [], kept)
    path.write_bytes(onnx.helper.make_model(graph).SerializeToString())


SAVERS = {
    "npz": save_npz,
    "compressed.npz": save_compressed,
    "safetensors": save_safetensors,
    "onnx": save_onnx,
}


def writable(arrays):
    return {
        name: Writable(array.dtype.name, array.shape, lambda array=array: array)
        for name, array in arrays.items()
    }


def fact_of(path, root=None):
    with pytest.raises(ModelError) as caught:
        weights = open_weights(path, root=root)
        for name in weights.names:
            weights.array(name)
    return caught.value.problems[0].fact


@pytest.mark.parametrize("suffix", SAVERS)
def test_every_format_gives_the_same_arrays(tmp_path, suffix):
    path = tmp_path / f"w.{suffix}"
    SAVERS[suffix](path)

    weights = open_weights(path, root=tmp_path)

    assert set(weights.names) == set(ARRAYS)
    for name, expected in ARRAYS.items():
        assert weights.shape_of(name) == expected.shape
        assert weights.dtype_of(name) == expected.dtype.name
        assert weights.count_of(name) == expected.size
        assert not weights.array(name).flags.writeable
        assert np.array_equal(weights.array(name), expected)


@pytest.mark.parametrize("suffix", ["npz", "safetensors", "onnx"])
def test_a_location_is_where_the_bytes_stand(tmp_path, suffix):
    path = tmp_path / f"w.{suffix}"
    SAVERS[suffix](path)
    weights = open_weights(path, root=tmp_path)

    file, offset = weights.location("fc.weight")

    expected = ARRAYS["fc.weight"].tobytes()
    assert file.read_bytes()[offset : offset + len(expected)] == expected


def test_a_compressed_array_has_no_location(tmp_path):
    save_compressed(tmp_path / "w.npz")

    assert open_weights(tmp_path / "w.npz", root=None).location("fc.weight") is None


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_a_npy_is_one_array_called_as_the_file(tmp_path, order, byteorder):
    values = np.asarray(ARRAYS["conv/weight"], order=order).astype(
        np.dtype(np.float32).newbyteorder(byteorder)
    )
    np.save(tmp_path / "conv1.npy", values)

    weights = open_weights(tmp_path / "conv1.npy", root=None)

    assert weights.names == ("conv1",)
    assert np.array_equal(weights.array("conv1"), ARRAYS["conv/weight"])
    assert weights.dtype_of("conv1") == "float32"
    assert weights.array("conv1").dtype.isnative
    assert (weights.location("conv1") is not None) == (order == "C" and byteorder == "<")


def test_small_types_come_from_safetensors_as_onnx_names_them(tmp_path):
    values = np.array([1.5, -2.0], ml_dtypes.bfloat16)
    write_safetensors(tmp_path / "w", writable({"b": values, "f8": values.astype(ml_dtypes.float8_e4m3fn)}))

    weights = open_weights(tmp_path / "w", root=None)

    assert [weights.dtype_of(name) for name in ("b", "f8")] == ["bfloat16", "float8_e4m3fn"]
    assert np.array_equal(weights.array("b"), values)


def test_safetensors_are_written_alike_whatever_the_order_and_aligned(tmp_path):
    mixed = {"a": np.ones(3, np.int8), "b": np.ones((2, 2), np.float64), "c": np.ones(5, np.float32)}
    write_safetensors(tmp_path / "one", writable(mixed))
    write_safetensors(tmp_path / "two", writable(dict(reversed(mixed.items()))))

    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    weights = open_weights(tmp_path / "one", root=None)
    assert weights.names == ("b", "c", "a")
    assert weights.location("b")[1] % 8 == 0


def wts_text(arrays):
    lines = [
        f"{name} {array.size}  " + " ".join(struct.pack(">f", value).hex() for value in array.flat)
        for name, array in arrays.items()
    ]
    return "\n".join([str(len(lines)), *lines]) + "\n"


def test_a_wts_is_flat_and_stands_in_the_workplace(tmp_path):
    arrays = {"a": RANDOM.standard_normal(70_000).astype(np.float32), "empty": np.zeros(0, np.float32)}
    (tmp_path / "w.wts").write_text(wts_text(arrays))

    weights = open_weights(tmp_path / "w.wts", root=None, workplace=tmp_path)

    assert weights.names == ("a", "empty")
    assert weights.shape_of("a") is None
    assert [weights.count_of(name) for name in weights.names] == [70_000, 0]
    assert np.array_equal(weights.array("a"), arrays["a"])
    assert weights.array("empty").size == 0
    file, offset = weights.location("a")
    assert file.parent == tmp_path
    assert np.array_equal(np.fromfile(file, "<f4", offset=offset, count=70_000), arrays["a"])


def test_a_wts_can_be_read_without_a_workplace(tmp_path):
    (tmp_path / "w.wts").write_text("1\nx 2 0 3f800000\n")

    weights = open_weights(tmp_path / "w.wts", root=None)

    assert weights.array("x").tolist() == [0.0, 1.0]
    assert weights.location("x") is None


@pytest.mark.skipif(not (SHARED / "wts").exists(), reason="not run: needs the shared test data")
def test_a_real_wts_holds_the_weights_of_its_onnx_model(tmp_path):
    flat = open_weights(SHARED / "wts/digits_cnn.wts", root=None)
    model = open_weights(SHARED / "accuracy/digits_cnn.onnx", root=None)

    sizes = sorted(model.count_of(name) for name in model.names if model.dtype_of(name) == "float32")
    assert set(sizes) >= {flat.count_of("c1.weight"), flat.count_of("c1.bias")}


def test_a_wts_costs_the_memory_of_a_piece(tmp_path):
    with (tmp_path / "w.wts").open("wb") as file:
        file.write(b"1\nx 4000000 ")
        for _ in range(400):
            file.write(b"3f800000 " * 10_000)
        file.write(b"\n")
    tracemalloc.start()

    open_weights(tmp_path / "w.wts", root=None, workplace=tmp_path)

    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 24 << 20  # the text is 36 MB


def header_of(**tensors):
    text = json.dumps(tensors).encode()
    return struct.pack("<Q", len(text)) + text


F32 = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
LYING = {
    "nothing": (b"", "is empty"),
    "a header beyond the file": (struct.pack("<Q", 1 << 40) + b"{}", "claims 1099511627776 bytes"),
    "no JSON": (struct.pack("<Q", 2) + b"{x" + b" " * 8, "is not a .safetensors file"),
    "nested deeply": (struct.pack("<Q", 90_001) + b'{"a":' + b"[" * 89_996, "is not a .safetensors file"),
    "a name twice": (struct.pack("<Q", 13) + b'{"a":1,"a":2}', "says 'a' twice"),
    "too short": (header_of(a=F32) + b"\0" * 7, "is truncated"),
    "too long": (header_of(a=F32) + b"\0" * 9, "belong to no tensor"),
    "overlap": (header_of(a=F32, b={**F32, "data_offsets": [4, 12]}) + b"\0" * 12, "overlaps"),
    "gap": (header_of(a={**F32, "data_offsets": [4, 12]}) + b"\0" * 12, "leaves a gap"),
    "size": (header_of(a={**F32, "shape": [3]}) + b"\0" * 8, "needs 12 bytes, but has 8"),
    "unknown type": (header_of(a={**F32, "dtype": "F7"}) + b"\0" * 8, "has type 'F7'"),
    "huge shape": (header_of(a={**F32, "shape": [1 << 60, 4]}) + b"\0" * 8, "has an invalid shape"),
    "negative offsets": (header_of(a={**F32, "data_offsets": [8, 0]}) + b"\0" * 8, "data_offsets"),
    "true is no dim": (header_of(a={**F32, "shape": [True]}) + b"\0" * 8, "has an invalid shape"),
    "wts says more tensors": (b"3\nx 1 3f800000\n", "says that it holds 3 tensors, but holds 1"),
    "wts says more values": (b"1\nx 2 3f800000\n", "line 2 of"),
    "wts says fewer values": (b"1\nx 1 3f800000 3f800000\n", "has 1 values, but holds more"),
    "wts without hex": (b"1\nx 1 zzzzzzzz\n", "not a float32 in hex"),
    "wts with a sign": (b"1\nx 1 -1\n", "not a float32 in hex"),
    "wts with a long word": (b"1\nx 1 " + b"0" * 5000 + b"\n", "not a float32 in hex"),
    "wts twice": (b"2\nx 1 0\nx 1 0\n", "names tensor 'x' a second time"),
    "wts with types": (b"1\nx 0 (784, 256)\n\0\1\2", "with types and binary rows"),
    "a pickle": (b"\x80\x04K\x01.", "is a Python pickle"),
    "text": (b"hello\n", "is a text file"),
}


@pytest.mark.parametrize(("content", "fact"), LYING.values(), ids=LYING)
def test_a_file_that_lies_is_refused(tmp_path, content, fact):
    (tmp_path / "w").write_bytes(content)

    assert fact in fact_of(tmp_path / "w")


def test_a_pytorch_checkpoint_is_never_unpickled(tmp_path):
    with zipfile.ZipFile(tmp_path / "w.pt", "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02.")

    with pytest.raises(ModelError, match="never read"):
        open_weights(tmp_path / "w.pt", root=None)


def npy_bytes(header):
    text = header.encode() + b"\n"
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(text)) + text


NPY = {
    "an object array": ("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}", "never unpickled"),
    "a structured array": (
        "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,)}",
        "structured array",
    ),
    "text": ("{'descr': '<U3', 'fortran_order': False, 'shape': (1,)}", "neither a number nor a boolean"),
    "code": ("{'descr': '<f4', 'fortran_order': False, 'shape': __import__('os')}", "nothing else"),
    "too few bytes": (
        "{'descr': '<f4', 'fortran_order': False, 'shape': (100000000000, 9)}",
        "is truncated",
    ),
    "a huge dim": (
        "{'descr': '<f4', 'fortran_order': False, 'shape': (0, 999999999999999)}",
        "impossible shape",
    ),
    "a negative dim": ("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}", "nothing else"),
    "no type": ("{'descr': '<q9', 'fortran_order': False, 'shape': (1,)}", "not a type of NumPy's"),
}


@pytest.mark.parametrize(("header", "fact"), NPY.values(), ids=NPY)
def test_a_npy_header_that_lies_is_refused(tmp_path, header, fact):
    (tmp_path / "w.npy").write_bytes(npy_bytes(header) + b"\0\0\0\0")
    with zipfile.ZipFile(tmp_path / "w.npz", "w") as archive:
        archive.writestr("a.npy", npy_bytes(header) + b"\0\0\0\0")

    assert fact in fact_of(tmp_path / "w.npy")
    assert fact in fact_of(tmp_path / "w.npz")


def test_an_archive_whose_member_says_to_be_larger_than_the_file_is_refused(tmp_path):
    header = "{'descr': '<f4', 'fortran_order': False, 'shape': (250000000,)}"
    with zipfile.ZipFile(tmp_path / "w.npz", "w") as archive:
        archive.writestr("a.npy", npy_bytes(header) + b"\0" * 64)
    size = len(npy_bytes(header)) + 64
    lie = struct.pack("<II", 1_000_000_100, 1_000_000_100)
    data = (tmp_path / "w.npz").read_bytes().replace(struct.pack("<II", size, size), lie)
    (tmp_path / "w.npz").write_bytes(data)

    assert "array 'a'" in fact_of(tmp_path / "w.npz")


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path):
    header = "{'descr': '<f4', 'fortran_order': False, 'shape': (250000000,)}"
    with zipfile.ZipFile(tmp_path / "w.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", npy_bytes(header) + b"\0" * 64)
    size = len(npy_bytes(header)) + 64
    data = (tmp_path / "w.npz").read_bytes()
    data = data.replace(struct.pack("<I", size), struct.pack("<I", 1_000_000_100))
    (tmp_path / "w.npz").write_bytes(data)

    assert "cannot unpack to 953.7 MiB" in fact_of(tmp_path / "w.npz")


def test_external_data_outside_the_root_is_refused(tmp_path):
    (tmp_path / "secret.bin").write_bytes(b"\0" * 2048)
    (tmp_path / "project").mkdir()
    tensor = onnx.TensorProto(name="w", data_type=1, dims=[512], data_location=1)
    for key, value in (("location", "../secret.bin"), ("offset", "0"), ("length", "2048")):
        tensor.external_data.add(key=key, value=value)
    graph = onnx.helper.make_graph([], "g", [], [], [tensor])
    (tmp_path / "project/m.onnx").write_bytes(onnx.helper.make_model(graph).SerializeToString())

    for root in (tmp_path / "project", tmp_path, None):
        assert "secret.bin" in fact_of(tmp_path / "project/m.onnx", root)
