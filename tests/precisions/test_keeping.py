"""What globs of `keep` name: nodes, operators, makers of tensors, and what lies between tensors."""

from __future__ import annotations

import pytest

from tests.precisions.precision_graphs import model_of
from trtpipe.precisions.casts.kept_nodes import glob_of, kept_by

TEXT = """g (float[1,4] x, float[1,4] z) => (float[1,4] y) {
    a = Exp(x)  b = Sin(a)  c = Cos(a)  d = Add(b, c)  e = Mul(d, z)  y = Relu(e) }"""
NAMES = ("/head/a", "/head/b", "/head/deep/c", "/tail/d", "/tail/e", "odd[0]")


def named_model():
    model = model_of(TEXT)
    for node, name in zip(model.graph, NAMES, strict=True):
        node.name = name
    return model


def held(*globs: str, **more: list[str]):
    found, problems = kept_by(named_model(), {"fp32": list(globs), **more}, ("keep",))
    assert not problems, problems
    return {name: dtype for name, (dtype, _) in found.items()}


@pytest.mark.parametrize(
    ("glob", "names"),
    [
        ("/head/*", {"/head/a", "/head/b", "/head/deep/c"}),
        ("/head/**", {"/head/a", "/head/b", "/head/deep/c"}),
        ("/head/?", {"/head/a", "/head/b"}),
        ("/tail/e", {"/tail/e"}),
        ("odd[0]", {"odd[0]"}),
        ("op:Sin", {"/head/b"}),
        ("op:[SC]*", {"/head/b", "/head/deep/c"}),
        ("tensor:d", {"/tail/d"}),
        ("tensor:?", {"/head/a", "/head/b", "/head/deep/c", "/tail/d", "/tail/e", "odd[0]"}),
        ("between:a..d", {"/head/b", "/head/deep/c", "/tail/d"}),
        ("between:x..b", {"/head/a", "/head/b"}),
        ("between:z..y", {"/tail/e", "odd[0]"}),
        ("between:[bc]..e", {"/tail/d", "/tail/e"}),
    ],
)
def test_a_glob_names_these_nodes_and_no_others(glob, names):
    assert set(held(glob)) == names


def test_the_widest_type_wins_whatever_the_order():
    assert held("/head/a", fp16=["*"])["/head/a"] == "float32"
    assert held("/head/a", fp16=["*"])["/tail/d"] == "float16"


@pytest.mark.parametrize("name", ["odd[0]", "a*b", "what?"])
def test_the_glob_of_a_name_matches_that_name_alone(name):
    from fnmatch import fnmatchcase

    assert fnmatchcase(name, glob_of(name))
    assert not fnmatchcase("odd0", glob_of(name))


@pytest.mark.parametrize(
    ("glob", "fact", "remedy"),
    [
        ("/haed/a", "no node of the model matches '/haed/a'", "'/head/a'"),
        ("op:Softmax", "no node of the model has operator 'Softmax'", "the operators are 'Add', 'Cos'"),
        ("tensor:x", "no node of the model makes a tensor 'x'", "the tensors are 'a', 'b'"),
        ("between:a..q", "no tensor of the model matches 'q'", "the tensors are"),
        ("between:a", "'between:a' does not name two tensors", "between:FIRST..LAST"),
        ("between:y..a", "no path leads from tensor 'y' to tensor 'a'", "computed first"),
    ],
)
def test_a_glob_that_matches_nothing_is_an_error_with_what_there_is(glob, fact, remedy):
    _, (problem,) = kept_by(named_model(), {"fp32": [glob]}, ("keep",))

    assert problem.fact == fact
    assert remedy in problem.remedy
    assert problem.path == ("keep", "fp32", 0)


def test_a_path_through_a_branch_takes_the_branch_and_what_is_around_it():
    model = model_of(
        """g (float[4] x, bool on) => (float[4] y) {
            [first] a = Exp(x)
            [choose] b = If(on) <
                then_branch = t () => (float[4] p) { [inside] p = Sin(a) },
                else_branch = f () => (float[4] q) { [other] q = Identity(a) }
            >
            [last] y = Relu(b) }"""
    )

    found, _ = kept_by(model, {"fp32": ["between:a..y"]}, ())

    assert set(found) == {"choose", "inside", "other", "last"}
