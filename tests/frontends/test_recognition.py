"""What is said of a file that no parser recognises, and of a parser whose options say too little by themselves."""

from __future__ import annotations

import pytest

from tests.frontends.caffe_files import net
from trtpipe.app.author.proposal import recognise
from trtpipe.app.look.models import describe_any_model
from trtpipe.errors import ModelError, SpecError
from trtpipe.frontends.caffe import CaffeFrontend, CaffeOptions
from trtpipe.frontends.recognition import propose
from trtpipe.inspection.inspect_model import Asked
from trtpipe.loader.project import find_project
from trtpipe.problem_codes import Code
from trtpipe.spec.fields import ProjectFile


class Required(CaffeOptions):
    """Options of which two are required."""

    weights: ProjectFile
    lowering: ProjectFile


@pytest.fixture
def prototxt(tmp_path, monkeypatch):
    monkeypatch.setattr(CaffeFrontend, "Options", Required)
    (tmp_path / "trtpipe.yaml").write_text("schema: 1\n")
    path = tmp_path / "net.prototxt"
    path.write_text(net('layer { name: "s" type: "Sigmoid" bottom: "a" top: "y" }', (1, 3)))
    return path


@pytest.mark.parametrize("command", ["init", "inspect"])
def test_options_that_are_required_are_told_with_how_to_give_them(command, prototxt):
    with pytest.raises(SpecError) as caught:
        if command == "init":
            recognise(prototxt, find_project(prototxt.parent))
        else:
            describe_any_model(prototxt, Asked())

    assert [(one.code, one.fact, one.remedy) for one in caught.value.problems] == [
        (
            Code.PARSER_OPTIONS,
            "the parser 'caffe' needs model.options.weights, a file",
            "name the file with --with FILE",
        ),
        (
            Code.PARSER_OPTIONS,
            "the parser 'caffe' needs model.options.lowering, which only a spec can give",
            "",
        ),
    ]


@pytest.mark.parametrize(
    ("name", "fact"),
    [
        ("net.weights", "no parser recognises '{}'"),
        ("net.onnx", "'{}' is not an ONNX model, or is truncated: not a protobuf field at byte 0"),
    ],
)
def test_a_file_is_told_to_be_a_damaged_model_if_it_is_named_like_one(name, fact, tmp_path):
    path = tmp_path / name
    path.write_bytes(bytes(99))

    with pytest.raises(ModelError) as caught:
        propose(path)

    (problem,) = caught.value.problems
    assert problem.fact == fact.format(path)
