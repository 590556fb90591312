"""Real models, from spec to engines: they build for every generation, and compute what was recorded of them."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.endtoend import zoo
from tests.packages.triton.model_config import parsed

HALF = {"atol": 2e-3, "rtol": 0.0}
"""Outputs are probabilities and states of magnitude 1 to 4: half has 2^-11 of that, a few times over."""


def build_of(project, model, cell):
    return project.root / "build" / model / cell


def manifest_of(project, model, cell):
    return json.loads((build_of(project, model, cell) / "manifest.json").read_bytes())


def outputs_of(path, inputs):
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    feed = {one.name: inputs[one.name] for one in session.get_inputs()}
    names = [one.name for one in session.get_outputs()]
    return dict(zip(names, session.run(names, feed), strict=True))


@pytest.mark.parametrize("model", zoo.MODELS)
def test_the_fp32_model_equals_what_was_recorded(real, model):
    """As far as kernels allow: the recording was made by another release of ONNX Runtime, on another processor."""
    inputs, recorded = zoo.recording_of(model)

    outputs = outputs_of(build_of(real, model, "fp32@ada") / "model.onnx", inputs)

    assert outputs.keys() == recorded.keys()
    for name, expected in recorded.items():
        np.testing.assert_allclose(outputs[name], expected, rtol=1e-5, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("model", zoo.MODELS)
def test_the_fp16_model_is_as_close_as_half_precision_is(real, model):
    inputs, recorded = zoo.recording_of(model)

    outputs = outputs_of(build_of(real, model, "fp16@ada") / "model.onnx", inputs)

    assert outputs.keys() == recorded.keys()
    for name, expected in recorded.items():
        np.testing.assert_allclose(outputs[name], expected, err_msg=name, **HALF)


@pytest.mark.parametrize("model", zoo.MODELS)
def test_manifests_hold_profiles_io_audit_and_every_corner(real, model):
    inputs, recorded = zoo.recording_of(model)
    inputs.pop("sr", None)  # bound to a constant

    for cell in ("fp32@ada", "fp16@ada"):
        manifest = manifest_of(real, model, cell)
        places = {check["place"] for check in manifest["validation"]["verdicts"]}

        assert {one["name"] for one in manifest["io"]} == {*inputs, *recorded}
        assert set(manifest["profiles"][0]) == set(zoo.PROFILES[model])
        assert manifest["validation"]["outcome"] == "passed"
        assert {check["outcome"] for check in manifest["validation"]["verdicts"]} == {"passed"}
        assert {"data", "profile 0 at min", "profile 0 at opt", "profile 0 at max"} <= places
        assert manifest["audit"]["problems"] == []
        assert (manifest["audit"]["low_weight_share"] > 0.9) == cell.startswith("fp16")
        assert "sm89" in " ".join(manifest["not_run"])


def test_engines_of_half_the_precision_have_about_half_the_weights(real):
    sizes = {
        cell: manifest_of(real, "magika_v3_3", cell)["engine"]["bytes"] for cell in ("fp32@ada", "fp16@ada")
    }

    assert sizes["fp16@ada"] < 0.7 * sizes["fp32@ada"]


@pytest.mark.slow
def test_every_model_builds_for_three_generations(real, tmp_path):
    shutil.copytree(real.root, tmp_path / "all", symlinks=True)
    project = type(real)(tmp_path / "all")
    for model in zoo.MODELS:
        zoo.add_model(project.root, model, targets=zoo.GENERATIONS)

    done = project.run("build", timeout=600)

    assert done.code == 0, done.err
    assert re.match(r"built 16 engines, 8 (restored|up to date) in ", done.out)
    for model in zoo.MODELS:
        for target, name in zoo.GENERATIONS.items():
            for variant in ("fp32", "fp16"):
                manifest = manifest_of(project, model, f"{variant}@{target}")
                assert manifest["engine"]["header"]["capabilities"] == [name]
                assert manifest["validation"]["outcome"] == "passed"
    assert project.run("build").out == "nothing to do\n"


@pytest.mark.parametrize("model", ["ppocr_cls", "silero_vad_op18_ifless"])
def test_a_recording_is_a_reference(real, tmp_path, model):
    """The engine does not depend on what it is compared with: only what runs the typed model does."""
    shutil.copytree(real.root, tmp_path / "golden", symlinks=True)
    project = type(real)(tmp_path / "golden")
    zoo.add_model(project.root, model, validate=f"{{reference: {{golden: golden/{model}.npz}}}}")

    done = project.run("build", "--json", f"pipelines/{model}.yaml")

    assert done.code == 0, done.err
    stages = sorted(address.rpartition(":")[2] for address in done.ran)
    assert stages == ["readback", "readback", "validate", "validate"]
    report = json.loads((build_of(project, model, "fp32@ada") / "validation.json").read_bytes())
    assert [place["place"] for place in report["places"]] == ["golden"]
    outputs = report["places"][0]["outputs"]
    assert max(one["metrics"]["max_abs"] for one in outputs.values()) < 1e-6  # no optimizations, other sums
    assert manifest_of(project, model, "fp32@ada")["validation"]["outcome"] == "passed"


def test_a_recording_that_differs_fails_by_output(real, tmp_path):
    shutil.copytree(real.root, tmp_path / "golden", symlinks=True)
    project = type(real)(tmp_path / "golden")
    path = project.root / "golden" / "mtcnn_rnet.npz"
    with np.load(path) as archive:
        arrays = dict(archive)
    np.savez(path, **(arrays | {"out:dense_2": arrays["out:dense_2"][::-1]}))
    spec = zoo.spec_of("mtcnn_rnet", validate="{reference: {golden: golden/mtcnn_rnet.npz}}")
    project.write("pipelines/mtcnn_rnet.yaml", spec)

    done = project.run("build", "--keep-going", "pipelines/mtcnn_rnet.yaml")

    assert done.code == 1
    assert re.search(
        r"output 'dense_2' has cosine 0\.\d+, which must be at least 0\.99999 \(golden\)", done.err
    )
    assert "softmax_1" not in done.err


@pytest.mark.slow
def test_what_overflows_in_half_precision_is_named_and_can_be_kept(real, tmp_path):
    """Magika's layer norms sum squares to 1e5 where half ends at 65504. By default they are kept; not here."""
    shutil.copytree(real.root, tmp_path / "plain", symlinks=True)
    project = type(real)(tmp_path / "plain")
    zoo.add_model(project.root, "magika_v3_3", half='{precision: fp16, keep: {fp16: ["*"]}}')

    done = project.run("build", "pipelines/magika_v3_3.yaml")

    assert done.code == 1
    assert "output 'target_label' has cosine" in done.err
    assert re.search(
        r"overflow begins in '\S+/LayerNorm_1/Sum_1:0' \(ReduceSum, \S.*\), where the reference reaches \d\.\d+e\+05",
        done.err,
    )
    assert re.search(r"keep: \{fp32: \['\S+/LayerNorm_1/Sum_1'", done.err)
    delivered = manifest_of(project, "magika_v3_3", "fp16@ada")
    assert delivered == manifest_of(real, "magika_v3_3", "fp16@ada"), "what passed before stays"


def test_a_calibration_set_shows_what_leaves_half_precision(real, tmp_path):
    shutil.copytree(real.root, tmp_path / "ranged", symlinks=True)
    project = type(real)(tmp_path / "ranged")
    half = "{precision: fp16, calibration: bytes, overflow: refuse}"
    zoo.add_model(project.root, "magika_v3_3", half=half)
    project.write(
        "calibration/bytes.yaml",
        "schema: 1\nrandom: {shapes: {bytes: [1, 2048]}, low: 0, high: 256}\nsamples: 2\n",
    )

    done = project.run("build", "magika_v3_3/fp16@ada")

    assert done.code == 0, done.err
    ranges = json.loads((build_of(project, "magika_v3_3", "fp16@ada") / "scales.json").read_bytes())["ranges"]
    assert max(reach for name, reach in ranges.items() if name.endswith("LayerNorm_1/Sum_1:0")) > 65504
    typed = manifest_of(project, "magika_v3_3", "fp16@ada")["typed"]
    assert typed["wide"]["by_default"] == {"normalization": 28, "sum": 1}
    assert typed["wide"]["overflow"] == {}


REFUSED = {
    "magika_v3_3": (
        "'jax2tf_get_logits_/pjit_get_logits_/MagikaV2/Dense_0/einsum/Einsum' (MatMul), "
        "'jax2tf_get_logits_/pjit_get_logits_/MagikaV2/Dense_1/MatMul' (MatMul)"
    ),
    "mtcnn_rnet": "'dense' (MatMul), 'dense_2' (MatMul), 'dense_1' (MatMul)",
    "ppocr_cls": "'MatMul@0' (MatMul)",
    "silero_vad_op18_ifless": "'node_linear' (Gemm), 'node_linear_1' (Gemm)",
}


@pytest.fixture(scope="module")
def turing(real, tmp_path_factory):
    """The real models for sm75."""
    root = tmp_path_factory.mktemp("turing") / "project"
    shutil.copytree(real.root, root, symlinks=True)
    for model in zoo.MODELS:
        zoo.add_model(root, model, targets={"turing": "sm75"})
    return type(real)(root)


def test_turing_refuses_float32_products_by_name_and_offers_fp16(turing):
    """All of them in one pass; the text is what a user reads."""
    done = turing.run("check")

    version = re.search(r"TensorRT-RTX (\S+) has no", done.err)
    assert version, done.err
    assert done.code == 2
    expected = ""
    for model, nodes in REFUSED.items():
        lines = (turing.root / "pipelines" / f"{model}.yaml").read_text().splitlines()
        row = lines.index("  turing: {gpu: sm75}") + 1
        expected += (
            f"pipelines/{model}.yaml:{row}:17: {model}/fp32@turing: TensorRT-RTX {version[1]} has no float32 "
            f"matrix product for sm75 (Turing): {nodes}\n"
            f"      turing: {{gpu: sm75}}\n"
            f"                    ^\n"
            f"  a variant with `precision: fp16` builds for sm75, and so does TensorRT-RTX 1.6 in float32; "
            f"or leave sm75 out; of the spec's variants it can build 'fp16'\n"
        )
    assert done.err == expected + "4 errors\n"


@pytest.mark.slow
def test_turing_builds_fp16(turing):
    done = turing.run("build", "--only", "*/fp16@turing")

    assert done.code == 0, done.err
    for model in zoo.MODELS:
        manifest = manifest_of(turing, model, "fp16@turing")
        assert manifest["engine"]["header"]["capabilities"] == ["sm75"]
        assert manifest["audit"]["low_weight_share"] > 0.9


def bf16_classifier(path):
    """A small classifier as bf16 training leaves it: weights and arithmetic in bfloat16, inputs in float32."""
    random = np.random.default_rng(0)

    def weight(name, shape):
        values = (random.standard_normal(shape) * shape[0] ** -0.5).astype(np.float32)
        rounded = (values.view(np.uint32) >> 16).astype(np.uint16)  # bfloat16 is the upper half of float32
        return helper.make_tensor(name, TensorProto.BFLOAT16, shape, rounded.tobytes(), raw=True)

    nodes = [
        helper.make_node("Cast", ["x"], ["h0"], "down", to=TensorProto.BFLOAT16),
        helper.make_node("MatMul", ["h0", "w0"], ["h1"], "product0"),
        helper.make_node("Relu", ["h1"], ["h2"], "relu"),
        helper.make_node("MatMul", ["h2", "w1"], ["h3"], "product1"),
        helper.make_node("Cast", ["h3"], ["h4"], "up", to=TensorProto.FLOAT),
        helper.make_node("Softmax", ["h4"], ["y"], "softmax", axis=-1),
    ]
    graph = helper.make_graph(
        nodes,
        "classifier",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 64])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 10])],
        [weight("w0", (64, 128)), weight("w1", (128, 10))],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    path.parent.mkdir(parents=True)
    path.write_bytes(model.SerializeToString())


BF16 = """\
schema: 1
pipeline: bf16
model: {source: models/bf16.onnx}
variants:
  fp32: {}
  fp16: {precision: fp16}
profiles:
  - x: {min: 1x64, opt: 8x64, max: 32x64}
targets: {ada: {gpu: sm89}, turing: {gpu: sm75}}
validate: {random: {samples: 4}}
"""


@pytest.mark.slow
def test_a_bf16_model_builds_in_fp32_and_fp16(new_project, tmp_path):
    """Turing has no bf16: what was bfloat16 in the source is float16 in its engine."""
    project = new_project(tmp_path / "project")
    bf16_classifier(project.root / "models" / "bf16.onnx")
    project.write("pipelines/bf16.yaml", BF16)

    refused = project.run("check")
    done = project.run("build", "--only", "bf16/fp16@*", "--only", "bf16/fp32@ada")

    assert refused.code == 2
    assert "'product0' (MatMul), 'product1' (MatMul)" in refused.err
    assert refused.err.endswith("1 error\n")
    assert done.code == 0, done.err
    for cell in ("fp32@ada", "fp16@ada", "fp16@turing"):
        assert manifest_of(project, "bf16", cell)["validation"]["outcome"] == "passed"
    weights = {
        cell: {np.dtype(numpy_helper.to_array(one).dtype).name for one in _weights(project, cell)}
        for cell in ("fp32@ada", "fp16@ada", "fp16@turing")
    }
    assert weights == {"fp32@ada": {"float32"}, "fp16@ada": {"float16"}, "fp16@turing": {"float16"}}


def _weights(project, cell):
    import onnx

    model = onnx.load(build_of(project, "bf16", cell) / "model.onnx")
    return [one for one in model.graph.initializer if one.data_type in (1, 10, 16)]


@pytest.mark.parametrize(
    ("model", "batch"),
    [("magika_v3_3", 4), ("mtcnn_rnet", 32), ("ppocr_cls", 4), ("silero_vad_op18_ifless", 0)],
)
def test_triton_is_told_the_largest_batch_that_is_proved(real, tmp_path, model, batch):
    """Silero's state has the batch second, so that Triton cannot join requests."""
    import onnxruntime

    out = tmp_path / "triton"
    done = real.run("package", f"{model}/fp16", "--to", "triton", "--backend", "onnxruntime", "-o", str(out))
    assert done.code == 0, done.err

    config = parsed((out / "repository" / model / "config.pbtxt").read_text())

    session = onnxruntime.InferenceSession(
        out / "repository" / model / "1/model.onnx", providers=["CPUExecutionProvider"]
    )
    assert config.max_batch_size == batch
    for one, port in zip(
        (*config.input, *config.output), (*session.get_inputs(), *session.get_outputs()), strict=True
    ):
        dims = [-1, *one.dims] if batch else [*one.dims]
        known = [dim if isinstance(dim, int) else -1 for dim in port.shape]
        assert (one.name, len(dims)) == (port.name, len(known))
        assert all(-1 in (dim, size) or dim == size for dim, size in zip(dims, known, strict=True))


@pytest.fixture(scope="module")
def demo(new_project, tmp_path_factory):
    """The demo of the README, as it is in the repository."""
    project = new_project(tmp_path_factory.mktemp("demo") / "project")
    for name in ("pipelines", "calibration"):
        shutil.copytree(Path(__file__).resolve().parents[2] / name, project.root / name)
    return project


def test_the_demo_prints_its_accuracy(demo):
    done = demo.run("build", "pipelines/digits.yaml", "--only", "*@ada")

    assert done.code == 0, done.err
    printed = re.findall(r"built +(digits/\w+@ada) .*, accuracy ([\d.]+)\)", done.err)
    assert sorted(printed) == [("digits/fp16@ada", "0.988"), ("digits/fp32@ada", "0.988")]
