"""What is fuzzed: each reader by name, with the files that it is given and what it does with them.

To add one, add a line to `READERS`. A case is a folder of files, one of which is damaged.
"""

from __future__ import annotations

import io
import struct
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.fuzz.package_readers import archives, indexes, layouts, read_archive, read_index, read_layout
from tests.fuzz.sample_readers import image_files, parquet_files, reads_set

SHARED = Path(__file__).resolve().parents[3] / "shared/testdata"
_LARGEST = 1 << 18  # files of the corpus beyond this only cost time

Files = Mapping[str, bytes]


@dataclass(frozen=True)
class Reader:
    """`corpus` makes the cases; `damaged` tells which of a case's files is damaged; `read` takes their folder."""

    corpus: Callable[[], list[Files]]
    damaged: str
    read: Callable[[Path], Any]


def _weights(name: str) -> Callable[[Path], None]:
    def read(folder: Path) -> None:
        from trtpipe.weights import open_weights

        with tempfile.TemporaryDirectory() as workplace:
            weights = open_weights(folder / name, root=folder, workplace=Path(workplace))
            for one in weights.names:
                found = weights.array(one)
                assert found.size == weights.count_of(one)
                shape, location = weights.shape_of(one), weights.location(one)
                assert shape is None or found.shape == shape
                assert location is None or location[1] + found.nbytes <= location[0].stat().st_size
                assert len(found.reshape(-1)[-1:].tobytes()) <= found.nbytes  # the last one is read

    return read


def _onnx(folder: Path) -> None:
    from trtpipe.canonical.checks import check_model
    from trtpipe.canonical.reader import read_skeleton
    from trtpipe.canonical.summary import summarize

    proto = read_skeleton(folder / "model.onnx", root=folder).proto
    check_model(proto)
    summarize(proto)


def _dataset(folder: Path) -> None:
    from trtpipe.canonical.summary import TensorInfo
    from trtpipe.datasets.samples.batches import open_dataset
    from trtpipe.spec.dataset import DatasetSpec

    spec = DatasetSpec.model_validate({"schema": 1, "npz": "x.npz", "batch": 4})
    with open_dataset(spec, folder.joinpath, [TensorInfo("x", "float32", (None, 3))]) as data:
        for _ in data:
            pass


def _parser(parser: str, source: str, **options: str) -> Callable[[Path], None]:
    """Reads through a frontend, whose options name files of the case."""

    def read(folder: Path) -> None:
        from trtpipe.frontends import ModelFiles, frontend_called

        frontend = frontend_called(parser)
        files = ModelFiles(folder / source, {key: folder / name for key, name in options.items()}, folder)
        with tempfile.TemporaryDirectory() as workplace:
            frontend.propose(folder / source)
            frontend.read(files, frontend.Options.model_validate(options), Path(workplace))

    return read


def _arrays() -> dict[str, Any]:
    import numpy as np

    numbers = np.arange(30, dtype=np.float32).reshape(10, 3)
    return {"x": numbers, "deep/name": numbers.astype(np.float16), "flag": np.array([True]), "n": np.int64(5)}


def _npz() -> list[Files]:
    import numpy as np

    made: list[Files] = []
    for save in (np.savez, np.savez_compressed):
        file = io.BytesIO()
        save(file, **_arrays())
        made.append({"x.npz": file.getvalue()})
    return made


def _npy() -> list[Files]:
    import numpy as np

    made: list[Files] = []
    for array in _arrays().values():
        file = io.BytesIO()
        np.save(file, array)
        made.append({"x.npy": file.getvalue()})
    return made


def _safetensors() -> list[Files]:
    from trtpipe.weights.safetensors import Writable, write_safetensors

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "x")
        tensors = {
            name: Writable(array.dtype.name, array.shape, lambda array=array: array)
            for name, array in _arrays().items()
        }
        write_safetensors(path, tensors)
        return [{"x.safetensors": path.read_bytes()}]


def _wts() -> list[Files]:
    values = " ".join(struct.pack(">f", i / 3).hex() for i in range(2000))
    return [
        {"x.wts": b"2\na 2 3f800000 40000000\nlayer.bias 1  0 \n"},
        {"x.wts": f"1\nweight 2000  {values}\n".encode()},
    ]


def _onnx_models() -> list[Files]:
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 10])
    weight = numpy_helper.from_array(_arrays()["x"].T.copy(), "w")
    body = helper.make_graph([helper.make_node("Neg", ["p"], ["q"])], "then", [], [y.__class__(name="q")])
    nodes = [helper.make_node("MatMul", ["x", "w"], ["p"]), helper.make_node("Relu", ["p"], ["y"])]
    nodes.append(helper.make_node("If", ["c"], ["z"], then_branch=body, else_branch=body))
    condition = helper.make_tensor_value_info("c", TensorProto.BOOL, [])
    graph = helper.make_graph(nodes, "g", [x, condition], [y], [weight])
    made = [helper.make_model(graph).SerializeToString()]
    large = numpy_helper.from_array(_arrays()["x"].repeat(40), "large")
    made.append(helper.make_model(helper.make_graph([], "g", [], [], [large])).SerializeToString())
    assert onnx.load_from_string(made[0])
    return [{"model.onnx": data} for data in made] + _shared("onnx/polygraphy/*.onnx", "model.onnx")


def _shared(pattern: str, name: str, **beside: str) -> list[Files]:
    """Files of the shared test data, where there are any; `beside` are the suffixes of those that go with them."""
    found: list[Files] = []
    for path in sorted(SHARED.glob(pattern)):
        others = {other: path.with_suffix(suffix) for other, suffix in beside.items()}
        if path.stat().st_size <= _LARGEST and all(other.exists() for other in others.values()):
            found.append({name: path.read_bytes(), **{o: p.read_bytes() for o, p in others.items()}})
    return found


def _caffe() -> list[Files]:
    return _shared("caffe/layers/*.prototxt", "net.prototxt", **{"net.caffemodel": ".caffemodel"})


def _graph(folder: Path) -> None:
    from trtpipe.frontends import ModelFiles
    from trtpipe.frontends.tensorflow import TensorflowOptions, frontend

    path = folder / "graph.pb"
    proposal = frontend.propose(path)
    options = TensorflowOptions.model_validate(dict(proposal.options) if proposal else {})
    frontend.belonging(ModelFiles(path), options)


def _program(folder: Path) -> None:
    from trtpipe.frontends.torch_format.archive import read_pt2, write_bare

    write_bare(read_pt2(folder / "net.pt2"), folder / "bare.pt2")


def _cache(folder: Path) -> None:
    """Reads a calibration cache and takes from it what a model of the corpus' names can use."""
    from trtpipe.calibration.caches.graph_names import ModelNames, NodeNames
    from trtpipe.calibration.caches.matches import match_cache
    from trtpipe.calibration.caches.reader import read_cache
    from trtpipe.calibration.caches.report import lines_of, report_of_cache, scales_of

    cache = read_cache(folder / "net.cache")
    nodes = (NodeNames("conv1", "Conv", ("data", "w"), ("conv1_out",)),)
    match = match_cache(
        cache, ModelNames(frozenset({"data", "conv1_out"}), frozenset({"w"}), nodes), ["data"]
    )
    report = report_of_cache(cache, match, 0.9)
    assert report["cache"]["matched"] + len(match.stale) + len(match.unusable) == len(cache.names)
    assert all(0 < one.amax < float("inf") for one in scales_of(cache, match).tensors.values())
    scales_of(cache, match).write(folder / "scales.json")
    "\n".join(lines_of(report)).encode()


def _caches() -> list[Files]:
    import json

    text = (
        b"TRT-8601-EntropyCalibration2\ndata: 3c008912\n(Unnamed Layer* 1) [Convolution]_output: 3c60dd38\n"
    )
    scales = {"schema": 1, "method": "max", "source": "", "tensors": {"data": {"amax": 1.0}}}
    tables = [{"data": 1.0, "conv1": 2e-3}, {"tensor_scales": {"data": 1.5}}, {"data": [-1.0, 0.5]}, scales]
    tables.append({"CLS": "TensorsData", "data": {"data": {"lowest": {"data": [-1.0]}, "highest": 2.0}}})
    files = [text, text.replace(b"\n", b"\r\n"), b"data 1.0\nconv1 2e-3\n", _FLAT_TABLE]
    return [{"net.cache": one} for one in (*files, *(json.dumps(table).encode() for table in tables))]


_FLAT_TABLE = bytes.fromhex(
    "0c00000000000600080004000600000004000000020000000800000030000000dcffffff080000001000000004000000"
    "302e32350000000005000000636f6e763100000008000c000800040008000000080000000c00000003000000312e3000"
    "040000006461746100000000"
)
"""A table of ONNX Runtime with two tensors, as the FlatBuffers library writes it."""


READERS: dict[str, Reader] = {
    "onnx": Reader(_onnx_models, "model.onnx", _onnx),
    "onnx weights": Reader(_onnx_models, "model.onnx", _weights("model.onnx")),
    "npz": Reader(_npz, "x.npz", _weights("x.npz")),
    "npy": Reader(_npy, "x.npy", _weights("x.npy")),
    "safetensors": Reader(_safetensors, "x.safetensors", _weights("x.safetensors")),
    "wts": Reader(_wts, "x.wts", _weights("x.wts")),
    "data set npz": Reader(_npz, "x.npz", _dataset),
    "data set images": Reader(image_files, "x.png", reads_set(images="x.png", inputs={"x": {"resize": 8}})),
    "data set parquet": Reader(parquet_files, "x.parquet", reads_set(parquet="x.parquet")),
    "prototxt": Reader(_caffe, "net.prototxt", _parser("caffe", "net.prototxt", weights="net.caffemodel")),
    "caffemodel": Reader(
        _caffe, "net.caffemodel", _parser("caffe", "net.prototxt", weights="net.caffemodel")
    ),
    "uff": Reader(lambda: _shared("uff/*.uff", "net.uff"), "net.uff", _parser("uff", "net.uff")),
    "graphdef": Reader(lambda: _shared("tf/ops/*.pb", "graph.pb"), "graph.pb", _graph),
    "pt2": Reader(lambda: _shared("torch/*.pt2", "net.pt2"), "net.pt2", _program),
    "calibration cache": Reader(_caches, "net.cache", _cache),
    "package archive": Reader(archives, "p.tar", read_archive),
    "package index": Reader(indexes, "index.json", read_index),
    "image layout": Reader(layouts, "index.json", read_layout),
    "image index": Reader(layouts, "top.json", read_layout),
    "image manifest": Reader(layouts, "holder.json", read_layout),
}

_NEEDS_PARSER = {
    "prototxt": "caffe",
    "caffemodel": "caffe",
    "uff": "uff",
    "graphdef": "tensorflow",
    "pt2": "pytorch",
}


def available() -> list[str]:
    """The readers that there are here and that have a corpus."""
    from trtpipe.frontends import frontend_names

    parsers = frontend_names()
    return [
        name
        for name, reader in READERS.items()
        if _NEEDS_PARSER.get(name, "onnx") in parsers and reader.corpus()
    ]
