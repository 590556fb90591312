"""Operators that tf2onnx leaves as TensorFlow calls them are written out: what TensorFlow's kernels compute."""

from __future__ import annotations

import math
from importlib.util import find_spec

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.canonical.onnx_text import canonical, run
from tests.canonical.rtx_child import refusals
from trtpipe.canonical.evaluation import Evaluator
from trtpipe.legalization.rewrites import rewrite_as_imported
from trtpipe.proofs.rtx_operators import operator_refusals

X = np.float32([[0, -0.5, 1e-6, 2], [3, 0, -1e-4, 0.25]])
Y = np.float32([[0, 1.5, 2, 0], [1e-3, 4, 0.5, 7]])
L3 = np.float32([[1, 2, 3], [-1, 0.5, 2]])
R3 = np.float32([[0.5, -2, 1], [3, 1, -1]])


def apart(x, y, where, value):
    return np.where(where == 0, np.float32(0), value)


with np.errstate(all="ignore"):
    CASES = {
        "Erfc": ([X], np.vectorize(math.erfc)(X)),
        "Expm1": ([X], np.expm1(X)),
        "Log1p": ([X], np.log1p(X)),
        "Inv": ([Y + 1], 1 / (Y + 1)),
        "L2Loss": ([X], (X * X).sum() / 2),
        "Xlogy": ([X, Y], apart(X, Y, X, X * np.log(Y))),
        "Xdivy": ([X, Y], apart(X, Y, X, X / Y)),
        "Xlog1py": ([X, Y], apart(X, Y, X, X * np.log1p(Y))),
        "MulNoNan": ([X * np.inf, Y], apart(X, Y, Y, (X * np.inf) * Y)),
        "DivNoNan": ([X, Y], apart(X, Y, Y, X / Y)),
        "TruncateMod": ([X * 7, Y + 1], np.fmod(X * 7, Y + 1)),
        "Cross": ([L3, R3], np.cross(L3, R3)),
        "ApproximateEqual": ([X, X + np.float32(1e-5) * Y], np.abs(np.float32(1e-5) * Y) < 1e-5),
    }
"""Operator → its inputs, and what comes of them."""


@pytest.fixture(scope="module")
def evaluator(tmp_path_factory):
    with Evaluator(tmp_path_factory.mktemp("evaluator")) as made:
        yield made


def model(operator, inputs, constants=(), **attributes):
    names = [f"x{at}" for at in range(len(inputs))]
    read = [*names, *(name for name, _ in constants)]
    kind = TensorProto.BOOL if operator == "ApproximateEqual" else TensorProto.FLOAT
    graph = helper.make_graph(
        [helper.make_node(operator, read, ["y"], "own", **attributes)],
        "g",
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", *one.shape[1:]])
            for name, one in zip(names, inputs, strict=True)
        ],
        [helper.make_tensor_value_info("y", kind, None)],
        [numpy_helper.from_array(value, name) for name, value in constants],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("operator", CASES)
def test_an_operator_of_tensorflow_is_written_out(evaluator, operator):
    inputs, expected = CASES[operator]
    made = model(operator, inputs)
    result, _ = canonical(made, evaluator)
    (found,) = run(result, {f"x{at}": one for at, one in enumerate(inputs)})
    if operator == "ApproximateEqual":
        assert (found == expected).all()
    else:
        np.testing.assert_allclose(
            found, expected, rtol=2e-5, atol=1e-9 if operator in ("Expm1", "Log1p") else 1e-6
        )
    rewrite_as_imported(made)
    assert operator_refusals(made.graph.node, "1.7") == []


@pytest.mark.parametrize("keep", [0, 1])
def test_a_euclidean_norm_over_constant_axes(evaluator, keep):
    made = model("EuclideanNorm", [X], [("axes", np.int32([-1]))], keep_dims=keep)
    (found,) = run(canonical(made, evaluator)[0], {"x0": X})
    np.testing.assert_allclose(found, np.sqrt((X * X).sum(-1, keepdims=bool(keep))), rtol=1e-6)


def test_what_has_no_equal_is_told_by_name(evaluator):
    made = model("Lgamma", [Y])
    rewrite_as_imported(made)
    (problem,) = operator_refusals(made.graph.node, "1.7")
    assert (
        problem.fact
        == "TensorRT-RTX does not build Lgamma: a custom operator, and it takes no plugins ('own')"
    )


@pytest.mark.engine
@pytest.mark.skipif(find_spec("tensorrt_rtx") is None, reason="needs TensorRT-RTX")
def test_tensorrt_takes_what_is_written_out(evaluator, tmp_path):
    made: dict[str, onnx.ModelProto] = {
        operator: canonical(model(operator, inputs), evaluator)[0] for operator, (inputs, _) in CASES.items()
    }
    assert refusals(made, tmp_path, {"Erfc", "Xlog1py"}) == {}
