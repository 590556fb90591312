"""A calibration cache in the place of a data set: built, told, refused, made again; and taken over by a command."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

from tests.projects import ROOT

SHARED = Path(__file__).resolve().parents[3] / "shared/testdata/calib"
CACHE = "calibration/digits/digits.cache"
VARIANTS = """\
  int8: {precision: int8, calibration: {cache: calibration/digits/digits.cache}}
"""


@pytest.fixture
def legacy(project):
    shutil.copytree(ROOT / "calibration", project.root / "calibration")
    project.edit("pipelines/digits.yaml", "  fp32: {}\n  fp16: {precision: fp16}\n", VARIANTS)
    project.edit("pipelines/digits.yaml", "  ampere: {gpu: sm86}\n", "")
    with (project.root / "pipelines/digits.yaml").open("a") as file:
        file.write("validate: {data: digits-val, thresholds: [{metric: accuracy, min: 0.98}]}\n")
    return project


def other_weights(path: Path) -> None:
    model = onnx.load(path)
    first = model.graph.initializer[0]
    array = numpy_helper.to_array(first)
    first.CopyFrom(numpy_helper.from_array((array * np.float32(1.01)).astype(array.dtype), first.name))
    onnx.save(model, path)


def accuracy_of(model: Path, data: Path) -> float:
    arrays = np.load(data)
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    (logits,) = session.run(None, {"image": arrays["image"]})
    return float((logits.argmax(axis=1) == arrays["label"]).mean())


@pytest.mark.slow
def test_a_cache_builds_what_a_calibration_would_and_its_bytes_are_in_the_key(legacy):
    done = legacy.run("build", "--json")

    assert done.code == 0, done.err
    assert "digits/digits.cache+cache:calibrate" in done.ran
    manifest = legacy.manifest("int8@ada")
    assert manifest["validation"]["accuracy"] >= 0.98
    assert manifest["calibration"]["method"] == "EntropyCalibration2"
    assert manifest["calibration"]["cache"]["counts"] == {
        "repaired": 0,
        "stale": 0,
        "unusable": 0,
        "missing": 0,
    }
    summary = (legacy.root / "build/digits/int8@ada/summary.md").read_text()
    assert "- scales: from a calibration cache (TRT-8601-EntropyCalibration2): 4 of 4 tensors" in summary
    assert "calibration_cache: " in (legacy.root / "trtpipe.lock").read_text()
    assert legacy.run("build").out == "nothing to do\n"

    # scales go into the model to the bit
    typed = onnx.load(legacy.root / "build/digits/int8@ada/model.onnx")
    scales = {tensor.name: numpy_helper.to_array(tensor) for tensor in typed.graph.initializer}
    rows = dict(line.rsplit(": ", 1) for line in (legacy.root / CACHE).read_text().splitlines()[1:])
    for name, bits in rows.items():
        wanted = np.array(int(bits, 16), np.uint32).view(np.float32)
        found = scales[f"{name}_scale"]
        assert found == wanted.astype(found.dtype), name

    # another value is another engine
    legacy.edit(CACHE, "image: 3c00f9f4", "image: 3c00f9f5")
    done = legacy.run("build", "--json")
    assert "digits/digits.cache+cache:calibrate" in done.ran
    assert legacy.run("build").out == "nothing to do\n"

    # other weights under the same cache are built, and warned of
    other_weights(legacy.root / "models/digits.onnx")
    done = legacy.run("check")
    assert done.code == 0
    assert (
        "warning: the model changed since the lockfile was written for digits/int8@ada, "
        "but its calibration cache did not" in done.err
    )
    assert "no cache says which: after training, calibrate again" in done.err


@pytest.mark.slow
def test_what_the_cache_lacks_is_refused_or_left_unquantized_and_said(legacy):
    path = legacy.root / CACHE
    path.write_text(path.read_text().replace("/Relu_output_0", "/Relu_out").replace("image", "'image'"))

    done = legacy.run("check")

    assert done.code == 2
    assert "pipelines/digits.yaml:5:" in done.err
    assert "the cache has scales for 3 of the 4 tensors that are quantized (75.0%)" in done.err
    assert (
        "missing: '/Relu_output_0': the cache has no entry for it; the nearest entry is '/Relu_out'"
        in done.err
    )

    legacy.edit("pipelines/digits.yaml", "digits.cache}", "digits.cache, min_coverage: 0.75}")
    assert (
        "digits/int8: calibration/digits/digits.cache: 3 of 4 entries match, 1 of them repaired; 3 of 4 tensors"
        in legacy.run("check").out
    )
    done = legacy.run("build")

    assert done.code == 0, done.err
    told = legacy.manifest("int8@ada")["calibration"]["cache"]
    assert told["repaired"] == {"image": {"entry": "'image'", "how": "quotes"}}
    assert told["missing"] == {"/Relu_output_0": "the cache has no entry for it"}
    assert told["stale"] == {"/Relu_out": "the model has no such tensor"}
    assert (
        "1 of 4 tensors have no scale and stay unquantized"
        in (legacy.root / "build/digits/int8@ada/summary.md").read_text()
    )
    typed = onnx.load(legacy.root / "build/digits/int8@ada/model.onnx")
    assert not any(
        node.input[0] == "/Relu_output_0" for node in typed.graph.node if node.op_type == "QuantizeLinear"
    )

    legacy.edit("pipelines/digits.yaml", "min_coverage: 0.75}", "rename: {/Relu_out: /Relu_output_0}}")
    assert "4 of 4 entries match, 2 of them repaired; 4 of 4 tensors" in legacy.run("check").out


@pytest.mark.parametrize(
    ("calibration", "fact"),
    [
        ("{cache: calibration/digits/none.cache}", "no such file: 'calibration/digits/none.cache'"),
        ("{cache: ../digits.cache}", "'../digits.cache' is outside the project"),
        ("{cache: calibration/digits/README.md}", "'README.md' is not a calibration cache"),
        ("{cache: calibration/digits/calib.npz}", "'calib.npz' is not a calibration cache"),
        ("{cache: calibration/digits/digits.cache, format: json}", "declared as json, but is TRT-8601"),
        ("{cache: calibration/digits/digits.cache, format: tensort}", "did you mean 'tensorrt'?"),
        (
            "{cache: calibration/digits/digits.cache, data: digits-calib}",
            "give either data or cache",
        ),
        ("{cache: calibration/digits/digits.cache, samples: 4}", "samples goes with data only"),
        ("{data: digits-calib, min_coverage: 0.5}", "min_coverage goes with a cache only"),
        ("{samples: 4}", "give either data or cache"),
        ("{cache: calibration/digits/digits.cache, rename: {imago: image}}", "did you mean 'image'?"),
        (
            "{cache: calibration/digits/digits.cache, rename: {image: imago}}",
            "the model has no tensor 'imago'",
        ),
        ("{cache: calibration/digits/digits.cache}, method: max", "method has no effect"),
        (
            "{cache: calibration/digits/digits.cache}, overflow: keep",
            "a calibration cache does not say which tensors overflow",
        ),
        ("{cache: calibration/digits/digits.cache}, precision: fp16", "which this precision does not use"),
    ],
)
def test_a_cache_that_does_not_fit_is_told_at_its_place(legacy, calibration, fact):
    if "precision" in calibration:
        legacy.edit("pipelines/digits.yaml", "precision: int8, ", "")
    legacy.edit("pipelines/digits.yaml", "{cache: calibration/digits/digits.cache}", calibration)

    done = legacy.run("check")

    assert done.code == 2
    assert fact in done.err
    assert done.err.startswith("pipelines/digits.yaml:5:")
    assert "Traceback" not in done.err


def test_names_that_import_takes_away_are_no_reason_to_refuse(new_project, tmp_path):
    """The source's convolution reads what an Identity makes; the canonical one reads the input, as the cache says."""
    project = new_project(tmp_path / "project")
    weight = numpy_helper.from_array(np.ones((2, 3, 1, 1), np.float32), "w")
    nodes = [
        onnx.helper.make_node("Identity", ["x"], ["same"]),
        onnx.helper.make_node("Conv", ["same", "w"], ["y"]),
    ]
    values = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, dims)
        for name, dims in (("x", [1, 3, 4, 4]), ("y", [1, 2, 4, 4]))
    ]
    graph = onnx.helper.make_graph(nodes, "g", values[:1], values[1:], [weight])
    onnx.save(
        onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)]),
        project.root / "net.onnx",
    )
    project.write("net.cache", "TRT-8601-EntropyCalibration2\nx: 3c008912\n")
    project.write(
        "pipelines/net.yaml",
        "schema: 1\npipeline: net\nmodel: {source: net.onnx}\ntargets: {ada: {gpu: sm89}}\n"
        "variants: {int8: {precision: int8, calibration: {cache: net.cache}}}\n",
    )

    done = project.run("check")

    assert done.code == 0, done.err
    assert "net/int8: net.cache: 1 of 1 entries match; 1 of 1 tensors have a scale" in done.out
    project.write("net.cache", "TRT-8601-EntropyCalibration2\nsame: 3c008912\n")
    refused = project.run("check")
    assert refused.code == 2
    assert "missing: 'x': the cache has no entry for it" in refused.err


def test_caches_of_one_name_are_steps_of_their_own(legacy):
    (legacy.root / "other").mkdir()
    text = (legacy.root / CACHE).read_text()
    (legacy.root / "other/digits.cache").write_text(text.replace("8601", "100300"))
    legacy.edit(
        "pipelines/digits.yaml",
        VARIANTS,
        VARIANTS
        + "  other: {precision: int8, calibration: {cache: other/digits.cache}}\n"
        + "  again: {precision: int8, base: fp32, calibration: {cache: calibration/digits/digits.cache}}\n",
    )

    done = legacy.run("plan", "--json")

    assert done.code == 0, done.err
    steps = [one["address"] for one in json.loads(done.out)["steps"]]
    assert [one for one in steps if one.endswith(":calibrate")] == [
        "digits/digits.cache+cache:calibrate",
        "digits/digits.cache+cache+2:calibrate",
    ]


# The commands


def test_a_cache_goes_through_scales_and_back_without_a_change(legacy):
    done = legacy.run(
        "migrate", "calibration-cache", CACHE, "models/digits.onnx", "-o", "scales.json", "--qdq", "q.onnx"
    )

    assert done.code == 0, done.err
    assert done.out == (
        "TRT-8601-EntropyCalibration2: 4 entries, 4 of them tensors of the model\n"
        "4 of the 4 tensors that int8 quantizes have a scale (100.0%)\n"
        "\n"
        "variants:\n"
        "  int8:\n"
        "    precision: int8\n"
        "    calibration:\n"
        "      cache: calibration/digits/digits.cache\n"
        "      min_coverage: 0.9\n"
    )
    assert done.err == (
        "wrote scales.json\nwrote q.onnx\nscales belong to the weights that they were measured on, and no cache says "
        "which: after training, calibrate again\n"
    )
    quantized = onnx.load(legacy.root / "q.onnx")
    onnx.checker.check_model(quantized, full_check=True)
    assert sum(node.op_type == "QuantizeLinear" for node in quantized.graph.node) == 4
    assert accuracy_of(legacy.root / "q.onnx", legacy.root / "calibration/digits/val.npz") >= 0.98

    back = legacy.run("export", "calibration-cache", "scales.json")
    assert back.out == (legacy.root / CACHE).read_text()
    newer = legacy.run(
        "export", "calibration-cache", "scales.json", "--trt-version", "10.3.0", "-o", "new.cache"
    )
    assert newer.code == 0, newer.err
    assert (legacy.root / "new.cache").read_text() == back.out.replace("TRT-8601", "TRT-100300")

    spec = legacy.run("migrate", "calibration-cache", "scales.json", "pipelines/digits.yaml", "--json")
    assert json.loads(spec.out)["cache"]["matched"] == 4


@pytest.mark.parametrize(
    ("argv", "fact"),
    [
        (["migrate", "calibration-cache", CACHE, "none.onnx"], "no such file: 'none.onnx'"),
        (["migrate", "calibration-cache", "none", "models/digits.onnx"], "cannot read 'none'"),
        (
            ["migrate", "calibration-cache", CACHE, "models/digits.onnx", "--base", "fp8"],
            "unknown base 'fp8'",
        ),
        (
            ["migrate", "calibration-cache", CACHE, "models/digits.onnx", "--rename", "a"],
            "not a renaming: 'a'",
        ),
        (["migrate", "calibration-cache", CACHE, "models/digits.onnx", "-o", CACHE], "exists already"),
        (["export", "calibration-cache", CACHE], "contains no scales"),
        (["export", "calibration-cache", "own.json"], "--trt-version 8.6.1"),
        (["export", "calibration-cache", "own.json", "--trt-version", "8"], "not a version of TensorRT: '8'"),
        (
            ["export", "calibration-cache", "own.json", "--trt-version", "8.6.1", "--algorithm", "Max"],
            "TensorRT has no calibrator 'Max'",
        ),
        (
            ["export", "calibration-cache", "own.json", "--trt-version", "8.6.1", "-o", CACHE],
            "exists already",
        ),
    ],
)
def test_commands_refuse_in_a_sentence(legacy, argv, fact):
    tensors = {"x": {"amax": 1.0}}
    own = {"schema": 1, "method": "max", "backend": "trtpipe", "samples": 3, "source": "", "tensors": tensors}
    legacy.write("own.json", json.dumps(own))

    done = legacy.run(*argv)

    assert done.code == 2
    assert fact in done.err
    assert "Traceback" not in done.err


@pytest.mark.slow
@pytest.mark.skipif(not SHARED.exists(), reason="not run: needs the shared test data")
def test_the_cache_of_a_real_detector_builds_it(new_project, tmp_path):
    project = new_project(tmp_path / "project")
    for name in ("yolov3-tiny-int8-416.cache", "yolov3tiny_thin.onnx"):
        shutil.copy(SHARED / name, project.root / name)
    project.write(
        "pipelines/yolo.yaml",
        "schema: 1\npipeline: yolo\nmodel: {source: yolov3tiny_thin.onnx}\n"
        "variants: {int8: {precision: int8, calibration: {cache: yolov3-tiny-int8-416.cache}}}\n"
        "profiles: [{000_net: 1x3x416x416}]\ntargets: {ada: {gpu: sm89}}\n",
    )

    done = project.run("build")

    assert done.code == 0, done.err
    told = json.loads((project.root / "build/yolo/int8@ada/manifest.json").read_bytes())
    cache = told["calibration"]["cache"]
    assert (cache["matched"], cache["entries"], cache["coverage"]) == (44, 46, 1.0)
    assert list(cache["stale"]) == [
        f"(Unnamed Layer* {number}) [PluginV2IOExt]_output_0" for number in (43, 44)
    ]
    assert told["audit"]["layers"]["int8"] > 0
