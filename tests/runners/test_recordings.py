"""Recordings: what is kept of a validation, how much of it, and that an archive of any kind is read or refused."""

from __future__ import annotations

import zipfile

import ml_dtypes
import numpy as np
import pytest

from trtpipe.errors import ModelError
from trtpipe.runners.validation.recordings import (
    RecordedRun,
    Recorder,
    Worst,
    read_recording,
    write_recording,
)

X = np.arange(12, dtype=np.float32).reshape(3, 4)


def run(x=X, **more):
    return RecordedRun({"x": x}, {"y": -x}, **more)


def test_runs_come_back_as_they_were(tmp_path):
    path = tmp_path / "r.npz"
    write_recording(path, [run(labels=np.array([1, 2, 3]), place="data"), run(X[:1], got={"y": X[:1]})])

    first, second = read_recording(path)

    assert np.array_equal(first.inputs["x"], X) and np.array_equal(first.outputs["y"], -X)
    assert (first.labels.tolist(), first.place) == ([1, 2, 3], "data")
    assert np.array_equal(second.got["y"], X[:1]) and second.labels is None


def test_equal_runs_give_equal_bytes(tmp_path):
    for name in ("a.npz", "b.npz"):
        write_recording(tmp_path / name, [run()])

    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    with np.load(tmp_path / "a.npz") as archive:
        assert archive.files == ["in:x", "out:y"]


def test_samples_are_kept_up_to_a_size_and_the_first_batch_in_any_case():
    recorder = Recorder(limit=2 * run().nbytes + 1)
    for _ in range(5):
        recorder.add(run(), 3)
    small = Recorder(limit=1)
    small.add(run(), 3)
    small.add(run(), 3)

    assert (len(recorder.runs), recorder.samples) == (2, 6)
    assert (len(small.runs), small.samples) == (1, 3)


def test_types_that_numpy_lacks_are_written_as_float32_and_text_is_not_written():
    half = run(X.astype(ml_dtypes.bfloat16)).plain()
    text = RecordedRun({"x": X}, {"y": X, "names": np.array(["a"], object)}).plain()

    assert half.inputs["x"].dtype == np.float32
    assert list(text.outputs) == ["y"]
    assert RecordedRun({"x": np.array(["a"], object)}).plain() is None


def test_the_worst_sample_of_each_place_is_kept():
    worst = Worst()
    got = -X.copy()
    got[1, 2] += 1
    worst.add(run(got={"y": -X}, place="data"), ["y"], cut=True)
    worst.add(run(got={"y": got}, labels=np.array([7, 8, 9]), place="data"), ["y"], cut=True)
    worst.add(run(got={"y": got}, place="profile 0 at max"), ["y"], cut=False)

    data, corner = worst.runs()

    assert np.array_equal(data.inputs["x"], X[1:2]) and data.labels.tolist() == [8]
    assert corner.inputs["x"].shape == (3, 4)


def test_what_is_not_finite_is_worse_than_any_error():
    worst = Worst()
    broken, far = -X.copy(), -X.copy()
    broken[0, 0], far[2] = np.nan, 1e9
    for got in (far, broken):
        worst.add(run(got={"y": got}, place="data"), ["y"], cut=True)

    assert np.isnan(worst.runs()[0].got["y"][0, 0])


def test_without_an_error_nothing_is_kept_nor_is_what_is_too_large():
    worst = Worst(limit=10)
    worst.add(run(got={"y": -X}, place="data"), ["y"], cut=True)
    worst.add(run(got={"y": X}, place="data"), ["y"], cut=True)

    assert worst.runs() == []


@pytest.mark.parametrize("keep", [0, 10, 100, 300])
def test_a_damaged_archive_is_refused(tmp_path, keep):
    path = tmp_path / "r.npz"
    write_recording(path, [run()])
    path.write_bytes(path.read_bytes()[:keep])

    with pytest.raises(ModelError, match=r"r\.npz"):
        read_recording(path)


def test_an_archive_that_claims_more_than_it_holds_is_refused(tmp_path):
    path = tmp_path / "r.npz"
    header = (
        b"\x93NUMPY\x01\x00v\x00" + b"{'descr': '<f4', 'fortran_order': False, 'shape': (4000000000000,), }"
    )
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("in:x.npy", header.ljust(127) + b"\n")

    with pytest.raises(ModelError, match="in:x"):
        read_recording(path)
