"""Built models as a Triton repository and as an OCI image: by the command, from the example bundle and from digits."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from tests.packages.oci.registry_process import running_registry, skopeo
from tests.packages.triton.ensemble_interpreter import Repository
from tests.packages.triton.model_config import parsed
from tests.projects import ROOT, Project

pytestmark = pytest.mark.engine
BUNDLE = ROOT / "tests/bundles/project"
BACKENDS = "it is tensorrt or onnxruntime"
COSIGN = "an image is signed by its digest, with cosign"
REFERENCE = "write REGISTRY/REPOSITORY:TAG, in small letters but the tag"


def tree(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


@pytest.fixture(scope="module")
def bundled(tmp_path_factory) -> Project:
    """The example bundle, built for one GPU."""
    place = tmp_path_factory.mktemp("bundled") / "project"
    shutil.copytree(BUNDLE, place)
    project = Project(place)
    project.write("trtpipe.yaml", "schema: 1\ntargets: {ada: {gpu: sm89}}\n")
    done = project.run("build", "ocr")
    assert done.code == 0, done.err
    return project


@pytest.fixture(scope="module")
def ensemble(bundled) -> Repository:
    done = bundled.run("package", "ocr", "--to", "triton", "--backend", "onnxruntime")
    assert done.code == 0, done.err
    assert "tritonserver --model-repository=/models" in done.out
    return Repository(bundled.root / "dist/ocr-triton/repository")


def run(path, **feed):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_outputs()]
    return dict(zip(names, session.run(names, feed), strict=True))


def by_hand(project, image):
    """The three typed models one after the other; the recogniser's has the edge's reshape and cast in front."""
    build = project.root / "build"
    found = run(build / "ocr-det/fp16@ada/model.onnx", image=image)
    crop = found.pop("crop")
    probs = run(build / "ocr-cls/fp16@ada/model.onnx", crop=crop)["probs"]
    read = run(build / "ocr.rec/fp16@ada/model.onnx", x=crop, prior=probs)
    outputs = {f"det.{name}": array for name, array in found.items()} | {"cls.probs": probs}
    return outputs | {f"rec.{name}": array for name, array in read.items()}


def by_the_sources(image):
    """The three source models, and what the edges say in between, in NumPy: what the recogniser reads."""
    nets = BUNDLE / "pipelines/models"
    crop = run(nets / "detector.onnx", image=image)["crop"]
    prior = run(nets / "classifier.onnx", crop=crop)["probs"].reshape(-1, 1, 2)
    recogniser = onnxruntime.InferenceSession(nets / "recogniser.onnx", providers=["CPUExecutionProvider"])
    kind = {"tensor(float16)": np.float16, "tensor(float)": np.float32}[
        next(one.type for one in recogniser.get_inputs() if one.name == "prior")
    ]
    return recogniser.run(["logits"], {"x": crop, "prior": prior.astype(np.float16).astype(kind)})[0]


@pytest.mark.parametrize("batch", [1, 3, 8])
def test_the_ensemble_gives_what_the_models_give_by_hand(bundled, ensemble, batch):
    images = np.load(BUNDLE / "calibration/ocr.npz")
    image = np.asarray(images[images.files[0]][:batch], np.float32).reshape(batch, 1, 8, 8)

    served = ensemble.infer("ocr", {"det.image": image})

    expected = by_hand(bundled, image)
    assert set(served) == set(expected)
    for name, array in expected.items():
        np.testing.assert_array_equal(served[name], array)
    sources = by_the_sources(image)
    np.testing.assert_allclose(served["rec.logits"], sources, rtol=0.01, atol=0.01 * np.abs(sources).max())


def test_an_edge_that_changes_a_tensor_is_part_of_its_consumer(ensemble):
    steps = {one.model_name: one for one in ensemble.configs["ocr"].ensemble_scheduling.step}

    assert set(steps) == {"ocr-det", "ocr-cls", "ocr-rec"}
    assert steps["ocr-rec"].input_map["prior"] == "cls.probs"
    assert {one.name for one in ensemble.configs["ocr"].output} >= {"cls.probs", "rec.logits"}
    assert ensemble.configs["ocr"].max_batch_size == 32


def test_labels_of_the_bundle_name_the_classes(bundled, ensemble):
    (output,) = [one for one in ensemble.configs["ocr-rec"].output if one.name == "logits"]

    path = bundled.root / "dist/ocr-triton/repository/ocr-rec" / output.label_filename
    assert path.read_bytes() == (BUNDLE / "pipelines/models/digits.txt").read_bytes()


def test_a_repository_is_verified_like_any_package(bundled, ensemble):
    verified = bundled.run("package", "--verify", "dist/ocr-triton")
    assert verified.code == 0, verified.err

    path = bundled.root / "dist/ocr-triton/repository/ocr/config.pbtxt"
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"ocr-det", b"ocr-dat"))
    changed = bundled.run("package", "--verify", "dist/ocr-triton")
    path.write_bytes(whole)

    assert changed.code == 2
    assert "repository/ocr/config.pbtxt" in changed.err


def test_two_packagings_have_the_same_bytes(bundled, ensemble):
    for form in ("triton", "oci"):
        for place in ("one", "other"):
            done = bundled.run(
                "package", "ocr", "--to", form, "-o", f"{place}-{form}",
                *(["--backend", "onnxruntime"] if form == "triton" else []),
            )  # fmt: skip
            assert done.code == 0, done.err

        assert tree(bundled.root / f"one-{form}") == tree(bundled.root / f"other-{form}")


def test_engines_of_tensorrt_rtx_are_refused_and_the_remedy_is_told(bundled):
    done = bundled.run("package", "ocr", "--to", "triton")

    assert done.code == 2
    assert done.err == (
        "Triton's TensorRT backend does not load engines of TensorRT-RTX, as ocr-det/fp16@ada, ocr-cls/fp16@ada, "
        "ocr.rec/fp16@ada are\n  serve their typed ONNX: --backend onnxruntime\n"
    )


def test_a_bundle_with_a_driver_is_no_ensemble(bundled, tmp_path):
    place = tmp_path / "driven"
    shutil.copytree(
        bundled.root, place, symlinks=True, ignore=shutil.ignore_patterns("dist", "*-triton", "*-oci")
    )
    project = Project(place)
    spec = (place / "pipelines/ocr.yaml").read_text()
    project.write("pipelines/ocr.yaml", spec + "python: drivers:run\nfiles: [drivers.py]\n")
    project.write("drivers.py", "def run(models, inputs):\n    return {}\n")

    done = project.run("package", "ocr", "--to", "triton", "--backend", "onnxruntime")

    assert done.code == 2
    pipelines = "ocr-det ocr-cls ocr-rec"
    assert done.err == (
        "bundle 'ocr' has a Python driver, and a Triton ensemble runs models and nothing else\n"
        f"  package its pipelines alone: trtpipe package {pipelines} --to triton\n"
    )
    done = project.run("package", "ocr-det", "ocr-cls", "--to", "triton", "--backend", "onnxruntime")
    assert (
        done.code == 2 and "ocr-det/fp32@ada is not built" in done.err
    )  # a bundle builds only what it takes
    done = project.run(
        "package", "ocr-det/fp16", "ocr-cls/fp16", "--to", "triton", "--backend", "onnxruntime"
    )
    assert done.code == 0, done.err


def test_members_are_warmed_up_with_what_the_bundle_says_of_triton(bundled, tmp_path):
    place = tmp_path / "warm"
    shutil.copytree(
        bundled.root, place, symlinks=True, ignore=shutil.ignore_patterns("dist", "*-triton", "*-oci")
    )
    project = Project(place)
    spec = (place / "pipelines/ocr.yaml").read_text()
    project.write(
        "pipelines/ocr.yaml", spec + "package: {triton: {warmup: {samples: 2}, backend: onnxruntime}}\n"
    )

    done = project.run("package", "ocr", "--to", "triton")
    assert done.code == 0, done.err

    found = Repository(place / "dist/ocr-triton/repository").configs
    assert [one.name for one in found["ocr-det"].model_warmup] == ["sample-0", "sample-1"]
    assert [one.name for one in found["ocr-rec"].model_warmup] == [
        "profile-0"
    ]  # its data set is the pipeline's
    assert not found["ocr"].model_warmup


# -- one pipeline, with what its spec says of Triton

TRITON = """
package:
  triton:
    max_batch_size: 16
    dynamic_batching: {preferred_sizes: [8, 16], max_queue_delay: 200}
    instance_groups: [{count: 2, kind: cpu}]
    warmup: {samples: 2, data: digits-val}
"""


@pytest.fixture(scope="module")
def warmed(built, tmp_path_factory) -> Project:
    """The built digits, whose spec says how Triton serves them; that enters no key."""
    place = tmp_path_factory.mktemp("warmed") / "project"
    shutil.copytree(built.root, place, symlinks=True)
    project = Project(place)
    project.write("pipelines/digits.yaml", (place / "pipelines/digits.yaml").read_text() + TRITON)
    shutil.copytree(ROOT / "calibration", place / "calibration", dirs_exist_ok=True)
    return project


def test_what_the_spec_says_of_triton_is_in_the_configuration(warmed):
    done = warmed.run("package", "digits/fp16", "--to", "triton", "--backend", "onnxruntime")
    assert done.code == 0, done.err
    home = warmed.root / "dist/digits-triton/repository/digits"

    config = parsed((home / "config.pbtxt").read_text())

    assert config.max_batch_size == 16
    assert list(config.dynamic_batching.preferred_batch_size) == [8, 16]
    assert [(one.count, one.kind) for one in config.instance_group] == [(2, 2)]  # KIND_CPU
    samples = [one.inputs["image"] for one in config.model_warmup]
    assert [list(one.dims) for one in samples] == [[1, 8, 8]] * 2
    data = [
        np.frombuffer((home / "warmup" / one.input_data_file).read_bytes(), np.float32) for one in samples
    ]
    assert [one.size for one in data] == [64, 64]
    assert not np.array_equal(*data)
    session = onnxruntime.InferenceSession(home / "1/model.onnx", providers=["CPUExecutionProvider"])
    assert session.run(None, {"image": data[0].reshape(1, 1, 8, 8)})[0].shape == (1, 10)


def test_a_batch_that_no_profile_takes_is_refused(warmed):
    spec = (warmed.root / "pipelines/digits.yaml").read_text()
    warmed.write("pipelines/digits.yaml", spec.replace("max_batch_size: 16", "max_batch_size: 128"))
    done = warmed.run("package", "digits/fp16", "--to", "triton", "--backend", "onnxruntime", "--force")
    warmed.write("pipelines/digits.yaml", spec)

    assert done.code == 2
    assert done.err == (
        "max_batch_size 128 is too large for digits: profiles take batches of up to 64\n  write max_batch_size: 64\n"
    )


# -- an image


def pushing(project, *argv):
    """What the command prints, in a process that has oras wherever this one found it."""
    import oras

    paths = os.pathsep.join([str(ROOT), str(Path(oras.__file__).parents[1])])
    environment = {**os.environ, "PYTHONPATH": paths, "HOME": str(project.root)}
    command = [sys.executable, "-m", "trtpipe", *argv]
    done = subprocess.run(
        command, cwd=project.root, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_an_image_is_pushed_selected_from_and_verified_elsewhere(warmed, tmp_path):
    pytest.importorskip("oras", reason="not run: needs the extra oci")
    with running_registry(tmp_path) as registry:
        name = f"{registry.host}/team/digits:1"
        first = pushing(warmed, "package", "digits", "--to", "oci", "--push", name)
        again = pushing(warmed, "package", "digits", "--to", "oci", "--push", name, "--force")
        place = tmp_path / "elsewhere"
        skopeo("copy", "--all", "--src-tls-verify=false", f"docker://{name}", f"oci:{place}:digits")

    chosen = warmed.run("select", str(place), "--for", "sm86", "--variant", "fp16", "--json")
    assert f"pushed to {name}" in first
    assert "  0 blobs sent, 0 B; " in again
    assert chosen.code == 0, chosen.err
    file = json.loads(chosen.out)["choices"][0]["file"]
    assert (place / file).read_bytes() == warmed.engine("fp16@ampere")


@pytest.mark.parametrize(
    ("arguments", "fact"),
    [
        (("--push", "127.0.0.1:1/net:1"), "--push applies only to --to oci"),
        (("--to", "oci", "--backend", "tensorrt"), "--backend applies only to --to triton"),
        (("--to", "oci", "--insecure"), "--insecure applies only to --push"),
        (("--to", "triton", "--backend", "cpu"), f"--backend 'cpu' is none that models are served with: {BACKENDS}"),
        (("--to", "oci", "--sign", "key.pem"), f"--sign signs the files of a directory or an archive; {COSIGN}"),
        (("--to", "oci", "--push", "net"), f"'net' names no tag of a repository; {REFERENCE}"),
    ],
)  # fmt: skip
def test_options_of_another_form_are_refused(warmed, arguments, fact):
    done = warmed.run("package", "digits", "-o", "nowhere", *arguments)

    assert (done.code, done.err) == (2, f"{fact}\n")
    assert not (warmed.root / "nowhere").exists()
