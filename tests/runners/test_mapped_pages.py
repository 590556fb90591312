"""Letting go of mapped pages: memory comes back, and no byte that was written is lost."""

from __future__ import annotations

import mmap
import sys
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, save

from trtpipe.runners.cpu import onnxruntime
from trtpipe.runners.cpu.mapped_pages import let_go_of_mapped_pages
from trtpipe.runners.cpu.onnxruntime import open_runner

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="not run: looks into /proc")

SIZE = 4 << 20


def resident(path):
    """The resident bytes of this process's mappings of a file."""
    found, mapped = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if "-" in line.split(" ", 1)[0]:
            mapped = line.endswith(str(path))
        elif mapped and line.startswith("Rss:"):
            found += int(line.split()[1]) * 1024
    return found


@pytest.fixture
def mapping(tmp_path):
    path = tmp_path / "weights"
    path.write_bytes(bytes(range(256)) * (SIZE // 256))
    with path.open("rb") as file:
        made = mmap.mmap(file.fileno(), 0, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE)
        yield path, made
        made.close()


def test_pages_that_were_only_read_are_given_back_and_read_again(mapping):
    path, made = mapping
    before = bytes(made)
    assert resident(path) == SIZE

    assert let_go_of_mapped_pages() >= SIZE

    assert resident(path) == 0
    assert bytes(made) == before


def test_samples_that_were_mapped_by_numpy_are_given_back_and_read_again(tmp_path):
    path = tmp_path / "samples.npy"
    np.save(path, np.arange(SIZE // 4, dtype=np.float32))
    mapped = np.load(path, mmap_mode="r")
    total = float(mapped.sum(dtype=np.float64))
    assert resident(path) >= SIZE

    let_go_of_mapped_pages()

    assert resident(path) == 0
    assert float(mapped.sum(dtype=np.float64)) == total


def test_a_shared_mapping_that_may_be_written_is_left_alone(tmp_path):
    path = tmp_path / "counts"
    path.write_bytes(bytes(SIZE))
    made = np.memmap(path, np.uint8, "r+")
    made[:] = 1

    let_go_of_mapped_pages()

    assert resident(path) == SIZE
    assert made.all()


def test_a_mapping_that_was_written_to_is_left_alone(mapping):
    path, made = mapping
    made[SIZE // 2] = 255

    let_go_of_mapped_pages()

    assert made[SIZE // 2] == 255
    assert path.read_bytes()[SIZE // 2] == 0


def big_model(folder):
    weight = TensorProto(
        name="w", data_type=TensorProto.FLOAT, dims=[1024, 1024], data_location=TensorProto.EXTERNAL
    )
    weight.external_data.add(key="location", value="m.data")
    np.random.default_rng(0).standard_normal((1024, 1024)).astype(np.float32).tofile(folder / "m.data")
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 1024]) for name in "xy"]
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])], "g", ends[:1], ends[1:], [weight]
    )
    save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), folder / "m.onnx"
    )
    return folder / "m.onnx"


def test_a_large_model_keeps_no_pages_between_runs_and_gives_the_same_results(tmp_path, monkeypatch):
    path, data = big_model(tmp_path), tmp_path / "m.data"
    x = {"x": np.ones((1, 1024), np.float32)}
    with open_runner(path) as runner:
        kept, pages = runner.infer(x), resident(data)
    monkeypatch.setattr(onnxruntime, "_LARGE", SIZE)

    with open_runner(path) as runner:
        first, second = runner.infer(x), runner.infer(x)

        assert resident(data) == 0
    assert pages == SIZE
    assert np.array_equal(kept["y"], first["y"])
    assert np.array_equal(first["y"], second["y"])
