"""Images as calibration and validation data, as a user meets them: classes by folder, keys by file, refusals."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from tests.projects import ROOT

Image = pytest.importorskip("PIL.Image")

SET = """\
schema: 1
images: photos/{name}
inputs:
  image: {{colour: gray, scale: 0.0625}}
{more}batch: 8
"""


def write_photos(project, name, count):
    """The digits as 16-step gray images, in folders named by their classes; each keeps its number."""
    with np.load(ROOT / f"calibration/digits/{name}.npz") as arrays:
        images, labels = arrays["image"][:count], arrays["label"][:count]
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        path = project.root / f"photos/{name}/{label}/{number:04}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.rint(image[0] * 16).astype(np.uint8)).save(path)


@pytest.fixture
def photographed(project):
    write_photos(project, "val", 200)
    write_photos(project, "calib", 64)
    project.write("calibration/photos-val.yaml", SET.format(name="val", more="labels: folders\n"))
    project.write("calibration/photos-calib.yaml", SET.format(name="calib", more="shuffle: true\n"))
    project.edit("pipelines/digits.yaml", "  ampere: {gpu: sm86}\n", "")
    project.edit(
        "pipelines/digits.yaml",
        "  fp16: {precision: fp16}\n",
        "  int8: {precision: int8, calibration: photos-calib, method: max}\n",
    )
    with (project.root / "pipelines/digits.yaml").open("a") as file:
        file.write("validate: {data: photos-val, thresholds: [{metric: accuracy, min: 0.97}]}\n")
    return project


@pytest.mark.slow
def test_images_calibrate_and_validate_and_each_file_counts(photographed):
    done = photographed.run("build", "--json")

    assert done.code == 0, done.err
    assert photographed.manifest("int8@ada")["validation"]["accuracy"] >= 0.97
    assert photographed.run("build").out == "nothing to do\n"

    extra = photographed.root / "photos/val/3/more.png"
    shutil.copy(next((photographed.root / "photos/val/3").iterdir()), extra)
    again = photographed.run("build", "--json")
    assert {one.rpartition(":")[2] for one in again.ran} == {"validate", "readback"}, again.err
    assert {"digits/fp32:validate", "digits/int8:validate"} <= set(again.ran)

    extra.unlink()
    assert photographed.run("build", "--json").ran == []

    calibrating = next((photographed.root / "photos/calib/5").iterdir())
    Image.fromarray(np.asarray(Image.open(calibrating))[::-1]).save(calibrating)
    assert "digits/photos-calib+max:calibrate" in photographed.run("build", "--json").ran


def test_check_names_the_image_that_fits_no_profile_or_cannot_be_read(photographed):
    Image.fromarray(np.arange(90, dtype=np.uint8).reshape(9, 10)).save(
        photographed.root / "photos/val/1/big.png"
    )
    photographed.edit("calibration/photos-val.yaml", "batch: 8", "batch: 1")
    (photographed.root / "photos/calib/2/cut.png").write_bytes(b"\x89PNG\r\n\x1a\n")

    done = photographed.run("check")

    assert done.code == 2
    assert "feeds 'image' with 9 on axis 2 ('photos/val/1/big.png'), but it is 8" in done.err
    assert "cannot decode 'photos/calib/2/cut.png'" in done.err
    assert "calibration/photos-calib.yaml:2:9" in done.err


def test_a_blank_image_is_refused_by_name_where_it_is_read(photographed):
    blank = photographed.root / "photos/calib/2/blank.png"
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(blank)

    done = photographed.run("build")

    assert done.code == 1
    assert "'photos/calib/2/blank.png' of array 'images' is constant" in done.err
    assert "allow_constant: true" in done.err
    assert "calibration/photos-calib.yaml:4:" in done.err


def test_a_preview_shows_what_a_pipeline_would_refuse(photographed):
    done = photographed.run("data", "preview", "photos-val", "--spec", "pipelines/digits.yaml")

    assert done.code == 0, done.err
    assert "photos-val: 200 samples, 10 classes" in done.out

    photographed.edit("calibration/photos-val.yaml", "batch: 8", "batch: 1")
    Image.fromarray(np.arange(90, dtype=np.uint8).reshape(9, 10)).save(
        photographed.root / "photos/val/1/big.png"
    )
    refused = photographed.run("data", "preview", "photos-val", "--spec", "pipelines/digits.yaml")

    assert refused.code == 1
    assert (
        "refused: data set 'photos-val' feeds 'image' with 9 on axis 2 ('photos/val/1/big.png')"
        in refused.out
    )


FUNCTION = """\
import numpy as np


def draw():
    with np.load("calibration/digits/val.npz") as arrays:
        for image, label in zip(arrays["image"], arrays["label"]):
            yield {"image": image, "label": label}
"""


@pytest.mark.slow
def test_a_function_validates_and_its_files_are_in_the_key(project):
    shutil.copytree(ROOT / "calibration/digits", project.root / "calibration/digits")
    project.write("calibration/drawing.py", FUNCTION)
    project.write(
        "calibration/drawn.yaml",
        "schema: 1\npython: calibration.drawing:draw\nfiles: [calibration/digits/val.npz]\n"
        "labels: label\nsamples: 100\nbatch: 50\n",
    )
    project.edit("pipelines/digits.yaml", "  ampere: {gpu: sm86}\n", "")
    project.edit("pipelines/digits.yaml", "  fp16: {precision: fp16}\n", "")
    with (project.root / "pipelines/digits.yaml").open("a") as file:
        file.write("validate: {data: drawn, thresholds: [{metric: accuracy, min: 0.95}]}\n")

    assert project.run("check").code == 0
    done = project.run("build", "--json")
    assert done.code == 0, done.err
    assert project.manifest("fp32@ada")["validation"]["accuracy"] >= 0.95
    assert project.run("build").out == "nothing to do\n"

    project.edit("calibration/drawing.py", 'yield {"image": image,', 'yield {"image": image[:, :7],')
    refused = project.run("build")
    assert refused.code == 1
    assert "calibration/drawn.yaml" in refused.err
    assert "array 'image' gives 1x1x7x8, but input 'image' is" in refused.err
