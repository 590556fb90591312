"""The typed model's outputs that a validation keeps: given back batch by batch, bounded, the same bytes each time."""

from __future__ import annotations

import json
import zipfile

import numpy as np
import pytest

from trtpipe.errors import ModelError
from trtpipe.runners.validation.typed_outputs import open_outputs, writing_outputs

BATCH = {"logits": np.arange(6, dtype=np.float32).reshape(2, 3), "mask/1": np.array([True, False])}


def write(path, *batches, limit=1 << 20):
    with writing_outputs(path) as writer:
        writer.limit = limit
        writer.fed({"image": "float32"})
        for place, outputs in batches:
            writer.add(place, outputs)


def test_batches_come_back_by_place_and_number(tmp_path):
    other = {name: array[::-1] for name, array in BATCH.items()}
    write(tmp_path / "a.npz", ("data", BATCH), ("data", other), ("profile 0 at max", BATCH))

    with open_outputs(tmp_path / "a.npz") as kept:
        second, corner = kept.batch("data", 1, ("mask/1",)), kept.batch("profile 0 at max", 0, ("logits",))
        dtypes, none = kept.dtypes, kept.batch("data", 2, ("logits",))

    assert dtypes == {"image": "float32"}
    assert np.array_equal(second["mask/1"], other["mask/1"])
    assert np.array_equal(corner["logits"], BATCH["logits"])
    assert none is None


def test_what_does_not_fit_any_more_is_left_out_and_so_is_all_that_follows(tmp_path):
    size = sum(array.nbytes for array in BATCH.values())
    small = {"logits": BATCH["logits"][:1], "mask/1": BATCH["mask/1"][:1]}
    write(tmp_path / "a.npz", ("data", BATCH), ("data", BATCH), ("data", small), limit=size + size // 2 + 4)

    with open_outputs(tmp_path / "a.npz") as kept:
        found = [kept.batch("data", number, tuple(BATCH)) is not None for number in range(3)]

    assert found == [True, False, False]


def test_types_that_numpy_s_files_lack_are_left_out(tmp_path):
    ml_dtypes = pytest.importorskip("ml_dtypes")
    write(tmp_path / "a.npz", ("data", {"logits": np.zeros(3, ml_dtypes.bfloat16)}))

    with open_outputs(tmp_path / "a.npz") as kept:
        assert kept.batch("data", 0, ("logits",)) is None


def test_equal_outputs_give_equal_bytes(tmp_path):
    for name in ("a.npz", "b.npz"):
        write(tmp_path / name, ("data", BATCH))

    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_nothing_kept_is_an_archive_too(tmp_path):
    with writing_outputs(tmp_path / "a.npz"):
        pass

    with open_outputs(tmp_path / "a.npz") as kept:
        assert kept.dtypes == {}
        assert kept.batch("data", 0, ("logits",)) is None


@pytest.mark.parametrize("fed", [b"[1]", b"{", b'{"image": 7}', b"\xff"])
def test_a_damaged_archive_is_one_error(tmp_path, fed):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive, archive.open("fed.npy", "w") as file:
        np.lib.format.write_array(file, np.frombuffer(fed, np.uint8))

    with pytest.raises(ModelError), open_outputs(tmp_path / "a.npz"):
        pass


def test_a_file_that_is_no_archive_is_one_error(tmp_path):
    (tmp_path / "a.npz").write_text(json.dumps({}))

    with pytest.raises(ModelError), open_outputs(tmp_path / "a.npz"):
        pass
