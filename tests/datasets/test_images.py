"""Data sets of images: found, ordered, decoded and preprocessed as declared; damaged ones refused by name."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.datasets.pictures import gradient, save

pytest.importorskip("PIL")

from PIL import Image

from trtpipe.canonical.summary import TensorInfo
from trtpipe.datasets import dataset_record, source_files
from trtpipe.datasets.locations import GivenFiles
from trtpipe.datasets.locations.projects import ProjectFiles
from trtpipe.datasets.samples.batches import open_dataset
from trtpipe.errors import SpecError
from trtpipe.loader.project import Project
from trtpipe.spec.dataset import DatasetSpec

ANY = TensorInfo("x", "float32", (None, 3, None, None))


def spec_of(**fields):
    return DatasetSpec.model_validate({"schema": 1, "images": "photos", **fields})


def of_input(**fields):
    return spec_of(inputs={"x": fields})


def batches_of(root, spec, info=ANY):
    with open_dataset(spec, ProjectFiles(Project(root)), [info]) as data:
        return [(inputs["x"], labels) for inputs, labels in data]


def samples_of(root, spec, info=ANY):
    return [sample for batch, _ in batches_of(root, spec, info) for sample in batch]


def one(root, info=ANY, **fields):
    """The one sample, as an array of the image's own layout."""
    (sample,) = samples_of(root, of_input(**fields), info)
    return sample.transpose(1, 2, 0)


def facts_of(root, spec, info=ANY):
    with pytest.raises(SpecError) as caught:
        batches_of(root, spec, info)
    return [problem.fact for problem in caught.value.problems]


def shape_facts_of(root, spec):
    with (
        pytest.raises(SpecError) as caught,
        open_dataset(spec, ProjectFiles(Project(root)), [ANY]) as data,
    ):
        data.sample_shapes()
    return [problem.fact for problem in caught.value.problems]


@pytest.fixture
def root(tmp_path):
    """A project with one image of 24 x 40 pixels."""
    save(tmp_path / "photos/a.png", gradient(24, 40))
    return tmp_path


# where they are


def test_a_folder_is_read_with_what_is_below_it_in_the_order_of_paths(tmp_path):
    for number, name in enumerate(["b/z.png", "a.png", "b/A.PNG", "c.bmp", ".hidden/x.png", "notes.txt"]):
        save(tmp_path / "photos" / name.replace("txt", "png"), gradient(4, 4, number))
    (tmp_path / "photos/notes.png").rename(tmp_path / "photos/notes.txt")

    found = source_files(spec_of(), ProjectFiles(Project(tmp_path)))

    assert list(found) == ["photos/a.png", "photos/b/A.PNG", "photos/b/z.png", "photos/c.bmp"]
    seeds = [sample[1, 0, 0] for sample in samples_of(tmp_path, spec_of())]
    assert seeds == [1, 2, 0, 3]


@pytest.mark.parametrize(
    ("images", "found"),
    [
        ("photos/*.png", ["photos/a.png"]),
        ("photos/**/*.png", ["photos/a.png", "photos/n/b.png", "photos/n/m/c.png"]),
        ("photos/n/[bd].png", ["photos/n/b.png"]),
        ("photos/n/[!bd].*", ["photos/n/e.bmp"]),
        (["photos/n/m", "photos/a.png", "photos/*.png"], ["photos/a.png", "photos/n/m/c.png"]),
        ("./photos/n/", ["photos/n/b.png", "photos/n/e.bmp", "photos/n/m/c.png"]),
        ("**/m/?.png", ["photos/n/m/c.png"]),
    ],
)
def test_globs_and_lists_name_files_once(tmp_path, images, found):
    for name in ("a.png", "n/b.png", "n/m/c.png", "n/e.bmp"):
        save(tmp_path / "photos" / name, gradient(4, 4))
    files = source_files(spec_of(images=images), ProjectFiles(Project(tmp_path)))

    assert sorted(files) == found
    with open_dataset(spec_of(images=images), GivenFiles(files), [ANY]) as data:  # as a stage sees them
        assert [data.feeds[0].source.name_of(index) for index in data.order] == [
            f"'{name}'" for name in found
        ]


def test_nothing_found_says_what_was_looked_for(tmp_path):
    (tmp_path / "photos").mkdir()

    assert facts_of(tmp_path, spec_of()) == ["no images in 'photos'"]
    assert facts_of(tmp_path, spec_of(images="photo")) == ["no such file: 'photo'"]
    assert facts_of(tmp_path, spec_of(images="../photos")) == ["'../photos' is outside the project"]


def test_links_out_of_the_project_are_refused_by_name(root, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    save(elsewhere / "b.png", gradient(4, 4))
    (root / "photos/b.png").symlink_to(elsewhere / "b.png")

    assert facts_of(root, spec_of()) == ["'photos/b.png' is outside the project"]

    (root / "photos/b.png").unlink()
    (root / "photos/more").symlink_to(elsewhere)
    assert facts_of(root, spec_of()) == ["'photos/more' is a link to a folder; such links are not followed"]


def test_links_inside_the_project_are_read(root):
    (root / "photos/b.png").symlink_to("a.png")

    assert len(samples_of(root, spec_of())) == 2


def test_what_is_no_regular_file_is_refused_before_it_is_opened(root):
    os.mkfifo(root / "photos/pipe.png")

    assert facts_of(root, spec_of()) == ["'photos/pipe.png' is not a regular file"]


# what becomes of them


def test_pixels_come_as_they_are_channels_first(root):
    (sample,) = samples_of(root, spec_of())

    assert sample.dtype == np.float32
    assert np.array_equal(sample, gradient(24, 40).transpose(2, 0, 1))


def test_channels_last_bgr_and_gray(root):
    last = TensorInfo("x", "uint8", (1, None, None, 3))
    (sample,) = samples_of(root, of_input(layout="nhwc", colour="bgr"), last)
    assert np.array_equal(sample, gradient(24, 40)[:, :, ::-1])

    (gray,) = samples_of(root, of_input(colour="gray"), TensorInfo("x", "float32", (None, 1, 24, 40)))
    luma = gradient(24, 40) @ np.array([299, 587, 114]) / 1000
    assert np.abs(gray[0] - luma).max() <= 1


def test_scale_mean_and_std_are_those_of_each_channel_in_the_declared_order(root):
    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    made = one(root, colour="bgr", scale=1 / 255, mean=mean, std=std)

    scaled = gradient(24, 40)[:, :, ::-1].astype(np.float32) * np.float32(1 / 255)
    assert np.array_equal(made, (scaled - np.float32(mean)) / np.float32(std))


def resized(size, filter_):
    return np.asarray(Image.fromarray(gradient(24, 40)).resize((size[1], size[0]), filter_))


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic", "lanczos"])
def test_stretching_is_pillows_resize(root, interpolation):
    made = one(root, resize={"size": "10x30", "interpolation": interpolation})

    assert np.array_equal(made, resized((10, 30), getattr(Image.Resampling, interpolation.upper())))


def test_a_size_alone_is_stretched_to(root):
    assert np.array_equal(one(root, resize=16), resized((16, 16), Image.Resampling.BILINEAR))


@pytest.mark.parametrize(("mode", "shape"), [("fit_short", (11, 18)), ("fit_long", (6, 11))])
def test_fitting_a_side_keeps_the_proportions(root, mode, shape):
    made = one(root, resize={"size": 11, "mode": mode})

    assert np.array_equal(made, resized(shape, Image.Resampling.BILINEAR))


def test_the_middle_is_cropped_as_torchvision_does(root):
    made = one(
        root, center_crop="9x15"
    )  # (24 - 9) / 2 = 7.5 and (40 - 15) / 2 = 12.5: halves to the even number

    assert np.array_equal(made, gradient(24, 40)[8:17, 12:27])


@pytest.mark.parametrize(("anchor", "top"), [("center", 6), ("top_left", 0)])
def test_a_letterbox_pads_around_the_image(root, anchor, top):
    made = one(root, resize={"size": 32, "mode": "letterbox", "anchor": anchor}, pad_value=114)

    inside = resized((19, 32), Image.Resampling.BILINEAR)  # 24 * 0.8 = 19.2
    assert np.array_equal(made[top : top + 19], inside)
    assert (np.delete(made, range(top, top + 19), axis=0) == 114).all()


def test_padding_to_a_multiple_is_at_the_bottom_and_right(root):
    made = one(root, pad_to_multiple=32, pad_value=[1, 2, 3])

    assert made.shape == (32, 64, 3)
    assert np.array_equal(made[:24, :40], gradient(24, 40))
    assert (made[24:] == [1, 2, 3]).all()
    assert (made[:, 40:] == [1, 2, 3]).all()


def bilinear_at(pixels, row, column):
    """The value between the four pixels around a point, the border repeated; one point at a time, by the book."""
    height, width = pixels.shape[:2]
    top, left = int(np.floor(row)), int(np.floor(column))
    total = np.zeros(pixels.shape[2])
    for y, wy in ((top, 1 - (row - top)), (top + 1, row - top)):
        for x, wx in ((left, 1 - (column - left)), (left + 1, column - left)):
            total += wy * wx * pixels[min(max(y, 0), height - 1), min(max(x, 0), width - 1)]
    return total


def test_without_antialiasing_the_filter_keeps_its_width(root):
    made = one(root, resize={"size": "7x9", "antialias": False})

    points = [
        [bilinear_at(gradient(24, 40), (y + 0.5) * 24 / 7 - 0.5, (x + 0.5) * 40 / 9 - 0.5) for x in range(9)]
        for y in range(7)
    ]
    assert np.abs(made - np.array(points)).max() <= 0.5 + 1e-3


def test_a_bicubic_filter_without_antialiasing_keeps_a_ramp_straight(tmp_path):
    ramp = np.repeat(np.arange(0, 200, 2, dtype=np.uint8)[None, :, None], 8, axis=0).repeat(3, axis=2)
    save(tmp_path / "photos/a.png", ramp)

    made = one(tmp_path, resize={"size": "8x50", "antialias": False, "interpolation": "bicubic"})

    expected = 2 * ((np.arange(50) + 0.5) * 2 - 0.5)
    assert np.abs(made[3, 2:-2, 0] - expected[2:-2]).max() <= 0.5 + 1e-3


@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_are_turned_as_their_exif_orientation_says(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    save(tmp_path / "photos/a.png", gradient(6, 10), exif=exif)

    turned = one(tmp_path)

    raw = gradient(6, 10)
    mirrored = raw[:, ::-1] if orientation in (2, 4, 5, 7) else raw
    expected = np.rot90(mirrored, {1: 0, 2: 0, 3: 2, 4: 2, 5: 1, 6: 3, 7: 3, 8: 1}[orientation])
    assert np.array_equal(turned, expected)
    assert np.array_equal(one(tmp_path, orientation="as_stored"), raw)
    with open_dataset(spec_of(), ProjectFiles(Project(tmp_path)), [ANY]) as data:
        assert data.sample_shapes()[0]["x"][2:] == expected.shape[:2]


def test_orientation_is_found_behind_the_pixels_too(tmp_path):
    import struct
    import zlib

    save(tmp_path / "photos/a.png", gradient(6, 10))
    exif = Image.Exif()
    exif[0x0112] = 6
    body = b"eXIf" + exif.tobytes().removeprefix(b"Exif\0\0")
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    whole = (tmp_path / "photos/a.png").read_bytes()
    (tmp_path / "photos/a.png").write_bytes(whole[:-12] + chunk + whole[-12:])

    assert np.array_equal(one(tmp_path), np.rot90(gradient(6, 10), 3))


MODES = {
    "alpha is dropped": (lambda image: image.convert("RGBA"), 0),
    "a palette": (lambda image: image.quantize(256), 60),
    "black and white": (lambda image: image.convert("1"), 255),
}


@pytest.mark.parametrize(("change", "within"), MODES.values(), ids=MODES)
def test_every_kind_of_8_bit_pixels_becomes_rgb(tmp_path, change, within):
    (tmp_path / "photos").mkdir()
    image = change(Image.fromarray(gradient(24, 40)))
    if image.mode == "RGBA":
        image.putalpha(0)
    image.save(tmp_path / "photos/a.png")

    made = one(tmp_path)

    assert made.shape == (24, 40, 3)
    assert np.abs(made - gradient(24, 40)).max() <= within


@pytest.mark.parametrize("suffix", ["jpg", "bmp", "webp", "tif", "ppm", "gif"])
def test_every_format_is_read(tmp_path, suffix):
    smooth = np.full((24, 40, 3), 90, np.uint8)
    smooth[:, 20:] = 160
    save(tmp_path / f"photos/a.{suffix}", smooth)

    assert np.abs(one(tmp_path) - smooth).mean() < 4


def test_several_inputs_share_images_or_have_their_own(tmp_path):
    for name in ("1", "2"):
        save(tmp_path / f"left/{name}.png", gradient(8, 8, int(name)))
        save(tmp_path / f"right/{name}.png", gradient(8, 8, 10 * int(name)))
    np.save(tmp_path / "f.npy", np.float32([[8, 1], [8, 2]]))
    spec = DatasetSpec.model_validate(
        {
            "schema": 1,
            "images": {"left": "left", "right": "right"},
            "npy": {"size": "f.npy"},
            "inputs": {"left": {}, "small": {"array": "left", "resize": 4}, "right": {}, "size": {}},
        }
    )
    infos = [TensorInfo(name, "float32", None) for name in ("left", "small", "right", "size")]

    with open_dataset(spec, ProjectFiles(Project(tmp_path)), infos) as data:
        first, second = (inputs for inputs, _ in data)

    assert first["small"].shape == (1, 3, 4, 4)
    assert [int(one["left"][0, 1, 0, 0]) for one in (first, second)] == [1, 2]
    assert [int(one["right"][0, 1, 0, 0]) for one in (first, second)] == [10, 20]
    assert second["size"].tolist() == [[8.0, 2.0]]


# sizes


def test_images_keep_their_own_sizes_one_at_a_time(tmp_path):
    save(tmp_path / "photos/a.png", gradient(4, 6))
    save(tmp_path / "photos/b.png", gradient(5, 7))

    assert [batch.shape for batch, _ in batches_of(tmp_path, spec_of())] == [(1, 3, 4, 6), (1, 3, 5, 7)]
    assert facts_of(tmp_path, spec_of(batch=2)) == [
        "batch is 2, but 'photos/a.png' gives 1x3x4x6 and 'photos/b.png' 1x3x5x7"
    ]


def test_equal_sizes_make_batches_without_being_resized(tmp_path):
    for name in "abc":
        save(tmp_path / f"photos/{name}.png", gradient(4, 6))

    assert [batch.shape[0] for batch, _ in batches_of(tmp_path, spec_of(batch=2))] == [2, 1]


def test_shapes_are_known_from_headers_alone(tmp_path):
    save(tmp_path / "photos/a.png", gradient(64, 96))
    whole = (tmp_path / "photos/a.png").read_bytes()
    (tmp_path / "photos/a.png").write_bytes(
        whole[: len(whole) // 2]
    )  # the header is whole, the pixels are not

    with open_dataset(spec_of(), ProjectFiles(Project(tmp_path)), [ANY]) as data:
        assert data.shapes_by_sample() == [({"x": (1, 3, 64, 96)}, "'photos/a.png'")]
    assert facts_of(tmp_path, spec_of())[0].startswith("cannot decode 'photos/a.png': ")


def test_an_image_smaller_than_its_crop_is_refused_by_name(root):
    facts = shape_facts_of(root, of_input(center_crop=32))

    assert facts == ["'photos/a.png' is 24x40, smaller than center_crop 32x32"]


# labels


def labelled(root, labels):
    return [int(label) for _, labels in batches_of(root, spec_of(labels=labels)) for label in labels]


def test_folders_are_classes_in_sorted_order(tmp_path):
    for name in ("dog/a.png", "cat/b.png", "cat/more/c.png"):
        save(tmp_path / "photos" / name, gradient(4, 4))

    assert labelled(tmp_path, "folders") == [0, 0, 1]


def test_a_csv_file_gives_classes_by_path(tmp_path):
    for name in ("a.png", "n/b.png"):
        save(tmp_path / "photos" / name, gradient(4, 4))
    (tmp_path / "classes.csv").write_text("file,class\nphotos/a.png,7\nn/b.png,3\nunused.png,1\n")

    assert labelled(tmp_path, "classes.csv") == [7, 3]
    assert "classes.csv" in source_files(spec_of(labels="classes.csv"), ProjectFiles(Project(tmp_path)))


WRONG_LABELS = {
    "missing": ("a.png,1\n", "'classes.csv' has no class for 'photos/b.png'"),
    "no number": ("a.png,1\nb.png,cat\n", "cannot read 'classes.csv': line 2 is not path,class"),
    "negative": ("a.png,-1\nb.png,1\n", "'classes.csv' has no class for 'photos/a.png'"),
    "none": (None, "no such file: 'classes.csv'"),
    "twice": ("a.png,1\na.png,2\nb.png,1\n", "line 2 gives 'a.png' another class than before"),
    "columns": ("a.png,1\nb.png,1,2\n", "cannot read 'classes.csv': line 2 is not path,class"),
    "not text": ("a.png,1\nb.png,\xff\n", "cannot read 'classes.csv': "),
}


@pytest.mark.parametrize(("text", "fact"), WRONG_LABELS.values(), ids=WRONG_LABELS)
def test_labels_that_do_not_fit_are_refused_by_name(tmp_path, text, fact):
    for name in "ab":
        save(tmp_path / f"photos/{name}.png", gradient(4, 4))
    if text is not None:
        (tmp_path / "classes.csv").write_bytes(text.encode("latin-1"))

    (said,) = facts_of(tmp_path, spec_of(labels="classes.csv"))
    assert fact in said


def test_an_image_outside_the_classes_folders_is_refused(root):
    assert "'a.png' is in no folder of a class" in facts_of(root, spec_of(labels="folders"))[0]


# what is refused


def test_a_constant_image_is_refused_by_name_unless_it_is_meant(root):
    save(root / "photos/b.png", np.full((24, 40, 3), 7, np.uint8))

    assert facts_of(root, spec_of()) == [
        "'photos/b.png' of array 'images' is constant: every value of input 'x' is 7"
    ]
    assert len(samples_of(root, of_input(allow_constant=True))) == 2


DAMAGED = {
    "empty": b"",
    "text": b"not an image at all",
    "header only": b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x10\0\0\0\x10\x08\x02\0\0\0",
    "postscript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n",
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
def test_damaged_files_are_refused_by_name(root, content):
    (root / "photos/b.png").write_bytes(content)

    assert facts_of(root, spec_of())[0].startswith("cannot decode 'photos/b.png': ")


def test_every_damaged_header_is_named_in_one_pass(root):
    for name in "bcd":
        (root / f"photos/{name}.png").write_bytes(b"")

    assert len(shape_facts_of(root, spec_of())) == 3


def test_a_decompression_bomb_is_refused_from_its_header(root):
    import struct
    import zlib

    header = b"IHDR" + struct.pack(">IIBBBBB", 30000, 30000, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    (root / "photos/b.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunk + b"\0\0\0\0IDAT" + b"\0" * 100)

    assert shape_facts_of(root, spec_of())[0].startswith("'photos/b.png' has too many pixels: ")


def test_more_than_8_bits_are_refused_rather_than_clipped(root):
    save(root / "photos/b.png", np.arange(600, dtype=np.uint16).reshape(20, 30) * 100)

    assert facts_of(root, spec_of())[0].startswith("'photos/b.png' has channels of more than 8 bits")


WRONG = {
    "size": (
        {"resize": 16},
        TensorInfo("x", "float32", (None, 3, 32, 32)),
        "gives 1x3x16x16",
        "resize: 32x32",
    ),
    "layout": (
        {"resize": 16},
        TensorInfo("x", "float32", (None, 16, 16, 3)),
        "axis 1 differs",
        "layout: nhwc",
    ),
    "colour": (
        {"resize": 16},
        TensorInfo("x", "float32", (None, 1, 16, 16)),
        "axis 1 differs",
        "colour: gray",
    ),
    "layout of arrays": (
        {"layout": "nhwc_to_nchw"},
        ANY,
        "images can be loaded only as nchw or nhwc",
        "write layout: nchw",
    ),
    "padding": ({"pad_value": [1, 2], "pad_to_multiple": 32}, ANY, "pad_value of input 'x' has 2 values", ""),
    "mean": ({"mean": [1, 2]}, ANY, "mean of input 'x' has 2 values", ""),
}


@pytest.mark.parametrize(("fields", "info", "fact", "remedy"), WRONG.values(), ids=WRONG)
def test_what_does_not_fit_the_model_is_refused(root, fields, info, fact, remedy):
    with pytest.raises(SpecError) as caught:
        batches_of(root, of_input(**fields), info)

    (problem,) = caught.value.problems
    assert fact in problem.fact
    assert remedy in problem.remedy


def test_preprocessing_of_images_is_not_for_arrays(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.zeros((2, 3, 4, 4), np.float32))
    spec = DatasetSpec.model_validate(
        {"schema": 1, "npz": "a.npz", "inputs": {"x": {"resize": 8, "layout": "nchw"}}}
    )

    assert facts_of(tmp_path, spec) == [
        "resize applies to images, but array 'x' contains numbers",
        "layout nchw is for images, but 'x' contains numbers",
    ]


def test_without_pillow_the_extra_is_named(root, monkeypatch):
    from importlib import metadata

    def missing(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", missing)

    with pytest.raises(SpecError) as caught:
        batches_of(root, spec_of())
    (problem,) = caught.value.problems
    assert (problem.fact, problem.remedy) == (
        "a data set of images needs pillow",
        "install it: pip install 'trtpipe[images]'",
    )


def test_the_key_follows_preprocessing_and_pillows_version(root):
    record = dataset_record(of_input(resize=16), {})

    assert record != dataset_record(of_input(resize=17), {})
    assert set(record["packages"]) == {"pillow"}
    assert record["readers"] == {"images": 1}


PEAK = """
import resource, sys
from pathlib import Path
from trtpipe.canonical.summary import TensorInfo
from trtpipe.datasets.samples.batches import open_dataset
from trtpipe.datasets.locations.projects import ProjectFiles
from trtpipe.loader.project import Project
from trtpipe.spec.dataset import DatasetSpec

spec = DatasetSpec.model_validate({"schema": 1, "images": "photos", "batch": 4, "samples": int(sys.argv[1])})
with open_dataset(spec, ProjectFiles(Project(Path.cwd())), [TensorInfo("x", "float32", None)]) as data:
    print(sum(len(inputs["x"]) for inputs, _ in data), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="not run: memory is measured as Linux does it"
)
def test_memory_does_not_grow_with_the_number_of_images(tmp_path):
    image = gradient(256, 256)
    for number in range(160):  # together 30 MiB as bytes, 120 as floats
        save(tmp_path / f"photos/{number:03}.png", np.roll(image, number, axis=0))

    peaks = {}
    for count in (16, 160):
        done = subprocess.run(
            [sys.executable, "-c", PEAK, str(count)],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])},
            capture_output=True,
            text=True,
            check=True,
        )
        read, peaks[count] = map(int, done.stdout.split())
        assert read == count

    assert peaks[160] - peaks[16] < 12 << 10
