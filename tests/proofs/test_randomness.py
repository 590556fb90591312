"""Outputs that depend on random numbers: found through branches and bodies, and no others."""

from __future__ import annotations

import onnx
import pytest

from trtpipe.proofs.model import prove_model
from trtpipe.proofs.randomness import drawn_outputs

HEADER = '<ir_version: 9, opset_import: ["" : 17, "local" : 1]>'


def parsed(text: str, functions: str = "") -> onnx.ModelProto:
    return onnx.parser.parse_model(f"{HEADER}\n{text}\n{functions}")


DRAWN = {
    "noise": "g (float[N] x) => (y) { r = RandomNormalLike(x)  y = Add(x, r) }",
    "uniform": "g (float[N] x) => (y) { r = RandomUniform<shape=[1]>()  y = Add(x, r) }",
    "draw": "g (float[N] x) => (y) { y = Bernoulli(x) }",
    "choice": "g (float[N,2] x) => (y) { y = Multinomial(x) }",
    "dropout": "g (float[N] x) => (y) <bool t = {1}, float h = {0.5}> { y = Dropout(x, h, t) }",
    "in a branch": "g (float[1] x, bool c) => (y) { y = If (c) <then_branch = a () => (float[1] p) "
    "{ p = RandomNormalLike(x) }, else_branch = b () => (float[1] q) { q = Identity(x) }> }",
    "read in a branch": "g (float[1] x, bool c) => (y) { r = RandomNormalLike(x)  y = If (c) <then_branch = "
    "a () => (float[1] p) { p = Identity(r) }, else_branch = b () => (float[1] q) { q = Identity(x) }> }",
}


@pytest.mark.parametrize("what", DRAWN)
def test_what_depends_on_random_numbers_is_found(what):
    assert list(drawn_outputs(parsed(DRAWN[what]))) == ["y"]


SETTLED = {
    "nothing random": "g (float[N] x) => (y) { y = Exp(x) }",
    "only its shape": "g (float[N] x) => (y) { r = RandomNormalLike(x)  y = Shape(r) }",
    "dropout at rest": "g (float[N] x) => (y) { y = Dropout(x) }",
}


@pytest.mark.parametrize("what", SETTLED)
def test_what_does_not_depend_on_them_is_not(what):
    assert drawn_outputs(parsed(SETTLED[what])) == {}


def test_check_warns_with_node_and_output_and_leaves_the_rest():
    proto = parsed("g (float[2] x) => (y, z) { r = RandomNormalLike(x)  y = Add(x, r)  z = Neg(x) }")
    proto.graph.node[0].name = "noise"

    (problem,) = prove_model(proto, ())

    assert problem.severity == "warning"
    assert problem.fact == (
        "node 'noise' (RandomNormalLike) draws random numbers, so output 'y' cannot be validated"
    )


def test_numbers_that_are_given_are_no_problem():
    assert prove_model(parsed("g (float[2] x, float[2] r) => (y) { y = Add(x, r) }"), ()) == []


def test_functions_of_the_model_are_looked_into():
    function = '<opset_import: ["" : 17], domain: "local"> f (a) => (b) { b = RandomNormalLike(a) }'
    assert list(drawn_outputs(parsed("g (float[2] x) => (y) { y = local.f(x) }", function))) == ["y"]
