"""NaN and infinities in constants: what is broken is an error, what may be meant a warning, a mask nothing."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from trtpipe.canonical.reader import read_skeleton
from trtpipe.proofs.model import view_model
from trtpipe.proofs.nonfinite_weights import prove_weights
from trtpipe.spec.pipeline import TransformSpec

NAN, INF = np.float32("nan"), np.float32("inf")


def model(nodes: list[Any], **constants: Any) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])],
        [helper.make_tensor_value_info(nodes[-1].output[0], TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])


def node(operator: str, inputs: str, output: str, **attributes: Any) -> Any:
    return helper.make_node(operator, inputs.split(), [output], name=f"the_{operator}", **attributes)


def weights(*broken: float, shape: tuple[int, int] = (4, 3)) -> Any:
    values = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    values.reshape(-1)[1 : 1 + len(broken)] = broken
    return values


def said(proto: onnx.ModelProto) -> list[tuple[str, str]]:
    return [(one.severity, one.fact) for one in prove_weights(proto)]


def test_nan_in_a_weight_is_named_with_the_node_that_reads_it():
    proto = model([node("MatMul", "x w", "y")], w=weights(NAN, NAN))
    fact = "constant 'w' (4x3), which node 'the_MatMul' (MatMul) reads, holds 2 NaN among 12 values"
    assert said(proto) == [("error", fact)]


def test_an_infinite_weight_is_an_error_where_it_is_summed():
    proto = model([node("MatMul", "x w", "y")], w=weights(INF))
    ((severity, fact),) = said(proto)
    assert severity == "error"
    assert "holds 1 infinity among 12 values" in fact


def test_the_reader_is_told_behind_what_passes_a_weight_on():
    proto = model([node("Transpose", "w", "t"), node("MatMul", "x t", "y")], w=weights(NAN, shape=(3, 4)))
    assert "which node 'the_MatMul' (MatMul) reads" in said(proto)[0][1]


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_other_float_types_are_looked_at(dtype):
    w = weights(NAN).astype(dtype)
    to = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    assert said(model([node("Cast", "x", "c", to=to), node("MatMul", "c w", "y")], w=w))[0][0] == "error"


@pytest.mark.parametrize("mask", [np.float32("-inf"), np.array([0, -INF, 0, -INF]), np.full(4, -INF)])
def test_a_mask_of_infinities_is_no_problem(mask):
    assert said(model([node("Add", "x m", "y")], m=np.float32(mask))) == []


def test_infinities_among_various_numbers_are_a_warning():
    proto = model([node("Mul", "x m", "y")], m=np.array([1, 2, 3, INF], np.float32))
    assert [severity for severity, _ in said(proto)] == ["warning"]


def test_a_nan_that_fills_is_a_warning_and_one_that_is_multiplied_an_error():
    filled = [node("Cast", "x", "b", to=TensorProto.BOOL), node("Where", "b x f", "y")]
    assert [severity for severity, _ in said(model(filled, f=NAN))] == ["warning"]
    assert [severity for severity, _ in said(model([node("Mul", "x f", "y")], f=NAN))] == ["error"]


def test_constants_of_nodes_count():
    value = numpy_helper.from_array(weights(NAN))
    made = helper.make_node("Constant", [], ["w"], value=value)
    assert said(model([made, node("MatMul", "x w", "y")]))[0][0] == "error"


def test_what_the_transform_cuts_away_does_not_count():
    nodes = [node("Relu", "x", "r"), node("MatMul", "r w", "y")]
    view = view_model(model(nodes, w=weights(NAN)), TransformSpec(outputs=("r",)))
    assert prove_weights(view.proto) == []


def test_external_data_are_read_in_pieces(tmp_path):
    w = np.ones((4, 8 << 20), np.float32)
    w[3, -1] = NAN
    path = tmp_path / "m.onnx"
    onnx.save(model([node("MatMul", "x w", "y")], w=w), path, save_as_external_data=True, location="m.data")
    proto = read_skeleton(path).proto
    tracemalloc.start()
    found = said(proto)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [severity for severity, _ in found] == ["error"]
    assert peak < w.nbytes / 4
