"""Recurrent nodes of which TensorRT's parser mixes types stay in float32 by themselves; the others become narrow."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

from trtpipe.precisions import find_precision

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


def recurrent(operator: str, *, lengths: bool) -> ir.Model:
    size = GATES[operator] * 4
    shapes = {"w": (1, size, 3), "r": (1, size, 4), "b": (1, 2 * size)}
    node = helper.make_node(
        operator, ["x", "w", "r", "b", *(["lens"] if lengths else [])], ["y"], name="rnn", hidden_size=4
    )
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [5, 2, 3])]
    inputs += [helper.make_tensor_value_info("lens", TensorProto.INT32, [2])] if lengths else []
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [5, 1, 2, 4])]
    weights = [numpy_helper.from_array(np.ones(shape, np.float32), name) for name, shape in shapes.items()]
    graph = helper.make_graph([node], "g", inputs, outputs, weights)
    return ir.from_proto(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)]))


@pytest.mark.parametrize("operator", GATES)
@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_lengths_of_sequences_keep_a_node_in_float32(operator, precision):
    node = find_precision(precision).plan_types(recurrent(operator, lengths=True)).nodes["rnn"]

    assert node.dtype == "float32"
    assert "lengths of sequences" in node.reason


@pytest.mark.parametrize(
    ("operator", "precision", "wanted"),
    [("LSTM", "fp16", "float16"), ("GRU", "fp16", "float16"), ("RNN", "fp16", "float16"), ("GRU", "bf16", "float32")],
)  # fmt: skip
def test_without_them_it_is_narrow_where_the_parser_takes_it(operator, precision, wanted):
    node = find_precision(precision).plan_types(recurrent(operator, lengths=False)).nodes["rnn"]

    assert node.dtype == wanted
