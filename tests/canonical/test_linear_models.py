"""Operators of scikit-learn's converter that are linear algebra are written out: equal to ONNX Runtime's results."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper

from tests.canonical.onnx_text import canonical
from tests.canonical.rtx_child import refusals
from trtpipe.canonical.evaluation import Evaluator
from trtpipe.legalization.rewrites import rewrite_as_imported
from trtpipe.proofs.rtx_operators import operator_refusals

ML = "ai.onnx.ml"
FLOAT, INT64, INT32 = TensorProto.FLOAT, TensorProto.INT64, TensorProto.INT32
ROWS = np.float32([[1, -2, 3, 0], [0, 0, 0, 0], [-4, 0.5, -0.5, 4]])
ONE_EACH = {"offset": [1.0, 0.5, -1.0, 0.0], "scale": [2.0, 0.5, 1.0, -1.0]}
LINES = {"coefficients": [0.5, -1.0, 0.25, 2.0, 1.0, 0.0, -0.5, 0.1, 0.3, 0.3, 0.3, 0.3]}


def model(
    operator: str, outputs: int = 1, kind: int = FLOAT, more: Any = (), labels: int = INT64, **given: Any
) -> onnx.ModelProto:
    """One node behind an input `x` of four columns."""
    names, kinds = ["y", "z"][:outputs], [FLOAT] if outputs == 1 else [labels, FLOAT]
    node = helper.make_node(operator, ["x", *(name for name, _ in more)], names, "own", domain=ML, **given)
    constants = [onnx.numpy_helper.from_array(value, name) for name, value in more]
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("x", kind, ["n", 4])],
        [helper.make_tensor_value_info(name, kind, None) for name, kind in zip(names, kinds, strict=True)],
        constants,
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid(ML, 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


MODELS = {
    "Scaler": model("Scaler", **ONE_EACH),
    "Scaler, one for all": model("Scaler", offset=[1.5], scale=[0.25]),
    "Scaler of int64": model("Scaler", kind=INT64, **ONE_EACH),
    "Imputer of 0": model("Imputer", imputed_value_floats=[7.0, 8.0, 9.0, 10.0]),
    "Imputer of NaN": model("Imputer", imputed_value_floats=[7.0], replaced_value_float=float("nan")),
    "Binarizer": model("Binarizer", threshold=0.25),
    **{f"Normalizer {norm}": model("Normalizer", norm=norm) for norm in ("MAX", "L1", "L2")},
    "LinearRegressor": model("LinearRegressor", targets=3, intercepts=[0.1, 0.2, 0.3], **LINES),
    "LinearRegressor, no intercepts": model("LinearRegressor", targets=1, coefficients=[1.0, 2.0, 3.0, 4.0]),
    **{
        f"LinearClassifier, {transform}": model(
            "LinearClassifier",
            2,
            classlabels_ints=[3, 5, 9],
            intercepts=[0.1, 0.2, 0.3],
            post_transform=transform,
            **LINES,
        )
        for transform in ("NONE", "LOGISTIC", "SOFTMAX")
    },
    "ArrayFeatureExtractor": model("ArrayFeatureExtractor", more=[("i", np.int64([[2, 0]]))]),
    "OneHotEncoder": model("OneHotEncoder", kind=INT64, cats_int64s=[0, 3, 1], zeros=1),
}


@pytest.fixture(scope="module")
def evaluator(tmp_path_factory):
    with Evaluator(tmp_path_factory.mktemp("evaluator")) as made:
        yield made


def run(proto: onnx.ModelProto, x: np.ndarray) -> list[np.ndarray]:
    return list(ort.InferenceSession(proto.SerializeToString()).run(None, {"x": x}))


@pytest.mark.parametrize("name", MODELS)
def test_it_is_written_out_as_equal_standard_operators(evaluator, name):
    proto = MODELS[name]
    x = ROWS.astype(helper.tensor_dtype_to_np_dtype(proto.graph.input[0].type.tensor_type.elem_type))
    if "NaN" in name:
        x[0, 1] = np.nan

    result, _ = canonical(proto, evaluator)

    assert {node.domain for node in result.graph.node} == {""}
    assert "own" in {node.name for node in result.graph.node}
    for ours, theirs in zip(run(result, x), run(proto, x), strict=True):
        assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)
    read = onnx.ModelProto.FromString(proto.SerializeToString())
    rewrite_as_imported(read)
    assert operator_refusals(read.graph.node, "1.7") == [], "check refuses what the import writes out"


@pytest.mark.parametrize(
    "left",
    [
        model("LinearClassifier", 2, labels=TensorProto.STRING, classlabels_strings=["a", "b"], intercepts=[0.1, 0.2],
              coefficients=[1.0] * 8),
        model("LinearClassifier", 2, classlabels_ints=[0, 1], intercepts=[0.1], coefficients=[1.0] * 4),
        model("LinearRegressor", targets=1, coefficients=[1.0] * 4, post_transform="PROBIT"),
        model("Scaler", kind=TensorProto.DOUBLE, **ONE_EACH),
    ],
    ids=["strings", "one score for two classes", "probit", "double"],
)  # fmt: skip
def test_what_is_no_linear_algebra_of_floats_stays(left):
    rewrite_as_imported(left)
    assert [node.domain for node in left.graph.node] == [ML]
    assert operator_refusals(left.graph.node, "1.7") != []


@pytest.mark.skipif(find_spec("tensorrt_rtx") is None, reason="needs TensorRT-RTX")
@pytest.mark.engine
def test_tensorrt_takes_what_is_written_out(tmp_path, evaluator):
    models = {name: canonical(proto, evaluator)[0] for name, proto in MODELS.items()}
    assert refusals(models, tmp_path, {"Scaler"}) == {}
