"""Layers before an input and behind tensors of a parsed model: the model between them stays what it was."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from tests.layers.declared_networks import run
from tests.projects import Project
from trtpipe.errors import ModelError
from trtpipe.plan.options import TransformOptions
from trtpipe.spec.network.network import GraftSpec
from trtpipe.stages.transforms import transform_model

MODEL = Path(__file__).resolve().parents[2] / "pipelines" / "models" / "digits_cnn.onnx"
PIXELS = np.random.default_rng(5).integers(0, 255, (3, 8, 8, 1)).astype(np.uint8)
IMAGE = ((PIXELS.astype(np.float32) / 16 - 0.5) * 2).transpose(0, 3, 1, 2)
PREPEND = {
    "image": {
        "name": "pixels",
        "dtype": "uint8",
        "shape": ["batch", 8, 8, 1],
        "layers": [
            {"layer": "cast", "name": "floats", "to_type": "float32"},
            {"layer": "shuffle", "name": "planes", "first_transpose": [0, 3, 1, 2]},
            {"layer": "scale", "name": "scaled", "mode": "uniform", "scale": 0.125, "shift": -1.0},
        ],
    }
}
BEST = {"layer": "topk", "name": "best", "op": "max", "k": 2, "axes": [1], "outputs": ["scores", "classes"]}


def grafted(
    folder: Path, files: dict[str, Path] | None = None, *, source: Path = MODEL, **graft: Any
) -> Path:
    options = {"graft": GraftSpec.model_validate(graft).model_dump(mode="json")}
    options |= {name: graft.pop(name) for name in ("bind",) if name in graft}
    asked = TransformOptions.from_record(options)
    transform_model(source, folder / "grafted.onnx", asked, files or {}, folder)
    return folder / "grafted.onnx"


def expected(image: np.ndarray = IMAGE) -> np.ndarray:
    return run(MODEL, {"image": image})[0]


def outputs_of(path: Path) -> list[str]:
    return [value.name for value in onnx.load(path).graph.output]


def test_layers_before_an_input_take_its_place(tmp_path):
    model = grafted(tmp_path, prepend=PREPEND)

    np.testing.assert_allclose(run(model, {"pixels": PIXELS})[0], expected(), rtol=1e-5, atol=1e-5)
    (value,) = onnx.load(model).graph.input
    assert value.name == "pixels"
    assert [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim] == ["batch", 8, 8, 1]


def test_the_new_input_may_be_called_as_the_old_one(tmp_path):
    prepend = {"image": {key: value for key, value in PREPEND["image"].items() if key != "name"}}

    model = grafted(tmp_path, prepend=prepend)

    np.testing.assert_allclose(run(model, {"image": PIXELS})[0], expected(), rtol=1e-5, atol=1e-5)


def test_layers_behind_read_the_models_tensors_and_become_its_outputs(tmp_path):
    model = grafted(tmp_path, append=[BEST], outputs=["logits", "classes"])

    logits, classes = run(model, {"image": IMAGE})
    np.testing.assert_allclose(logits, expected(), rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(classes, np.argsort(-expected(), 1)[:, :2])
    assert outputs_of(model) == ["logits", "classes"]


def test_tensors_within_the_model_can_be_read_and_outputs_named(tmp_path):
    pool = {"layer": "reduce", "name": "mean", "input": "/Relu_2_output_0", "op": "avg", "axes": [2, 3]}

    model = grafted(tmp_path, append=[pool], outputs={"features": "mean"})

    assert outputs_of(model) == ["features"]
    assert run(model, {"image": IMAGE})[0].shape == (3, 32)
    assert "Gemm" not in {node.op_type for node in onnx.load(model).graph.node}


def test_both_ends_at_once_with_weights_of_their_own(tmp_path):
    weights = np.random.default_rng(6).normal(size=(2, 10)).astype(np.float32)
    np.savez(tmp_path / "head.npz", w=weights)
    head = {"layer": "fully_connected", "name": "two", "num_outputs": 2, "kernel": "w"}

    model = grafted(
        tmp_path,
        {"weights": tmp_path / "head.npz"},
        weights="head.npz",
        prepend=PREPEND,
        append=[head],
        outputs=["two"],
    )

    found = run(model, {"pixels": PIXELS})[0]
    np.testing.assert_allclose(found, expected() @ weights.T, rtol=1e-4, atol=1e-4)


def test_the_opset_is_raised_to_what_the_layers_need(tmp_path):
    gelu = {"layer": "activation", "name": "gelu", "type": "gelu_erf"}

    model = grafted(tmp_path, append=[gelu], outputs=["gelu"])

    assert onnx.load(model).opset_import[0].version >= 20
    assert run(model, {"image": IMAGE})[0].shape == (3, 10)


def test_the_same_graft_gives_the_same_bytes(tmp_path):
    made = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        made.append(
            grafted(
                tmp_path / name, prepend=PREPEND, append=[BEST], outputs=["scores", "classes"]
            ).read_bytes()
        )

    assert made[0] == made[1]


WRONG = {
    "an input that is not there": (
        {"prepend": {"imgae": PREPEND["image"]}},
        "the model has no input 'imgae' to insert layers before",
        ("prepend", "imgae"),
    ),
    "another shape": (
        {"prepend": {"image": {"shape": [-1, 3, 8, 8], "layers": [{"layer": "identity", "name": "same"}]}}},
        "the layers before 'image' yield float32 [image_0, 3, 8, 8], but the model reads float32 [batch, 1, 8, 8]",
        ("prepend", "image", "layers"),
    ),
    "another type": (
        {"prepend": {"image": {"shape": [1, 1, 8, 8], "layers": [
            {"layer": "cast", "name": "whole", "to_type": "int32"}]}}},
        "the layers before 'image' yield int32 [1, 1, 8, 8], but the model reads float32 [batch, 1, 8, 8]",
        ("prepend", "image", "layers"),
    ),
    "a tensor that is not there": (
        {"append": [{"layer": "identity", "name": "y", "input": "logit"}], "outputs": ["y"]},
        "layer 'y' (identity) reads 'logit', which no layer before it yields",
        ("append", 0, "input"),
    ),
    "a name that the model has": (
        {"append": [{"layer": "identity", "name": "logits"}], "outputs": ["logits"]},
        "there are two tensors 'logits': layer 'logits' (identity) yields the second",
        ("append", 0, "name"),
    ),
    "a name before that the model has": (
        {"prepend": {"image": {"shape": [1, 1, 8, 8], "layers": [{"layer": "identity", "name": "logits"}]}}},
        "layer 'logits' (identity) yields 'logits', which the model has too",
        ("prepend", "image", "layers"),
    ),
    "an output that is not there": (
        {"append": [BEST], "outputs": ["class"]},
        "output 'class' is not a tensor of the model",
        ("outputs", 0),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("graft", "fact", "path"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_said_at_its_place(graft, fact, path, tmp_path):
    with pytest.raises(ModelError) as caught:
        grafted(tmp_path, **graft)

    (problem,) = caught.value.problems
    assert problem.fact == fact
    assert problem.path == ("transform", "graft", *path)


def test_weights_that_no_layer_uses_are_an_error(tmp_path):
    np.savez(tmp_path / "w.npz", a=np.zeros(3))

    with pytest.raises(ModelError, match="no layer uses the weights 'a'"):
        grafted(
            tmp_path, {"weights": tmp_path / "w.npz"}, weights="w.npz", append=[BEST], outputs=["classes"]
        )


SPEC = """\
schema: 1
pipeline: digits
model: {source: digits.onnx}
transform:
  graft:
    weights: head.npz
    prepend:
      image:
        name: pixels
        dtype: uint8
        shape: [batch, 8, 8, 1]
        layers:
          - {layer: cast, name: floats, to_type: float32}
          - {layer: shuffle, name: planes, first_transpose: [0, 3, 1, 2]}
    append:
      - {layer: fully_connected, name: two, num_outputs: 2, kernel: w}
    outputs: [logits, two]
variants: {fp32: {}, fp16: {precision: fp16}}
profiles: [{pixels: {min: 1x8x8x1, opt: 2x8x8x1, max: 4x8x8x1}}]
targets: {ada: {gpu: sm89}}
validate:
  random: {seed: 0, samples: 4}
  thresholds: [{output: "*", metric: cosine, min: 0.999}]
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TRTPIPE_STORE", raising=False)
    shutil.copy(MODEL, tmp_path / "digits.onnx")
    write_head(tmp_path, 1)
    return Project(tmp_path).spec(SPEC, "digits").root


def write_head(folder: Path, seed: int) -> None:
    np.savez(folder / "head.npz", w=np.random.default_rng(seed).normal(size=(2, 10)).astype(np.float32))


def test_check_proves_a_grafted_model_by_its_new_inputs(project):
    from trtpipe.checks.check import check_specs

    good = check_specs([], [])
    spec = project / "pipelines" / "digits.yaml"
    spec.write_text(
        SPEC.replace("pixels: {min", "image: {min").replace("outputs: [logits, two]", "outputs: [tow]")
    )
    bad = check_specs([], [])

    assert good.problems == []
    assert [str(problem).splitlines()[0] for problem in bad.problems] == [
        "pipelines/digits.yaml:17:15: output 'tow' is not a tensor of the model"
    ]


@pytest.mark.slow
@pytest.mark.engine
def test_a_grafted_pipeline_is_built_and_follows_its_weights(project):
    assert build(project).startswith("built 2 engines")
    report = (project / "build" / "digits" / "fp16@ada" / "summary.md").read_text()
    assert "| `pixels` | input | uint8 | ?x8x8x1 |" in report
    assert "| profile 0 at max | `two` | cosine |" in report
    assert build(project) == "nothing to do\n"

    write_head(project, 2)

    assert build(project).startswith("built 2 engines")


def build(project: Path) -> str:
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-m", "trtpipe", "build"], cwd=project, env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout
