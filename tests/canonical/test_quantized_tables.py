"""Tables in eight bits are dequantized before elements of them are picked, where that makes no difference."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from tests.canonical.onnx_text import canonical
from tests.canonical.test_runtime_operators import run
from trtpipe.canonical.evaluation import Evaluator
from trtpipe.legalization.quantized_tables import dequantize_tables

TABLE = np.random.default_rng(0).integers(0, 256, (20, 6)).astype(np.uint8)
BOTH = """
<ir_version: 8, opset_import: ["" : 17]>
g (int64[n,s] i) => (float[n,s,6] y, float[s,n,6] t) {
  q = Gather (table, i)
  y = DequantizeLinear (q, scale, zero)
  m = Transpose <perm = [1, 0, 2]> (q)
  t = DequantizeLinear (m, scale, zero)
}
"""


def model(text: str = BOTH, table: np.ndarray = TABLE, zero: int = 128) -> onnx.ModelProto:
    made = onnx.parser.parse_model(text)
    held = {"table": table, "scale": np.float32(0.02), "zero": np.asarray(zero, table.dtype)}
    made.graph.initializer.extend(numpy_helper.from_array(one, name) for name, one in held.items())
    return made


@pytest.mark.parametrize(("table", "zero"), [(TABLE, 128), (TABLE, 7), (TABLE.view(np.int8), 0)])
def test_a_table_is_dequantized_before_it_is_looked_up(tmp_path, table, zero):
    given = model(table=table, zero=zero)
    with Evaluator(tmp_path) as evaluator:
        result, _ = canonical(given, evaluator)

    feed = {"i": np.int64([[3, 1, 19], [0, 0, 7]])}
    for ours, theirs in zip(run(result, feed), run(given, feed), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    made = {name: node for node in result.graph.node for name in node.output}
    kinds = {value.name: value.data_type for value in result.graph.initializer}
    for node in made.values():
        if node.op_type in ("Gather", "Transpose"):
            whole = kinds.get(node.input[0]) in (onnx.TensorProto.INT8, onnx.TensorProto.UINT8)
            assert not whole, f"{node.op_type} reads whole numbers"


def test_a_table_that_is_read_in_two_ways_stays():
    shown = BOTH.replace("float[s,n,6] t)", "float[s,n,6] t, uint8[n,s,6] q)")
    other = BOTH.replace("(m, scale, zero)", "(m, scale)")
    assert dequantize_tables(model(shown)) == dequantize_tables(model(other)) == 0
    assert dequantize_tables(model()) == 1


def test_what_stands_nowhere_but_before_dequantization_stays():
    assert dequantize_tables(model(BOTH.replace("Gather (table, i)", "QuantizeLinear (f, scale, zero)"))) == 0
