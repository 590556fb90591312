"""A data set looked at: statistics as NumPy has them, refused samples by name, sheets that show what was stored."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
from typer.testing import CliRunner

from tests.datasets.pictures import gradient, save
from trtpipe.cli.main import app
from trtpipe.datasets.preview.statistics import Statistics

pytest.importorskip("PIL")

from PIL import Image


@pytest.fixture
def command(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "calibration").mkdir()

    def run(*argv):
        return CliRunner().invoke(app, ["data", *argv])

    return run


def write_set(folder, name, text):
    (folder / f"calibration/{name}.yaml").write_text(f"schema: 1\n{text}")


def test_statistics_do_not_depend_on_how_samples_are_dealt_out():
    values = np.random.default_rng(0).normal(3, 2, (20, 3, 5, 7)).astype(np.float32)
    values[3, 1] = 0
    for sizes in ([20], [7, 13], [1] * 20):
        statistics, at = Statistics(1), 0
        for size in sizes:
            statistics.add(values[at : at + size])
            at += size
        found = statistics.to_json()

        assert found["mean"] == pytest.approx(values.astype(np.float64).mean(), rel=1e-9)
        assert found["std"] == pytest.approx(values.astype(np.float64).std(), rel=1e-9)
        assert (found["min"], found["max"]) == (values.min(), values.max())
        assert found["zeros"] == pytest.approx(35 / values.size)
        assert [one["mean"] for one in found["channels"]] == pytest.approx(
            values.astype(np.float64).mean((0, 2, 3)), rel=1e-9
        )


def test_values_that_are_not_finite_are_counted_apart():
    statistics = Statistics(None)
    statistics.add(np.array([[1.0, np.nan, np.inf, 3.0]]))
    found = statistics.to_json()

    assert (found["nonfinite"], found["mean"], found["min"], found["max"]) == (2, 2.0, 1.0, 3.0)


def test_a_sheet_shows_images_as_they_were_stored(command, tmp_path):
    for number, name in enumerate("ab"):
        save(tmp_path / f"photos/{name}.png", gradient(32, 64, number))
    mean, std = "[0.485, 0.456, 0.406]", "[0.229, 0.224, 0.225]"
    inputs = f"{{x: {{colour: bgr, scale: 0.00392156862745098, mean: {mean}, std: {std}}}}}"
    write_set(tmp_path, "two", f"images: photos\ninputs: {inputs}\n")

    done = command("preview", "two", "--json")

    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert report["sheets"] == {"x": "build/preview/two.png"}
    assert [report["samples"], report["inputs"][0]["shapes"]] == [2, [{"shape": [3, 32, 64], "samples": 2}]]
    with Image.open(tmp_path / "build/preview/two.png") as sheet:
        first = np.asarray(sheet.convert("RGB"))[6 + 32 : 6 + 32 + 64, 6 : 6 + 128]
    assert np.abs(first[::2, ::2].astype(int) - gradient(32, 64)).max() <= 1


def test_refused_samples_are_all_named(command, tmp_path):
    images = np.random.default_rng(0).standard_normal((9, 1, 8, 8)).astype(np.float32)
    images[2] = 0.5
    images[5, 0, 0, 0] = np.nan
    np.savez(tmp_path / "a.npz", image=images)
    write_set(tmp_path, "a", "npz: a.npz\nbatch: 4\n")

    done = command("preview", "a")

    assert done.exit_code == 1
    assert "refused: sample 2 makes input 'image' constant (0.5)" in done.stdout
    assert "refused: sample 5 makes input 'image' not finite (NaN)" in done.stdout
    assert "image  float32  1x8x8" in done.stdout
    assert "wrote build/preview/a.png" in done.stderr


def test_every_input_has_its_row_and_images_their_channels(command, tmp_path):
    save(tmp_path / "photos/a.png", gradient(20, 30))
    np.save(tmp_path / "length.npy", np.array([[30]], np.int64))
    write_set(
        tmp_path, "a", "images: photos\nnpy: {length: length.npy}\ninputs: {x: {resize: 16}, length: {}}\n"
    )

    done = command("preview", "a", "-o", "here.png")

    assert done.exit_code == 0, done.output
    rows = [line.split() for line in done.stdout.splitlines()[1:]]
    assert [row[:3] for row in rows if row[0] in ("x", "length")] == [
        ["x", "float32", "3x16x16"],
        ["length", "int64", "1"],
    ]
    assert sum(row[0] == "channel" for row in rows) == 3
    assert (tmp_path / "here.png").is_file()


def test_what_cannot_be_read_is_told_at_its_place(command, tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/a.png").write_bytes(b"nothing")
    write_set(tmp_path, "a", "images: photos\n")

    done = command("preview", "a")

    assert done.exit_code == 2
    assert "calibration/a.yaml:2:9: cannot decode 'photos/a.png'" in done.stderr
    assert "no data set 'b'" in command("preview", "b").stderr


def test_sets_are_listed_with_what_is_wrong_with_them(command, tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((7, 3), np.float32))
    write_set(tmp_path, "good", "npy: {x: x.npy}\ndescription: seven\n")
    write_set(tmp_path, "lost", "npy: {x: y.npy}\n")

    listed = json.loads(command("ls", "--json").stdout)

    assert [(one["data"], one["samples"]) for one in listed] == [("good", 7), ("lost", None)]
    assert listed[1]["problem"] == "no such file: 'y.npy'"
    assert "good  npy      7        no      seven" in command("ls").stdout


def test_a_function_runs_in_the_child_and_its_failure_is_told_at_its_place(command, tmp_path):
    text = (
        "import os\ndef draw():\n    for n in range(3):\n        yield {'pid': [os.getpid() % 997 + n / 2]}\n"
    )
    (tmp_path / "samples.py").write_text(text)
    write_set(tmp_path, "a", "python: samples:draw\n")

    done = command("preview", "a", "--json")

    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert report["samples"] == 3
    assert report["inputs"][0]["min"] != os.getpid() % 997
    assert json.loads(command("ls", "--json").stdout)[0]["samples"] is None

    (tmp_path / "samples.py").write_text(text + "    raise OSError('gone')\n")
    failed = command("preview", "a")
    assert failed.exit_code == 2
    assert "calibration/a.yaml:2:9: samples:draw failed at samples.py:5: OSError: gone" in failed.stderr
