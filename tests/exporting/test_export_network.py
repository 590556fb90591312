"""A pipeline's model exported as declared layers: equal outputs, equal bytes again, everything else as written."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import onnxruntime
import pytest
import yaml

from tests import warm_commands
from tests.projects import Project
from trtpipe.app.author.export import export_network
from trtpipe.building.canonical_models import canonical_model
from trtpipe.errors import ModelError, SpecError
from trtpipe.frontends import frontend_names
from trtpipe.workspace.workspace import open_workspace

ROOT = Path(__file__).resolve().parents[2]
warm_commands.serve_for(ROOT)
SHARED = ROOT.parent / "shared/testdata"

TEXT = """
g (float[N,2,8,8] x, float[1] k) => (float[N,3] y, float[N,3,1,1] pooled) {
  c = Conv<pads=[1,1,1,1]>(x, w, b)
  r = Relu(c)
  pooled = GlobalAveragePool(r)
  f = Flatten(pooled)
  s = Mul(f, k)
  y = Softmax<axis=1>(s)
}"""

SPEC = """\
# A small one.
schema: 1
pipeline: small
model: {source: small.onnx}  # as it came

# Only one temperature.
transform:
  bind: {k: [2.0]}

# Two precisions
variants:
  fp32: {}
  fp16: {precision: fp16, keep: {fp32: ["op:Softmax"]}}
profiles:
  - x: {min: 1x2x8x8, opt: 2x2x8x8, max: 4x2x8x8}
targets: {ada: {gpu: sm89}}  # one GPU
"""

EXPORTED = """\
# A small one.
schema: 1
pipeline: small-network
# Declared layer by layer from the model as it was imported: edit it by hand.
# What the section transform specified has already been applied to it.
model:
  parser: network
  options:
    weights: pipelines/small-network.safetensors
    inputs:
      x: {dtype: float32, shape: [N, 2, 8, 8]}
    layers:
      - {layer: convolution, name: Conv_0, outputs: [c], input: x, num_output_maps: 3, kernel_size: [3, 3], kernel: w, \
bias: b, padding: [1, 1]}
      - {layer: activation, name: Relu_0, outputs: [r], input: c, type: relu}
      - {layer: reduce, name: GlobalAveragePool_0, outputs: [pooled], input: r, op: avg, axes: [2, 3], keep_dims: true}
      - {layer: flatten, name: Flatten_0, outputs: [f], input: pooled, axis: 1}
      - {layer: elementwise, name: Mul_0, outputs: [s], op: prod, inputs: [f, [2.0]]}
      - {layer: softmax, name: Softmax_0, outputs: [y], input: s, axes: [1]}
    outputs: [y, pooled]

# Two precisions
variants:
  fp32: {}
  fp16: {precision: fp16, keep: {fp32: ["op:Softmax"]}}
profiles:
  - x: {min: 1x2x8x8, opt: 2x2x8x8, max: 4x2x8x8}
targets: {ada: {gpu: sm89}}  # one GPU
"""


@pytest.fixture
def project(tmp_path):
    rng = np.random.default_rng(0)
    proto = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17]> {TEXT}')
    for name, shape in (("w", (3, 2, 3, 3)), ("b", (3,))):
        weights = rng.standard_normal(shape).astype(np.float32)
        proto.graph.initializer.append(onnx.numpy_helper.from_array(weights, name))
    onnx.save(proto, tmp_path / "small.onnx")
    return Project(tmp_path).spec(SPEC, "small").root


def export(spec, directory=None, **options):
    return export_network(open_workspace([str(spec)]), directory, **options)


def outputs_of(spec, folder, feed):
    """What a pipeline's imported model gives."""
    workspace = open_workspace([str(spec)])
    folder.mkdir()
    path = canonical_model(workspace.pipelines[0], workspace.store, workspace.state, folder)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_outputs()]
    return dict(zip(names, session.run(names, feed), strict=True))


def test_all_but_the_model_stays_as_it_was_written(project):
    made = export(project / "pipelines/small.yaml")

    assert made.spec == project / "pipelines/small-network.yaml"
    assert made.spec.read_text() == EXPORTED
    assert made.counts["convolution"] == 1
    assert made.counts["weights"] == 57
    assert sorted(path.name for path in made.spec.parent.iterdir()) == [
        "small-network.safetensors",
        "small-network.yaml",
        "small.yaml",
    ]


def test_the_exported_network_gives_what_the_model_gave(project):
    feed = {"x": np.random.default_rng(1).standard_normal((3, 2, 8, 8)).astype(np.float32)}

    export(project / "pipelines/small.yaml")
    found = outputs_of(project / "pipelines/small-network.yaml", project / "after", feed)

    session = onnxruntime.InferenceSession(str(project / "small.onnx"), providers=["CPUExecutionProvider"])
    wanted = session.run(None, {**feed, "k": np.array([2.0], np.float32)})
    assert list(found) == ["y", "pooled"]
    for value, other in zip(wanted, found.values(), strict=True):
        np.testing.assert_allclose(other, value, atol=1e-6)


def test_exporting_again_gives_the_same_bytes(project):
    first = export(project / "pipelines/small.yaml")
    before = [first.spec.read_bytes(), first.weights.read_bytes()]

    again = export(project / "pipelines/small.yaml", force=True)

    assert [again.spec.read_bytes(), again.weights.read_bytes()] == before


def test_an_export_can_be_exported(project):
    feed = {"x": np.random.default_rng(1).standard_normal((3, 2, 8, 8)).astype(np.float32)}
    first = export(project / "pipelines/small.yaml")
    wanted = outputs_of(first.spec, project / "first", feed)

    second = export(first.spec)

    found = outputs_of(second.spec, project / "second", feed)
    for name, value in wanted.items():
        np.testing.assert_allclose(found[name], value, atol=1e-6)


def test_nothing_that_is_there_is_replaced_without_being_told(project):
    (project / "pipelines/small-network.safetensors").write_bytes(b"mine")

    with pytest.raises(SpecError, match=r"small-network.safetensors exists already"):
        export(project / "pipelines/small.yaml")

    assert (project / "pipelines/small-network.safetensors").read_bytes() == b"mine"
    assert not (project / "pipelines/small-network.yaml").exists()


def test_a_node_without_a_layer_leaves_nothing_behind(project):
    text = "g (float[4,4] x) => (float y) { y = Det(x) }"
    proto = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17]> {text}')
    onnx.save(proto, project / "small.onnx")
    (project / "pipelines/small.yaml").write_text(
        "schema: 1\npipeline: small\nmodel: {source: small.onnx}\ntargets: {ada: {gpu: sm89}}\n"
    )

    with pytest.raises(ModelError, match=r"node 'Det_0' \(Det\) has no declared layer"):
        export(project / "pipelines/small.yaml", project / "out")

    assert list((project / "out").iterdir()) == []


def test_a_spec_on_one_line_is_written_out(project):
    (project / "pipelines/small.yaml").write_text(
        "{schema: 1, pipeline: small, model: {source: small.onnx}, transform: {bind: {k: [2.0]}}, "
        "profiles: [{x: {min: 1x2x8x8, opt: 2x2x8x8, max: 4x2x8x8}}], targets: {ada: {gpu: sm89}}}\n"
    )

    made = export(project / "pipelines/small.yaml")

    assert open_workspace([str(made.spec)]).pipelines[0].spec.pipeline == "small-network"
    assert "\ntargets: {ada: {gpu: sm89}}\n" in made.spec.read_text()


def test_what_a_graft_added_is_exported_with_the_model(project):
    spec = SPEC.replace(
        "  bind: {k: [2.0]}\n",
        "  bind: {k: [2.0]}\n  graft:\n    append: [{layer: topk, name: best, input: y, op: max, k: 1, axes: [1]}]\n"
        "    outputs: [best, 'best:1']\n",
    )
    (project / "pipelines/small.yaml").write_text(spec)

    made = export(project / "pipelines/small.yaml")

    assert "graft" not in made.spec.read_text()
    feed = {"x": np.random.default_rng(1).standard_normal((3, 2, 8, 8)).astype(np.float32)}
    found = outputs_of(made.spec, project / "after", feed)
    session = onnxruntime.InferenceSession(str(project / "small.onnx"), providers=["CPUExecutionProvider"])
    wanted = session.run(["y"], {**feed, "k": np.array([2.0], np.float32)})[0]
    np.testing.assert_allclose(found["best"][:, 0], wanted.max(1), atol=1e-6)
    assert found["best:1"][:, 0].tolist() == wanted.argmax(1).tolist()


OTHERS = {
    "caffe": ("caffe/lenet_deploy.prototxt", {"weights": "caffe/lenet.caffemodel"}),
    "uff": ("uff/ppo_policy.uff", {}),
}


@pytest.mark.skipif(not SHARED.exists(), reason="not run: needs the shared test data")
@pytest.mark.parametrize("parser", OTHERS)
def test_a_model_of_another_parser_gives_the_same_when_declared(tmp_path, parser):
    if parser not in frontend_names():
        pytest.skip(f"not run: there is no parser {parser}")
    source, options = OTHERS[parser]
    written = {"source": str(SHARED / source), "parser": parser}
    written["options"] = {key: str(SHARED / one) for key, one in options.items()}
    (tmp_path / "trtpipe.yaml").write_text(f"schema: 1\nreach: [{SHARED.resolve()}]\n")
    (tmp_path / "m.yaml").write_text(
        f"schema: 1\npipeline: m\nmodel: {json.dumps(written)}\ntargets: {{ada: {{gpu: sm89}}}}\n"
    )

    made = export(tmp_path / "m.yaml")

    inputs = yaml.safe_load(made.spec.read_text())["model"]["options"]["inputs"]
    rng = np.random.default_rng(2)
    shapes = {
        name: [dim if isinstance(dim, int) and dim > 0 else 3 for dim in one["shape"]]
        for name, one in inputs.items()
    }
    feed = {name: rng.random(shape, np.float32) for name, shape in shapes.items()}
    wanted = outputs_of(tmp_path / "m.yaml", tmp_path / "before", feed)
    found = outputs_of(made.spec, tmp_path / "after", feed)
    assert list(found) == list(wanted)
    for name, value in wanted.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-5, atol=1e-6)


def trtpipe(project, *argv, **variables):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
    return warm_commands.run([*warm_commands.COMMAND, *argv], project, environment)


def test_the_command_says_what_it_wrote_and_inspect_shows_its_layers(project):
    ran = trtpipe(project, "export", "network", "pipelines/small.yaml")

    assert (ran.returncode, ran.stdout) == (0, "trtpipe build pipelines/small-network.yaml\n")
    assert ran.stderr == (
        "wrote pipelines/small-network.safetensors\nwrote pipelines/small-network.yaml\n"
        "layers: activation 1, convolution 1, elementwise 1, flatten 1, reduce 1, softmax 1; 57 weights\n"
    )
    shown = trtpipe(project, "inspect", "pipelines/small-network.yaml")
    assert shown.returncode == 0
    assert "Conv_0               convolution  c       float32  Nx3x8x8  57\n" in shown.stdout


def test_without_a_store_a_model_is_exported_all_the_same(project):
    ran = trtpipe(
        project, "export", "network", "pipelines/small.yaml", "-o", "ex", TRTPIPE_STORE="small.onnx/store"
    )

    assert (ran.returncode, ran.stdout) == (0, "trtpipe build ex/small-network.yaml\n"), ran.stderr
    assert sorted(path.name for path in (project / "ex").iterdir()) == [
        "small-network.safetensors",
        "small-network.yaml",
    ]


REAL = {
    "digits_cnn": ("accuracy/digits_cnn.onnx", ""),
    "ppocr_cls": ("onnx/real/ppocr_cls.onnx", ""),
    "mtcnn_rnet": ("onnx/real/mtcnn_rnet.onnx", ""),
    "magika": ("onnx/real/magika_v3_3.onnx", ""),
    "silero": (
        "onnx/real/silero_vad_op18_ifless.onnx",
        "transform: {bind: {sr: 16000}, set_shapes: {input: [2, 576]}}\n",
    ),
}


@pytest.mark.skipif(not SHARED.exists(), reason="not run: needs the shared test data")
@pytest.mark.parametrize(("source", "transform"), REAL.values(), ids=REAL)
def test_a_real_model_gives_its_recorded_outputs_when_declared(tmp_path, source, transform):
    (tmp_path / "model.onnx").symlink_to(SHARED / source)
    (tmp_path / "trtpipe.yaml").write_text(f"schema: 1\nreach: [{SHARED.resolve()}]\n")
    (tmp_path / "m.yaml").write_text(
        f"schema: 1\npipeline: m\nmodel: {{source: model.onnx}}\n{transform}targets: {{ada: {{gpu: sm89}}}}\n"
    )
    recorded = (SHARED / source).with_suffix(".npz")
    if recorded.exists():
        values = dict(np.load(recorded))
    else:
        values = {"in:image": np.random.default_rng(0).random((5, 1, 8, 8), np.float32)}
    feed = {name[3:]: value for name, value in values.items() if name.startswith("in:") and name != "in:sr"}
    if not recorded.exists():
        session = onnxruntime.InferenceSession(str(SHARED / source), providers=["CPUExecutionProvider"])
        values["out:logits"] = session.run(None, feed)[0]

    made = export(tmp_path / "m.yaml")

    found = outputs_of(made.spec, tmp_path / "imported", feed)
    wanted = {name[4:]: value for name, value in values.items() if name.startswith("out:")}
    assert set(found) == set(wanted)
    for name, value in wanted.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-5, atol=1e-5)


@pytest.mark.skipif(not SHARED.exists(), reason="not run: needs the shared test data")
def test_a_branch_is_refused_by_name(tmp_path):
    (tmp_path / "model.onnx").write_bytes((SHARED / REAL["silero"][0]).read_bytes())
    (tmp_path / "m.yaml").write_text(
        "schema: 1\npipeline: m\nmodel: {source: model.onnx}\ntargets: {ada: {gpu: sm89}}\n"
    )

    with pytest.raises(ModelError, match=r"node 'node_cond__1' \(If\) has no declared layer"):
        export(tmp_path / "m.yaml")
