"""int8, fp8 and int4 as a user meets them: calibrated, built, validated, refused where a GPU has none of it."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import re
import shutil

import numpy as np
import onnxruntime
import pytest

from tests.projects import ROOT

VARIANTS = """\
  max: {precision: int8, calibration: digits-calib, method: max}
  entropy: {precision: int8, calibration: digits-calib}
  percentile: {precision: int8, calibration: digits-calib, method: percentile}
  mse: {precision: int8, calibration: digits-calib, method: mse}
  fp8: {precision: fp8, calibration: digits-calib}
  int4: {precision: int4, block_size: 16, min_low_precision: 0.05}
"""


@pytest.fixture
def quantized(project):
    shutil.copytree(ROOT / "calibration", project.root / "calibration")
    project.edit("pipelines/digits.yaml", "  fp16: {precision: fp16}\n", VARIANTS)
    project.edit("pipelines/digits.yaml", "  ampere: {gpu: sm86}\n", "")
    with (project.root / "pipelines/digits.yaml").open("a") as file:
        file.write("validate: {data: digits-val, thresholds: [{metric: accuracy, min: 0.98}]}\n")
    return project


def accuracy(project, variant):
    return project.manifest(f"{variant}@ada")["validation"]["accuracy"]


def assert_fp8_needs_the_setting_that_the_manifest_names(quantized):
    """Fails too when ONNX Runtime has mended it: then the manifest must not say so any more."""
    (said,) = quantized.manifest("fp8@ada")["other_runtimes"]
    entry = re.search(r'add_session_config_entry\("([\w.]+)", "(\d)"\)', said)
    digits = np.load(quantized.root / "calibration/digits/val.npz")
    found = []
    for entries in ([], [entry.groups()]):
        options = onnxruntime.SessionOptions()
        for name, value in entries:
            options.add_session_config_entry(name, value)
        model = quantized.root / "build/digits/fp8@ada/model.onnx"
        session = onnxruntime.InferenceSession(model, options)
        scores = np.concatenate(
            [session.run(None, {"image": part})[0] for part in np.split(digits["image"], 10)]
        )
        found.append(float((scores.argmax(-1) == digits["label"]).mean()))
    assert found[0] < 0.5
    assert found[1] >= 0.98
    assert said in (quantized.root / "build/digits/fp8@ada/summary.md").read_text()
    assert "other_runtimes" not in quantized.manifest("max@ada")


def test_every_method_keeps_the_accuracy_and_variants_share_scales(quantized):
    done = quantized.run("build", "--json")

    assert done.code == 0, done.err
    ran = done.ran
    assert [one for one in ran if one.endswith(":calibrate")] == [
        f"digits/digits-calib+{name}:calibrate" for name in ("entropy", "max", "mse", "percentile+99.99")
    ]
    for variant in ("max", "entropy", "percentile", "mse", "fp8", "int4"):
        assert accuracy(quantized, variant) >= 0.98
    assert quantized.manifest("max@ada")["audit"]["products"] == {"int8": 4}
    assert_fp8_needs_the_setting_that_the_manifest_names(quantized)
    scales = json.loads((quantized.root / "build/digits/entropy@ada/scales.json").read_bytes())
    assert scales["samples"] == 256
    assert quantized.run("build").out == "nothing to do\n"


@pytest.mark.parametrize(
    "method",
    [pytest.param(one, marks=pytest.mark.slow) for one in ("mse", "percentile")],
)
def test_a_few_samples_out_of_range_do_not_spoil_the_recommended_method(quantized, method):
    path = quantized.root / "calibration/digits/calib.npz"
    arrays = dict(np.load(path))
    arrays["image"][:4] *= 40
    np.savez(path, **arrays)
    quantized.edit("pipelines/digits.yaml", "min: 0.98", "min: 0.1")

    spoilt = quantized.run("build", "--only", f"digits/{method}@ada", "--json")
    report = quantized.manifest(f"{method}@ada")["calibration"]
    advised = report["recommended"]
    done = quantized.run("build", "--only", f"digits/{advised}@ada")

    assert spoilt.code == done.code == 0, (spoilt.err, done.err)
    assert advised != method
    assert report["counts"]["outliers"] > 0
    warnings = [event["text"] for event in spoilt.events if event["event"] == "warning"]
    assert any(f"method: {advised} keeps the outputs closer to the model's" in text for text in warnings)
    summary = (quantized.root / f"build/digits/{method}@ada/summary.md").read_text()
    assert f"method recommended: {advised}" in summary
    assert accuracy(quantized, advised) >= 0.98


def test_a_gpu_without_the_type_is_told_what_it_has(quantized):
    quantized.edit("pipelines/digits.yaml", "gpu: rtx4090", "gpu: sm86")

    done = quantized.run("check")

    assert done.code == 2
    assert "digits/fp8@ada: TensorRT-RTX has no fp8 for sm86" in done.err
    assert "use int8 or fp16" in done.err


BLOCKS = """\
  fp4: {precision: fp4, min_low_precision: 0}
  nvfp4: {precision: nvfp4, calibration: digits-calib, min_low_precision: 0}
  mxfp8: {precision: mxfp8, min_low_precision: 0}
"""


@pytest.mark.slow
def test_blocks_are_emulated_on_the_cpu_and_the_manifest_says_so(quantized):
    quantized.edit("pipelines/digits.yaml", VARIANTS, BLOCKS)
    quantized.edit("pipelines/digits.yaml", "gpu: rtx4090", "gpu: sm120")

    done = quantized.run("build")

    assert done.code == 0, done.err
    weights, activations = "float4 and mxfp8 weights", "nvfp4 and mxfp8 activations"
    for variant, twins in (
        ("fp4", {weights}),
        ("nvfp4", {weights, activations}),
        ("mxfp8", {weights, activations}),
    ):
        assert accuracy(quantized, variant) >= 0.98
        assert quantized.manifest(f"{variant}@ada")["validation"]["twins"].keys() == twins
    summary = (quantized.root / "build/digits/nvfp4@ada/summary.md").read_text()
    assert "- run on the CPU: a float32 twin that rounds activations in blocks" in summary


def test_a_variant_that_will_quantize_nothing_is_warned_of(quantized):
    quantized.edit(
        "pipelines/digits.yaml",
        "{precision: int4, block_size: 16, ",
        "{precision: int4, keep: {fp16: [op:Gemm]}, ",
    )

    done = quantized.run("check")

    assert done.code == 0, done.err
    assert "precision 'int4' finds nothing to quantize in this model" in done.err
    assert "3 because blocks are of matrix products, and it is a convolution" in done.err
    assert "1 because kept by 'op:Gemm'" in done.err


def test_a_variant_that_got_almost_none_of_its_type_is_not_delivered(quantized):
    quantized.edit(
        "pipelines/digits.yaml", "precision: int8, calibration: digits-calib, method: max", "precision: int4"
    )

    done = quantized.run("build", "--only", "digits/max@ada")

    assert done.code == 1
    assert "precision 'int4' was asked for, but the engine has only 8." in done.err
    assert "products: 3 float16, 1 int4 weights" in done.err
    assert "3 nodes stayed wider because blocks are of matrix products, and it is a convolution" in done.err
    assert not (quantized.root / "build/digits/max@ada").exists()


@pytest.mark.parametrize(
    ("old", "new", "fact"),
    [
        (
            "{precision: fp8, calibration: digits-calib}",
            "{precision: fp8}",
            "precision 'fp8' needs a calibration",
        ),
        ("fp32: {}", "fp32: {calibration: digits-calib}", "precision 'fp32' does not use calibration"),
        (
            "{precision: fp8, calibration: digits-calib}",
            "{precision: fp8, calibration: digts-calib}",
            "no data set",
        ),
        (
            "{precision: fp8, calibration: digits-calib}",
            "{precision: fp8, calibration: digits-calib, block_size: 32}",
            "precision 'fp8' has no blocks",
        ),
        ("{precision: int4, ", "{precision: mxfp8, ", "precision 'mxfp8' has blocks of 32"),
        ("fp32: {}", "fp32: {base: fp16}", "precision 'fp32' computes everything in one type"),
        ("method: mse}", "method: mse, percentile: 99}", "percentile has no effect: the method is 'mse'"),
        ("{precision: int4, ", "{precision: int4, method: max, ", "method has no effect"),
    ],
    ids=[
        "none",
        "superfluous",
        "unknown",
        "no blocks",
        "other blocks",
        "no base",
        "no percentile",
        "no method",
    ],
)
def test_what_does_not_fit_a_precision_is_told_at_its_place(quantized, old, new, fact):
    quantized.edit("pipelines/digits.yaml", old, new)

    done = quantized.run("check")

    assert done.code == 2
    assert fact in done.err
    assert "pipelines/digits.yaml:" in done.err


@pytest.mark.slow
def test_a_library_calibrates_where_the_spec_says_so(quantized):
    quantized.edit(
        "pipelines/digits.yaml",
        "{precision: int8, calibration: digits-calib, method: percentile}",
        "{precision: int8, calibration: {data: digits-calib, backend: onnxruntime}, method: percentile}",
    )

    done = quantized.run("build", "--only", "digits/percentile@ada", "--json")

    assert done.code == 0, done.err
    assert "digits/digits-calib+percentile+99.99+onnxruntime:calibrate" in done.ran
    assert quantized.manifest("percentile@ada")["calibration"]["backend"] == "onnxruntime"
    assert accuracy(quantized, "percentile") >= 0.98


@pytest.mark.parametrize(
    ("variant", "fact", "remedy"),
    [
        (
            "{precision: int8, calibration: {data: digits-calib, backend: onnxruntime}, method: mse}",
            "backend 'onnxruntime' has no method 'mse'",
            "its methods are max, percentile, entropy",
        ),
        (
            "{precision: int8, calibration: {data: digits-calib, backend: modelopt}, method: percentile}",
            "backend 'modelopt' has no method 'percentile'",
            "its methods are max, entropy",
        ),
        (
            "{precision: int8, calibration: {data: digits-calib, backend: modlopt}}",
            "unknown backend 'modlopt'",
            "did you mean 'modelopt'",
        ),
        (
            "{precision: int8, calibration: {data: digits-calib, backend: modelopt}}",
            "backend 'modelopt' needs nvidia-modelopt",
            "pip install 'trtpipe[modelopt]'",
        ),
    ],
    ids=["onnxruntime", "modelopt", "unknown", "not installed"],
)
def test_a_backend_that_cannot_is_refused_with_what_it_can(quantized, variant, fact, remedy):
    if "needs" in fact and importlib.util.find_spec("modelopt") is not None:
        pytest.skip("the extra modelopt is installed")
    quantized.edit(
        "pipelines/digits.yaml", "{precision: int8, calibration: digits-calib, method: mse}", variant
    )

    done = quantized.run("check")

    assert done.code == 2
    assert fact in done.err
    assert remedy in done.err
    assert "pipelines/digits.yaml:" in done.err


def test_cuda_that_is_not_here_is_refused_at_check(quantized):
    if "onnxruntime-gpu" in importlib.metadata.packages_distributions().get("onnxruntime", ()):
        pytest.skip("onnxruntime-gpu is installed")
    quantized.edit(
        "pipelines/digits.yaml",
        "{precision: int8, calibration: digits-calib, method: mse}",
        "{precision: int8, calibration: {data: digits-calib, provider: cuda}, method: mse}",
    )

    done = quantized.run("check")

    assert done.code == 2
    assert "calibration cannot run on CUDA: it needs onnxruntime-gpu" in done.err
    assert "pipelines/digits.yaml:" in done.err
