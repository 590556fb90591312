"""A pipeline's model described: imported ones by their operators, declared ones layer by layer."""

from __future__ import annotations

import json

import pytest

from trtpipe.app.look.inspect import describe_spec
from trtpipe.errors import SpecError
from trtpipe.inspection.file_kind import kind_of_file

NETWORK = """\
schema: 1
pipeline: tiny
model:
  parser: network
  options:
    inputs: {x: {dtype: float32, shape: [batch, 4]}}
    layers:
      - {layer: topk, name: best, op: max, k: 2, axes: [1]}
      - {layer: activation, name: y, type: relu}
    outputs: [y, "best:1"]
targets: {ada: {gpu: sm89}}
"""


@pytest.fixture
def spec(tmp_path):
    path = tmp_path / "tiny.yaml"
    path.write_text(NETWORK)
    return path


def test_a_declared_network_is_shown_layer_by_layer(spec):
    record = json.loads(json.dumps(describe_spec(str(spec)).to_json()))

    assert (record["format"], record["pipeline"], record["parser"]) == ("pipeline", "tiny", "network")
    shown = [{key: one[key] for key in ("name", "layer", "outputs")} for one in record["layers"]]
    assert shown == [
        {
            "name": "best",
            "layer": "topk",
            "outputs": [
                {"name": "best", "dtype": "float32", "dims": ["batch", 2]},
                {"name": "best:1", "dtype": "int32", "dims": ["batch", 2]},
            ],
        },
        {
            "name": "y",
            "layer": "activation",
            "outputs": [{"name": "y", "dtype": "float32", "dims": ["batch", 2]}],
        },
    ]
    assert record["layers"][1]["parameters"] == 0
    assert [one["name"] for one in record["summary"]["outputs"]] == ["y", "best:1"]
    assert record["dynamic"] == ["x"]


def test_a_layer_that_does_not_fit_is_told_at_its_line(spec):
    spec.write_text(NETWORK.replace("axes: [1]", "axes: [3]"))

    with pytest.raises(SpecError) as caught:
        describe_spec(str(spec))

    (problem,) = caught.value.problems
    assert problem.where is not None
    assert problem.where.line == 8
    assert "'best'" in problem.fact


KINDS = {
    "pipeline": b"# a comment\n---\npipeline: x\n",
    "engine": b"vtrt and more",
    "model": b"\x08\x08\x12\x00 schema: 1",
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_is_told_by_its_content(tmp_path, kind):
    (tmp_path / "file").write_bytes(KINDS[kind])

    assert kind_of_file(tmp_path / "file") == kind
