"""Parquet files: columns of numbers, lists and images, streamed; damaged ones and gaps refused by name."""

from __future__ import annotations

import io

import numpy as np
import pytest

from tests.datasets.pictures import gradient
from trtpipe.canonical.summary import TensorInfo
from trtpipe.datasets.locations.projects import ProjectFiles
from trtpipe.datasets.samples.batches import open_dataset
from trtpipe.errors import SpecError
from trtpipe.loader.project import Project
from trtpipe.spec.dataset import DatasetSpec

arrow = pytest.importorskip("pyarrow")
import pyarrow.parquet  # noqa: E402


def write(path, **columns):
    path.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(arrow.table(columns), path, row_group_size=2)


def values_of(root, name, dtype, dims, **fields):
    spec = DatasetSpec.model_validate({"schema": 1, "parquet": "a.parquet", **fields})
    with open_dataset(spec, ProjectFiles(Project(root)), [TensorInfo(name, dtype, dims)]) as data:
        return [(inputs[name], labels) for inputs, labels in data]


def refused(root, name, dtype, dims, **fields):
    with pytest.raises(SpecError) as caught:
        values_of(root, name, dtype, dims, **fields)
    return caught.value.problems[0].fact


def png(pixels):
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def test_lists_of_differing_length_come_one_at_a_time(tmp_path):
    write(tmp_path / "a.parquet", x=[[1.0, 2.0], [3.0], [4.0, 5.0, 6.0]])

    assert [value.tolist() for value, _ in values_of(tmp_path, "x", "float64", (None, None))] == [
        [[1, 2]], [[3]], [[4, 5, 6]],
    ]  # fmt: skip


def test_numbers_and_labels_of_several_files_follow_each_other(tmp_path):
    write(tmp_path / "parts/b.parquet", x=arrow.array([3, 4], arrow.int32()), y=[1, 0])
    write(tmp_path / "parts/a.parquet", x=arrow.array([1, 2], arrow.int32()), y=[0, 1])

    found = values_of(tmp_path, "x", "int32", (None,), parquet="parts", labels="y", batch=4)

    assert [(value.tolist(), labels.tolist()) for value, labels in found] == [([1, 2, 3, 4], [0, 1, 1, 0])]


@pytest.mark.parametrize("struct", [False, True], ids=["bytes", "a struct with bytes"])
def test_encoded_images_are_decoded_and_preprocessed(tmp_path, struct):
    pytest.importorskip("PIL")
    images = [png(gradient(8, 9, seed)) for seed in range(3)]
    write(tmp_path / "a.parquet", image=[{"bytes": one, "path": ""} for one in images] if struct else images)

    found = values_of(
        tmp_path, "image", "float32", (None, 3, None, None), inputs={"image": {"center_crop": 8}}
    )

    assert np.array_equal(found[2][0][0], gradient(8, 9, 2)[:, :8].transpose(2, 0, 1))


WRONG = {
    "null": ({"x": [[1.0], None]}, "row 1 of column 'x' of 'a.parquet' is null"),
    "null inside": ({"x": [[1.0], [None]]}, "row 1 of column 'x' of 'a.parquet' is null"),
    "ragged": ({"x": [[[1.0], [2.0, 3.0]]]}, "lists of different lengths"),
    "empty": ({"x": [[1.0], []]}, "row 1 of column 'x' of 'a.parquet' is empty"),
    "text": ({"x": ["a"]}, "no array 'x' for the model's input 'x'"),
}


@pytest.mark.parametrize(("columns", "fact"), WRONG.values(), ids=WRONG)
def test_rows_that_are_no_samples_are_refused_by_name(tmp_path, columns, fact):
    write(tmp_path / "a.parquet", **columns)

    assert fact in refused(tmp_path, "x", "float64", None)


def test_an_image_that_cannot_be_decoded_is_named_by_its_row(tmp_path):
    pytest.importorskip("PIL")
    write(tmp_path / "a.parquet", x=[png(gradient(8, 9)), b"nothing"])

    assert "cannot decode 'row 1 of column x'" in refused(tmp_path, "x", "float32", (None, 3, 8, 9))


@pytest.mark.parametrize("cut", [0, 4, 100, -8])
def test_damaged_files_are_refused(tmp_path, cut):
    write(tmp_path / "a.parquet", x=[1.0, 2.0])
    whole = (tmp_path / "a.parquet").read_bytes()
    (tmp_path / "a.parquet").write_bytes(whole[:cut])

    assert "cannot read 'a.parquet' as Parquet: " in refused(tmp_path, "x", "float64", (None,))


def test_files_of_other_columns_do_not_go_together(tmp_path):
    write(tmp_path / "p/a.parquet", x=[1.0])
    write(tmp_path / "p/b.parquet", x=[1])

    assert "'p/b.parquet' has other columns" in refused(
        tmp_path, "x", "float64", (None,), parquet="p/*.parquet"
    )
