"""A net of Caffe from its files to an engine, by the command itself."""

from __future__ import annotations

import shutil

import pytest
import yaml

from tests.projects import ROOT

SPEC = """\
schema: 1
pipeline: digits
model:
  source: models/digits.prototxt
  parser: caffe
  options: {weights: models/digits.caffemodel, batch: dynamic}
profiles:
  - image: {min: 1x1x8x8, opt: 8x1x8x8, max: 16x1x8x8}
targets:
  ada: {gpu: sm89}
"""
LOWERING = (
    'LAYERS = {"Rectify": lambda layer: layer.node("Relu", layer.inputs).shaped(layer.inputs[0].dims)}\n'
)


@pytest.fixture
def caffe(project):
    for name in ("digits.prototxt", "digits.caffemodel"):
        shutil.copy(ROOT / "pipelines" / "models" / name, project.root / "models" / name)
    project.write("pipelines/digits.yaml", SPEC)
    return project


def test_a_first_spec_of_a_caffemodel_builds_as_it_is(caffe):
    (caffe.root / "pipelines" / "digits.yaml").unlink()

    wrote = caffe.run("init", "models/digits.caffemodel")
    built = caffe.run("build", "--only", "*@sm89")

    assert (wrote.code, wrote.out) == (0, "trtpipe build pipelines/digits.yaml\n")
    assert built.code == 0, built.err
    assert built.out.startswith("built 2 engines in ")


def test_a_first_spec_takes_the_weights_that_it_is_told(caffe):
    (caffe.root / "pipelines" / "digits.yaml").unlink()
    weights = caffe.root / "weights" / "trained.bin"
    weights.parent.mkdir()
    (caffe.root / "models" / "digits.caffemodel").rename(weights)

    wrote = caffe.run("init", "models/digits.prototxt", "--with", "weights/trained.bin", "--stdout")

    assert wrote.code == 0, wrote.err
    assert yaml.safe_load(wrote.out)["model"]["options"] == {"weights": "weights/trained.bin"}
    assert "no problem was found" in wrote.out


def test_what_is_wrong_in_the_prototxt_is_told_at_its_line(caffe):
    caffe.edit("models/digits.prototxt", "num_output: 10 ", "num_output: 11 ")

    for command in ("build", "check"):
        ran = caffe.run(command)

        assert ran.code == 2
        assert (
            "models/digits.prototxt:47:7: layer 'logits' (InnerProduct): its weights must be 11x128, and is 10x128 "
            "in models/digits.caffemodel"
        ) in ran.out + ran.err


@pytest.mark.slow
def test_a_projects_own_lowering_is_part_of_what_a_model_depends_on(caffe):
    caffe.edit("models/digits.prototxt", 'type: "ReLU" bottom: "conv1"', 'type: "Rectify" bottom: "conv1"')
    caffe.edit("pipelines/digits.yaml", "batch: dynamic", "batch: dynamic, lowering: my_layers.py")
    caffe.write("my_layers.py", LOWERING)
    first = caffe.run("build", "--json")
    again = caffe.run("build", "--json")

    caffe.write("my_layers.py", LOWERING.replace('"Relu"', '"Abs"'))
    changed = caffe.run("build", "--json")

    assert first.code == 0, first.err
    assert again.ran == []
    assert sorted(one.rpartition(":")[2] for one in changed.ran) == ["build_engine", "parse", "quantize"]
