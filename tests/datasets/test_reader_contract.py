"""What every reader promises, found by its file."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.datasets.pictures import gradient, save
from trtpipe.canonical.summary import TensorInfo
from trtpipe.datasets import find_reader, reader_names, source_files
from trtpipe.datasets.locations import GivenFiles
from trtpipe.datasets.locations.projects import ProjectFiles
from trtpipe.datasets.samples.batches import open_dataset
from trtpipe.loader.project import Project
from trtpipe.loader.schema import field_docs
from trtpipe.spec.dataset import SOURCES, DatasetSpec
from trtpipe.weights.safetensors import Writable, write_safetensors

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = pytest.importorskip("tomllib")

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("numpy", "onnx", "onnxruntime", "PIL", "pyarrow")
SAMPLES = np.stack([gradient(6, 5, seed) for seed in range(4)]).astype(np.float32)
X = TensorInfo("x", "float32", (None, 6, 5, 3))


def _npz(root):
    np.savez(root / "a.npz", x=SAMPLES)
    return {"npz": "a.npz"}


def _npy(root):
    np.save(root / "x.npy", SAMPLES)
    return {"npy": {"x": "x.npy"}}


def _safetensors(root):
    tensors = {"x": Writable("float32", SAMPLES.shape, lambda: SAMPLES)}
    write_safetensors(root / "a.safetensors", tensors)
    return {"safetensors": "a.safetensors"}


def _images(root):
    pytest.importorskip("PIL")
    for number in range(4):
        save(root / f"photos/{number}.png", gradient(6, 5, number))
    return {"images": {"x": "photos"}, "inputs": {"x": {"layout": "nhwc"}}}


def _python(root):
    np.save(root / "x.npy", SAMPLES)
    text = "import numpy as np\ndef draw():\n    yield from ({'x': one} for one in np.load('x.npy'))\n"
    (root / "samples.py").write_text(text)
    return {"python": "samples:draw", "files": ["x.npy"]}


def _parquet(root):
    arrow = pytest.importorskip("pyarrow")
    import pyarrow.parquet

    rows = arrow.array(
        [one.tolist() for one in SAMPLES], arrow.list_(arrow.list_(arrow.list_(arrow.float32(), 3), 5), 6)
    )
    pyarrow.parquet.write_table(arrow.table({"x": rows}), root / "a.parquet", row_group_size=2)
    return {"parquet": "a.parquet"}


def _random(root):
    return {"random": {"shapes": {"x": [1, 6, 5, 3]}}, "samples": 4}


WRITE = {
    "npz": _npz,
    "npy": _npy,
    "safetensors": _safetensors,
    "images": _images,
    "python": _python,
    "parquet": _parquet,
    "random": _random,
}


@pytest.fixture(params=reader_names())
def kind(request):
    return request.param


def batches_of(root, fields, **more):
    spec = DatasetSpec.model_validate({"schema": 1, **fields, **more})
    files = source_files(spec, ProjectFiles(Project(root)))
    with open_dataset(spec, GivenFiles(files), [X]) as data:
        return [inputs["x"] for inputs, _ in data]


def test_it_is_a_documented_key_of_the_spec(kind):
    assert set(reader_names()) == set(SOURCES)
    assert field_docs(DatasetSpec)[kind]
    assert find_reader(kind).version >= 1


def test_it_reads_the_same_samples_in_the_same_order_as_any_other(kind, tmp_path):
    found = np.concatenate(batches_of(tmp_path, WRITE[kind](tmp_path), batch=3))

    assert found.dtype == np.float32
    assert found.shape == SAMPLES.shape
    assert kind == "random" or np.array_equal(found, SAMPLES)


def test_shuffling_is_the_same_for_all(kind, tmp_path):
    fields = WRITE[kind](tmp_path)
    straight = np.concatenate(batches_of(tmp_path, fields, seed=5))

    shuffled = np.concatenate(batches_of(tmp_path, fields, shuffle=True, seed=5))

    assert np.array_equal(shuffled, straight[np.random.Generator(np.random.PCG64(5)).permutation(4)])


def test_its_files_are_known_by_the_names_of_the_spec(kind, tmp_path):
    spec = DatasetSpec.model_validate({"schema": 1, **WRITE[kind](tmp_path)})

    files = source_files(spec, ProjectFiles(Project(tmp_path)))

    assert all((tmp_path / name).samefile(path) for name, path in files.items())
    assert kind == "random" or files


def test_an_extra_that_it_needs_is_one_of_trtpipes(kind):
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    reader = find_reader(kind)

    assert bool(reader.packages) == bool(reader.extra)
    assert not reader.extra or reader.extra in extras


@pytest.mark.parametrize("name", reader_names())
def test_importing_it_imports_nothing_heavy_but_where_samples_are_arrays(name):
    code = f"import sys, trtpipe.datasets.{name}; print([one for one in {HEAVY} if one in sys.modules])"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)

    assert not {"onnx", "onnxruntime", "PIL", "pyarrow"} & set(eval(done.stdout))
