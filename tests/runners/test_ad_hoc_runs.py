"""`trtpipe run`: by the engine where it can run, else by the typed model, which the result says; inputs and outputs.

Engines copy x to y here and typed models negate it, so that what ran shows.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from tests.runners.cells import PROFILES, make_cell, with_gpu, without_gpu, write_model
from tests.runners.engine_bench import copying, rows
from trtpipe.app.engines.choice import ENGINE, ON_CPU, Where
from trtpipe.app.engines.inputs import FeedRequest
from trtpipe.app.engines.run import InferRequest, infer
from trtpipe.digests import digest_file
from trtpipe.errors import ModelError, SpecError, StepFailed, ToolchainError, TrtpipeError
from trtpipe.toolchains.header import EngineHeader

ROOT = Path(__file__).resolve().parents[2]
CELL = "copy/fp16@here"


@pytest.fixture
def project(bench):
    root = bench.folder / "project"
    make_cell(root)
    np.save(root / "x.npy", rows(3))
    return root


def run(machine, root, what=CELL, *, where=None, labels=None, top_k=None, **feed):
    feed = feed or {"inputs": ["x=x.npy"]}
    asked = InferRequest(what, FeedRequest(**feed), where or Where(), labels, top_k, root / "out.npz")
    found = infer(asked, machine, root)
    return found, np.load(root / "out.npz")["y"]


# -- what runs


def test_what_was_recorded_is_run_again_in_the_types_that_the_network_takes(bench, project):
    kept = {
        "in:x": rows(2).astype(np.float64),
        "out:y": rows(2),
        "got:y": rows(2),
        "place": np.frombuffer(b"data", np.uint8),
    }
    np.savez(project / "data.npz", **kept)

    _, y = run(with_gpu(bench), project, inputs=["data.npz"])

    assert np.array_equal(y, rows(2))
    with pytest.raises(SpecError, match="is a recording, whose runs are used unchanged"):
        run(with_gpu(bench), project, inputs=["data.npz"], batch=1)


def test_a_recording_of_another_network_is_refused(bench, project):
    np.savez(project / "other.npz", **{"in:z": rows(2)})

    with pytest.raises(SpecError, match="'z'"):
        run(with_gpu(bench), project, inputs=["other.npz"])


def test_the_engine_runs_where_it_can(bench, project):
    found, y = run(with_gpu(bench), project)

    assert (found["subject"], found["why_not_engine"]) == (ENGINE, "")
    assert found["engine"] == digest_file(project / "build" / CELL / "model.engine").hex
    assert found["gpu"] == {"name": "Make-believe GPU", "compute_capability": "sm89"}
    assert np.array_equal(y, rows(3))
    assert found["outputs"] == [
        {
            "name": "y",
            "dtype": "float32",
            "shape": [3, 4],
            "min": 0,
            "max": 11,
            "mean": 5.5,
            "nan": 0,
            "inf": 0,
        }
    ]


@pytest.mark.parametrize(
    ("machine", "where", "why"),
    [
        (without_gpu, Where(), "the engine needs sm89, this machine has no GPU"),
        (lambda bench: with_gpu(bench, "sm90"), Where(), "the engine needs sm89, this machine has sm90"),
        (with_gpu, Where(cpu=True), "--cpu requests the typed model"),
    ],
    ids=["no GPU", "another GPU", "on purpose"],
)
def test_elsewhere_the_typed_model_runs_and_the_result_says_so(bench, project, machine, where, why):
    found, y = run(machine(bench), project, where=where)

    assert (found["subject"], found["why_not_engine"], found["engine"]) == (ON_CPU, why, None)
    assert np.array_equal(y, -rows(3))


def test_a_gpu_that_turns_out_not_to_fit_is_told_in_the_runners_words(bench, project):
    shutil.rmtree(project / "build")
    make_cell(project, copying(validity=4))

    found, y = run(with_gpu(bench), project)

    assert found["subject"] == ON_CPU
    assert found["why_not_engine"].startswith("the CUDA driver here, which runs CUDA 13.0, is too old")
    assert np.array_equal(y, -rows(3))
    with pytest.raises(ToolchainError, match="is too old for this engine"):
        run(with_gpu(bench), project, where=Where(require_gpu=True))


def test_a_required_gpu_that_is_not_there_is_an_error(bench, project):
    with pytest.raises(
        ToolchainError, match="copy/fp16@here: the engine needs sm89, this machine has no GPU"
    ):
        run(without_gpu(bench), project, where=Where(require_gpu=True))
    with pytest.raises(SpecError, match="exclude each other"):
        Where(cpu=True, require_gpu=True)


@pytest.fixture
def headers(monkeypatch):
    """Engines of a stand-in have no header: it is made up."""
    header = EngineHeader("1.7.1.116", 0, ("sm89",), 0, 0)
    monkeypatch.setattr("trtpipe.toolchains.header.read_engine_header", lambda path: header)
    monkeypatch.setattr("trtpipe.runners.inference.delivered.read_engine_header", lambda path: header)


def test_an_engine_alone_is_asked_what_it_takes_once_somebody_vouches_for_it(bench, project, headers):
    folder = project / "alone"
    folder.mkdir()
    (project / "build" / CELL / "model.engine").rename(folder / "model.engine")
    digest = digest_file(folder / "model.engine").hex

    with pytest.raises(ModelError, match=f"use --trust {digest}"):
        run(with_gpu(bench), project, "alone")
    with pytest.raises(SpecError, match="'abc' is not a digest"):
        run(with_gpu(bench), project, "alone", where=Where(trust=("abc",)))
    with pytest.raises(ToolchainError, match="there is no typed model beside it"):
        run(without_gpu(bench), project, "alone")

    found, y = run(with_gpu(bench), project, "alone", where=Where(trust=(digest,)))
    assert found["subject"] == ENGINE
    assert np.array_equal(y, rows(3))
    assert run(with_gpu(bench), project, "alone", where=Where(trust=(digest,)), random=True)[1].shape == (
        2,
        4,
    )


def test_the_lockfile_vouches_too(bench, project, headers):
    folder = project / "build" / CELL
    digest = digest_file(folder / "model.engine")
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, "engine": {"blake3": "0" * 64}}))
    asked = {"where": Where(require_gpu=True)}
    with pytest.raises(ModelError, match="in no manifest and no lockfile"):
        run(with_gpu(bench), project, **asked)

    lock = f"schema: 1\ncells:\n  {CELL}:\n    engine: {digest.hex} ({digest.size} bytes)\n"
    (project / "trtpipe.lock").write_text(lock)

    assert run(with_gpu(bench), project, **asked)[0]["subject"] == ENGINE


# -- what may be named


@pytest.mark.parametrize(
    "what", [CELL, "copy/fp16", f"build/{CELL}", f"build/{CELL}/model.engine", f"build/{CELL}/model.onnx"]
)
def test_what_may_be_named(bench, project, what):
    found, y = run(with_gpu(bench), project, what)

    model = what.endswith(".onnx")
    assert found["subject"] == (ON_CPU if model else ENGINE)
    assert np.array_equal(y, -rows(3) if model else rows(3))


@pytest.mark.parametrize(
    ("what", "error"),
    [
        ("copy/fp61@here", r"'copy/fp61@here' is not a built cell.*\n  did you mean 'copy/fp16@here'\?"),
        ("", "nothing|neither"),
        ("build", "neither model.engine nor model.onnx in 'build'"),
        ("x.npy", "x.npy"),
        ("spec.yaml", "is a spec\n  name a cell"),
        ("a\0b", "cannot look at|is not a built cell"),
        ("copy/*", "matches several cells\n  name one of copy/fp16@here, copy/fp32@here"),
    ],
)
def test_what_is_none_of_these(bench, project, what, error):
    (project / "spec.yaml").write_text("schema: 1\npipeline: x\n")
    make_cell(project, name="copy/fp32@here")

    with pytest.raises(TrtpipeError, match=error):
        run(with_gpu(bench), project, what)


@pytest.mark.parametrize("text", ["", "[]", '{"engine": 1}', "[" * 100_000])
def test_a_damaged_manifest(bench, project, text):
    (project / "build" / CELL / "manifest.json").write_text(text)

    with pytest.raises(ModelError, match=r"manifest.json is a damaged manifest"):
        run(with_gpu(bench), project)


@pytest.mark.parametrize(
    "changes",
    [
        {"io": [{"name": "x"}]},
        {"io": 3},
        {"profiles": [{"x": {"min": [1]}}]},
        {"profiles": [{"x": {"min": "a", "opt": "b", "max": "c"}}]},
        {"compute_capabilities": ["sm9"]},
    ],
)
def test_a_manifest_that_says_nonsense(bench, project, changes):
    path = project / "build" / CELL / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    with pytest.raises(ModelError, match=r"damaged manifest"):
        run(with_gpu(bench), project, where=Where(require_gpu=True))


# -- inputs


@pytest.mark.parametrize(
    ("feed", "error"),
    [
        ({"inputs": ["y=x.npy"]}, r"there is no input 'y'\n  valid inputs: x"),
        ({"inputs": ["X=x.npy"]}, r"there is no input 'X'\n  did you mean 'x'\?"),
        ({"inputs": ["x=wrong.npy"]}, "input 'x' is 3, not \\?x4\n  the batch dimension may be what is missing"),
        ({"inputs": ["x=double.npy"]}, r"input 'x' is float64, and the model takes float32\n  .*or use --cast"),
        ({"inputs": ["x=nine.npy"]}, "no profile takes .*\n  profile 0: 'x' is 9x4, not 1x4 to 8x4\n  --batch N"),
        ({"inputs": ["x=x.npy"], "profile": 1}, "there is no profile 1\n  choose from 0 to 0"),
        ({"inputs": ["x=gone.npy"]}, "cannot read 'gone.npy': no such file"),
        ({"inputs": ["x=."]}, "is not a supported kind of file"),
        ({"inputs": ["x=cut.npy"]}, "'cut.npy' is truncated"),
        ({"inputs": ["x=objects.npy"]}, "objects.npy"),
        ({"inputs": ["x=liar.npy"]}, "liar.npy.* is truncated"),
        ({"inputs": ["x=text.npz"]}, "is not an .npz archive"),
        ({"inputs": ["x=x.npy", "x=x.npy"]}, "input 'x' is given twice"),
        ({"inputs": ["both.npz"]}, r"there is no input 'label'"),
        ({"inputs": ["x=photo.png"]}, "says how to prepare it\n  name a data set: --data NAME"),
        ({"inputs": ["x=x.npy"], "data": "set"}, "--data without --samples prepares images, but no image was given"),
        ({"data": "nothing"}, "no data set 'nothing'"),
        ({"random": True, "inputs": ["x=x.npy"]}, "--random excludes"),
        ({"random": True, "shapes": ["x=2xa"]}, "not a shape"),
        ({"random": True, "shapes": ["y=2x4"]}, "there is no input 'y'"),
        ({"random": True, "shapes": ["x=-1x4"]}, "has a dynamic dim"),
        ({"random": True, "shapes": ["x=2147483647x2147483647"]}, "more than 8.0 GiB"),
        ({"random": True, "shapes": ["x=9x4"]}, "no profile takes these shapes\n.* to 8x4$"),
        ({"random": True, "profile": 3}, "there is no profile 3"),
        ({"samples": 2}, "nothing to run it on\n  use --input .*'x' float32 \\?x4"),
        ({"samples": 2, "inputs": ["x=x.npy"]}, "--samples applies to a data set"),
    ],
)  # fmt: skip
def test_inputs_that_do_not_fit(bench, project, feed, error):
    np.save(project / "wrong.npy", np.zeros(3, np.float32))
    np.save(project / "double.npy", rows(2, np.float64))
    np.save(project / "nine.npy", rows(9))
    np.save(project / "objects.npy", np.array([{}], object))
    (project / "cut.npy").write_bytes((project / "x.npy").read_bytes()[:-4])
    whole = (project / "x.npy").read_bytes()
    (project / "liar.npy").write_bytes(whole.replace(b"(3, 4)", b"(9999999, 4)"))
    (project / "text.npz").write_text("no archive")
    np.savez(project / "both.npz", x=rows(1), label=np.arange(1))
    (project / "calibration").mkdir()
    (project / "calibration" / "set.yaml").write_text("schema: 1\nrandom: {shapes: {x: 1x4}}\n")

    with pytest.raises(SpecError, match=error):
        run(with_gpu(bench), project, **feed)


def test_every_mistake_is_said_at_once(bench, project):
    np.save(project / "wrong.npy", np.zeros(3, np.int8))

    with pytest.raises(SpecError) as caught:
        run(with_gpu(bench), project, inputs=["x=wrong.npy", "z=gone.npy", "q=."])

    assert len(caught.value.problems) == 2  # what cannot be read comes before what does not fit
    with pytest.raises(SpecError) as caught:
        run(with_gpu(bench), project, inputs=["x=wrong.npy"])
    assert len(caught.value.problems) == 2


def test_other_byte_orders_and_fortran_order_are_taken(bench, project):
    np.save(project / "x.npy", np.asfortranarray(rows(3).astype(">f4")))

    assert np.array_equal(run(with_gpu(bench), project)[1], rows(3))


def test_numbers_are_converted_when_asked(bench, project):
    np.save(project / "x.npy", rows(3, np.float64))

    assert np.array_equal(run(with_gpu(bench), project, inputs=["x=x.npy"], cast=True)[1], rows(3))


def test_types_that_files_lack_are_made_and_saved_in_wider_ones(bench, project):
    shutil.rmtree(project / "build")
    make_cell(
        project,
        copying("BF16"),
        io=[
            {"name": name, "mode": mode, "dtype": "bfloat16", "shape": [-1, 4]}
            for name, mode in (("x", "input"), ("y", "output"))
        ],
    )

    found, y = run(with_gpu(bench), project, where=Where(require_gpu=True))

    assert found["outputs"][0]["dtype"] == "bfloat16"
    assert found["notes"] == ["'y' is saved as float32: NumPy's files do not support bfloat16"]
    assert np.array_equal(y, rows(3).astype(ml_dtypes.bfloat16).astype(np.float32))


@pytest.mark.parametrize("machine", [with_gpu, without_gpu])
def test_rows_are_split_into_batches_and_joined_again(bench, project, machine):
    np.save(project / "x.npy", rows(19))

    found, y = run(machine(bench), project, inputs=["x=x.npy"], batch=8)

    assert [one["shapes"]["x"] for one in found["runs"]] == [[8, 4], [8, 4], [3, 4]]
    assert np.array_equal(y, rows(19) if machine is with_gpu else -rows(19))


def test_random_inputs_are_those_of_their_seed(bench, project):
    one, first = run(with_gpu(bench), project, random=True, seed=1)
    _, again = run(with_gpu(bench), project, random=True, seed=1)
    _, other = run(with_gpu(bench), project, random=True, seed=2, shapes=["x=8x4"])

    assert one["inputs"] == "random, seed 1"
    assert np.array_equal(first, again)
    assert (first.shape, other.shape) == ((2, 4), (8, 4))
    assert not np.array_equal(first, other[:2])


def test_a_cell_with_two_profiles(bench, project):
    shutil.rmtree(project / "build")
    wide = {"x": {"min": [16, 4], "opt": [32, 4], "max": [64, 4]}}
    ranges = [{"x": [[1, 4], [2, 4], [8, 4]]}, {"x": [[16, 4], [32, 4], [64, 4]]}]
    make_cell(project, copying(profiles=ranges), profiles=[*PROFILES, wide])

    assert run(with_gpu(bench), project, random=True, profile=1)[1].shape == (32, 4)
    np.save(project / "x.npy", rows(9))
    with pytest.raises(
        SpecError, match=r"profile 0: 'x' is 9x4.*\n.*profile 1: 'x' is 9x4, not 16x4 to 64x4"
    ):
        run(with_gpu(bench), project)


def test_what_cannot_be_written_is_said_before_anything_runs(bench, project):
    for place, error in (("out.txt", "is not an .npz file"), ("gone/out.npz", "there is no directory")):
        asked = InferRequest(CELL, FeedRequest(random=True), output=project / place)
        with pytest.raises(SpecError, match=error):
            infer(asked, with_gpu(bench), project)
    os.mkfifo(project / "pipe.npz")
    (project / "taken.npz").mkdir()
    for name in ("pipe.npz", "taken.npz"):
        asked = InferRequest(CELL, FeedRequest(random=True), output=project / name)
        with pytest.raises(SpecError, match=f"{name}' is not a regular file"):
            infer(asked, with_gpu(bench), project)
    assert not [path for path in project.iterdir() if path.name.startswith(".")]


def test_a_full_disk_is_told_in_a_sentence(bench, project, monkeypatch):
    def full(*arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("trtpipe.app.engines.run.store_tensors", full)
    with pytest.raises(StepFailed, match=r"temporary directory: no space left on device\n  make room there"):
        run(with_gpu(bench), project)

    monkeypatch.setattr("tempfile.mkdtemp", full)
    with pytest.raises(StepFailed, match="no space left on device"):
        run(with_gpu(bench), project)


@pytest.mark.parametrize("name", ["x.npy", "x.npz", "labels.txt", "manifest.json", "model.onnx"])
def test_pipes_are_not_waited_for(bench, project, name):
    if name in ("manifest.json", "model.onnx"):
        place = project / "build" / CELL / name
        place.unlink()
    else:
        place = project / "pipes" / name
        place.parent.mkdir()
    os.mkfifo(place)
    given = f"x={place}" if place.suffix in (".npy", ".npz") else "x=x.npy"

    with pytest.raises(TrtpipeError):
        run(without_gpu(bench), project, inputs=[given], labels=place if name == "labels.txt" else None)


# -- classes, samples and images, on the digits


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    root = tmp_path_factory.mktemp("digits")
    shutil.copytree(ROOT / "calibration", root / "calibration")
    shutil.copy(ROOT / "pipelines/models/digits_cnn.onnx", root / "model.onnx")
    (root / "digits.txt").write_text("zero\none\ntwo\nthree\nfour\nfive\nsix\nseven\neight\nnine\n")
    return root


def classify(bench, root, labels="digits.txt", **feed):
    asked = InferRequest("model.onnx", FeedRequest(**feed), labels=root / labels if labels else None, top_k=2)
    return infer(asked, without_gpu(bench), root)


def test_samples_of_a_data_set_with_their_classes(bench, digits):
    found = classify(bench, digits, data="digits-val", samples=12)

    (top,) = found["top"]
    assert len(found["runs"]) == 2  # the set feeds eight at a time
    assert [row["best"][0]["class"] for row in top["rows"]] == [row["label"] for row in top["rows"]]
    assert top["rows"][0]["best"][0]["name"] == "three"
    assert top["rows"][0]["row"] == "sample 0"


def test_images_are_prepared_as_a_data_set_prepares_its_own(bench, digits):
    image_module = pytest.importorskip("PIL.Image", reason="not run: needs Pillow")
    samples = np.load(digits / "calibration/digits/val.npz")
    names = []
    for index in (1, 0, 2):
        pixels = (
            np.round(samples["image"][index][0] * 15).astype(np.uint8)
            if samples["image"].max() <= 1.001
            else samples["image"][index][0].astype(np.uint8)
        )
        image_module.fromarray(pixels).save(digits / f"{index}.png")
        names.append(f"{index}.png")
    scale = 1 / 15 if samples["image"].max() <= 1.001 else 1.0
    (digits / "calibration" / "photos.yaml").write_text(
        f"schema: 1\nimages: nowhere/\ninputs:\n  image: {{colour: gray, scale: {scale}}}\nshuffle: true\nseed: 3\n"
    )

    found = classify(bench, digits, inputs=names, data="photos")

    (top,) = found["top"]
    assert [row["row"] for row in top["rows"]] == ["0.png", "1.png", "2.png"]
    assert [row["best"][0]["class"] for row in top["rows"]] == samples["label"][:3].tolist()


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "contains no labels"),
        ("a\nb\n", "no output holds 2 scores per row.*\n.*'logits' float32"),
        (b"\xff\xfe", "UTF-8"),
    ],
)
def test_labels_that_are_none(bench, digits, text, error):
    path = digits / "bad.txt"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())

    with pytest.raises(SpecError, match=error):
        classify(bench, digits, "bad.txt", data="digits-val", samples=8)


def test_an_npz_is_read_by_its_arrays_names(bench, digits):
    found = classify(bench, digits, None, inputs=["image=calibration/digits/val.npz"], batch=64, cast=True)

    assert found["outputs"][0]["shape"] == [500, 10]
    assert len(found["top"][0]["rows"]) == 500


def test_a_typed_model_that_is_none(bench, tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"nonsense" * 100)
    with pytest.raises(ModelError, match=r"model.onnx"):
        run(without_gpu(bench), tmp_path, "model.onnx", random=True)

    write_model(tmp_path / "model.onnx")
    with pytest.raises(SpecError, match="the shape is not known of input 'x'"):
        run(without_gpu(bench), tmp_path, "model.onnx", random=True)


# -- the command


def test_the_command_says_what_ran(bench, project, monkeypatch, capfd):
    from typer.testing import CliRunner

    from trtpipe.cli.main import app

    monkeypatch.chdir(project)
    monkeypatch.setattr("trtpipe.app.engines.run.this_machine", lambda: without_gpu(bench))
    done = CliRunner().invoke(app, ["run", CELL, "-i", "x=x.npy", "-o", "y.npz"])

    assert done.exit_code == 0
    assert done.stderr == f"not run: {CELL} as an engine: needs sm89, this machine has no GPU\n"
    assert done.stdout.splitlines() == [
        f"{CELL}: typed model on the CPU, on x=x.npy",
        "1 run: x 3x4",
        "output  dtype    shape  min  max  mean  NaN  inf",
        "y       float32  3x4    -11  -0   -5.5  0    0",
        "saved y.npz",
    ]

    monkeypatch.setattr("trtpipe.app.engines.run.this_machine", lambda: with_gpu(bench))
    done = CliRunner().invoke(app, ["run", CELL, "--random", "--json"])
    record = json.loads(done.stdout)
    assert (record["subject"], record["gpu"]["name"]) == ("engine", "Make-believe GPU")
    done = CliRunner().invoke(app, ["run", CELL, "--random", "--require-gpu", "--cpu"])
    assert (done.exit_code, done.stderr) == (
        2,
        "--cpu and --require-gpu exclude each other\n  leave one out\n",
    )
