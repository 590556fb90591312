"""Data sets: batches as the model needs them, wrong ones refused by name, memory that of a batch."""

from __future__ import annotations

import zipfile

import numpy as np
import pytest

from trtpipe.canonical.summary import TensorInfo
from trtpipe.datasets import dataset_record, digest_sources, npz
from trtpipe.datasets.samples.batches import open_dataset
from trtpipe.digests import Digest
from trtpipe.errors import SpecError
from trtpipe.spec.dataset import DatasetSpec

IMAGE = TensorInfo("x", "float32", (None, 3, 4, 5))
IMAGES = np.random.default_rng(1).standard_normal((10, 3, 4, 5)).astype(np.float32)
LABELS = np.arange(10)


def spec_of(**fields):
    return DatasetSpec.model_validate({"schema": 1, **fields})


@pytest.fixture
def folder(tmp_path):
    np.savez(tmp_path / "plain.npz", x=IMAGES, label=LABELS)
    np.savez_compressed(tmp_path / "packed.npz", x=IMAGES, label=LABELS)
    np.save(tmp_path / "x.npy", IMAGES)
    np.save(tmp_path / "label.npy", LABELS)
    return tmp_path


def batches_of(folder, spec, inputs=(IMAGE,), **options):
    with open_dataset(spec, folder.joinpath, inputs, **options) as data:
        return list(data), data


def problems_of(folder, spec, inputs=(IMAGE,)):
    with pytest.raises(SpecError) as caught:
        batches_of(folder, spec, inputs)
    return [problem.fact for problem in caught.value.problems]


SOURCES = {
    "plain npz": {"npz": "plain.npz"},
    "compressed npz": {"npz": "packed.npz"},
    "npy": {"npy": {"x": "x.npy", "label": "label.npy"}},
}


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_every_sample_comes_once_and_in_order_with_its_label(folder, source):
    batches, _ = batches_of(folder, spec_of(**source, labels="label", batch=4))

    assert [len(inputs["x"]) for inputs, _ in batches] == [4, 4, 2]
    assert np.array_equal(np.concatenate([inputs["x"] for inputs, _ in batches]), IMAGES)
    assert np.array_equal(np.concatenate([labels for _, labels in batches]), LABELS)


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_shuffling_is_seeded_and_the_same_for_every_source(folder, source):
    shuffled = spec_of(**source, shuffle=True, seed=7, samples=6, labels="label", batch=6)
    ((inputs, labels),), _ = batches_of(folder, shuffled)

    expected = np.random.Generator(np.random.PCG64(7)).permutation(10)[:6]
    assert np.array_equal(labels, expected)
    assert np.array_equal(inputs["x"], IMAGES[expected])


def test_a_fixed_batch_dimension_drops_what_is_left_over(folder):
    fixed = TensorInfo("x", "float32", (4, 3, 4, 5))

    batches, data = batches_of(folder, spec_of(npz="plain.npz"), [fixed])

    assert [len(inputs["x"]) for inputs, _ in batches] == [4, 4]
    assert data.dropped == 2


def test_sample_shapes_are_those_that_are_fed(folder):
    batches, data = batches_of(folder, spec_of(npz="plain.npz", batch=4))

    fed = {tuple(inputs["x"].shape) for inputs, _ in batches}
    assert {shapes["x"] for shapes in data.sample_shapes()} == fed


def test_preprocessing_is_scale_mean_std_then_layout_then_type(folder):
    given = {"scale": 2.0, "mean": [1.0, 2.0, 3.0], "std": [1.0, 2.0, 4.0], "layout": "nchw_to_nhwc"}
    half = TensorInfo("x", "float16", (None, 4, 5, 3))

    ((inputs, _),), _ = batches_of(folder, spec_of(npz="plain.npz", inputs={"x": given}, batch=10), [half])

    mean, std = (np.float32(given[key]).reshape(1, 3, 1, 1) for key in ("mean", "std"))
    expected = ((IMAGES * np.float32(2) - mean) / std).transpose(0, 2, 3, 1).astype(np.float16)
    assert np.array_equal(inputs["x"], expected)
    assert inputs["x"].flags.c_contiguous


def test_a_constant_is_fed_whole_with_every_batch(tmp_path):
    np.savez(tmp_path / "a.npz", x=IMAGES, rate=np.int64(16000))
    rate = TensorInfo("rate", "int64", ())

    batches, _ = batches_of(
        tmp_path, spec_of(npz="a.npz", inputs={"rate": {"constant": True}}, batch=5), [IMAGE, rate]
    )

    assert [inputs["rate"].item() for inputs, _ in batches] == [16000, 16000]
    assert batches[0][0]["rate"].shape == ()


def test_fewer_samples_can_be_asked_for_from_outside(folder):
    _, data = batches_of(folder, spec_of(npz="plain.npz", samples=8), samples=3)

    assert data.samples == 3


def test_random_samples_depend_on_the_seed_and_not_on_the_batch(tmp_path):
    source = {"shapes": {"x": [1, 3, 4, 5]}}
    one, _ = batches_of(tmp_path, spec_of(random=source, samples=6, seed=3, batch=1))
    all_, _ = batches_of(tmp_path, spec_of(random=source, samples=6, seed=3, batch=6))
    other, _ = batches_of(tmp_path, spec_of(random=source, samples=6, seed=4, batch=6))

    assert np.array_equal(np.concatenate([inputs["x"] for inputs, _ in one]), all_[0][0]["x"])
    assert not np.array_equal(all_[0][0]["x"], other[0][0]["x"])


def test_a_random_sample_may_be_a_whole_batch_of_integers(tmp_path):
    tokens = TensorInfo("t", "int32", (2, None))

    batches, _ = batches_of(
        tmp_path, spec_of(random={"shapes": {"t": [2, 7]}, "high": 5}, samples=3), [tokens]
    )

    assert [inputs["t"].shape for inputs, _ in batches] == [(2, 7)] * 3
    assert {int(v) for inputs, _ in batches for v in inputs["t"].flat} <= set(range(5))


WRONG = {
    "missing array": ({"inputs": {"x": {"array": "y"}}}, IMAGE, "no array 'y' for the model's input 'x'"),
    "no such input": ({"inputs": {"z": {}}}, IMAGE, "the model has no input 'z'"),
    "static dims": ({}, TensorInfo("x", "float32", (None, 3, 4, 6)), "axis 3 differs"),
    "rank": ({}, TensorInfo("x", "float32", (None, 3, 4)), "rank 4, but input 'x' is ?x3x4, rank 3"),
    "type": ({}, TensorInfo("x", "int64", (None, 3, 4, 5)), "array 'x' is float32, but input 'x' is int64"),
    "too many": ({"samples": 11}, IMAGE, "11 samples are requested, but there are 10"),
    "mean": ({"inputs": {"x": {"mean": [1.0, 2.0]}}}, IMAGE, "mean of input 'x' has 2 values"),
    "std": ({"inputs": {"x": {"std": 0.0}}}, IMAGE, "input 'x' has a std of 0"),
    "labels": ({"labels": "x"}, IMAGE, "labels 'x' are float32 10x3x4x5, not one integer per sample"),
    "batch": (
        {"batch": 3},
        TensorInfo("x", "float32", (4, 3, 4, 5)),
        "the model's batch dimension is fixed at 4",
    ),
}


@pytest.mark.parametrize(("fields", "info", "fact"), WRONG.values(), ids=WRONG)
def test_what_does_not_fit_is_refused_by_name(folder, fields, info, fact):
    assert any(fact in said for said in problems_of(folder, spec_of(npz="plain.npz", **fields), [info]))


def test_all_problems_are_reported_together(folder):
    wrong = spec_of(npz="plain.npz", samples=99, labels="none", inputs={"z": {}})

    assert len(problems_of(folder, wrong)) == 3


def test_labels_of_another_length_are_refused(tmp_path):
    np.savez(tmp_path / "a.npz", x=IMAGES, label=LABELS[:9])

    assert problems_of(tmp_path, spec_of(npz="a.npz", labels="label")) == [
        "there are 9 labels 'label' for 10 samples"
    ]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_sample_that_is_not_finite_is_refused_with_its_index(tmp_path, bad):
    images = IMAGES.copy()
    images[7, 0, 0, 0] = bad
    np.savez(tmp_path / "a.npz", x=images)

    (fact,) = problems_of(tmp_path, spec_of(npz="a.npz", batch=4))

    assert "in sample 7" in fact


def test_a_value_that_overflows_the_inputs_type_is_refused(tmp_path):
    np.savez(tmp_path / "a.npz", x=IMAGES + np.float32(1e6))

    (fact,) = problems_of(tmp_path, spec_of(npz="a.npz"), [TensorInfo("x", "float16", (None, 3, 4, 5))])

    assert "an infinity in sample 0 as float16" in fact


def test_an_empty_array_is_refused(tmp_path):
    np.savez(tmp_path / "a.npz", x=IMAGES[:0])

    assert problems_of(tmp_path, spec_of(npz="a.npz"))[0] == "array 'x' is empty (0x3x4x5)"


@pytest.mark.parametrize("source", [{"npz": "a.npz"}, {"npy": {"x": "a.npy"}}], ids=["npz", "npy"])
def test_pickled_objects_are_never_loaded(tmp_path, source):
    objects = np.array([{"a": 1}], dtype=object)
    np.savez(tmp_path / "a.npz", x=objects)
    np.save(tmp_path / "a.npy", objects, allow_pickle=True)

    assert "never unpickled" in problems_of(tmp_path, spec_of(**source))[0]


DAMAGED = {
    "no zip": ("npz", b"not a zip", "is not an .npz archive"),
    "no npy": ("npy", b"not an array", "is not an array in the .npy format"),
}


@pytest.mark.parametrize(("kind", "content", "fact"), DAMAGED.values(), ids=DAMAGED)
def test_damaged_files_are_refused(tmp_path, kind, content, fact):
    (tmp_path / "a").write_bytes(content)

    assert fact in problems_of(tmp_path, spec_of(**{kind: "a" if kind == "npz" else {"x": "a"}}))[0]


def test_a_truncated_npy_is_refused(folder):
    whole = (folder / "x.npy").read_bytes()
    (folder / "x.npy").write_bytes(whole[:-8])

    assert "is truncated" in problems_of(folder, spec_of(npy={"x": "x.npy"}))[0]


def test_an_archive_that_unpacks_to_too_much_is_refused_before_unpacking(folder, monkeypatch):
    monkeypatch.setattr(npz, "LARGEST_UNPACKED", 1000)

    assert "would unpack to" in problems_of(folder, spec_of(npz="packed.npz"))[0]
    assert batches_of(folder, spec_of(npz="plain.npz"))[0]


def test_a_wrong_checksum_is_refused(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", x=IMAGES)
    with zipfile.ZipFile(tmp_path / "a.npz") as archive:
        info = archive.getinfo("x.npy")
    data = bytearray((tmp_path / "a.npz").read_bytes())
    data[data.index(info.CRC.to_bytes(4, "little"), len(data) - 200)] ^= 1  # in the central directory
    (tmp_path / "a.npz").write_bytes(bytes(data))

    assert "cannot be unpacked" in problems_of(tmp_path, spec_of(npz="a.npz"))[0]


def test_the_record_follows_content_and_preprocessing_but_not_prose(folder):
    spec = spec_of(npz="plain.npz", description="one")
    record = dataset_record(spec, digest_sources(spec, folder.joinpath))

    assert record == dataset_record(spec_of(npz="plain.npz"), digest_sources(spec, folder.joinpath))
    assert record != dataset_record(spec_of(npz="plain.npz", batch=2), digest_sources(spec, folder.joinpath))
    assert record != dataset_record(spec, {"plain.npz": Digest("0" * 64, 1)})


def test_no_more_than_a_batch_is_read(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((1, 3, 4, 5), np.float32))
    header = (
        (tmp_path / "x.npy")
        .read_bytes()[:128]
        .replace(b"(1, 3", b"(200000000, 3")
        .replace(b" " * 8 + b"\n", b"\n")
    )
    with (tmp_path / "x.npy").open("wb") as file:  # 48 GB, sparse: reading it all would take minutes
        file.write(header)
        file.truncate(len(header) + 200_000_000 * 3 * 4 * 5 * 4)

    zeros = spec_of(npy={"x": "x.npy"}, batch=2, inputs={"x": {"allow_constant": True}})
    with open_dataset(zeros, tmp_path.joinpath, [IMAGE], samples=2) as data:
        ((inputs, _),) = list(data)

    assert inputs["x"].shape == (2, 3, 4, 5)
