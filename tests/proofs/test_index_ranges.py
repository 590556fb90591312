"""Random inputs that pick rows of a table stay within it, however the index is moved and shifted on the way."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

from trtpipe.proofs.index_ranges import index_ranges
from trtpipe.proofs.model import prove_model

HEADER = '<ir_version: 9, opset_import: ["" : 17]>'
TABLE = np.arange(14, dtype=np.float32).reshape(7, 2)


def parsed(text: str, **constants: object) -> onnx.ModelProto:
    proto = onnx.parser.parse_model(f"{HEADER}\n{text}")
    made = {"table": TABLE, "two": np.array([2], np.int64), **constants}
    proto.graph.initializer.extend(numpy_helper.from_array(np.asarray(v), k) for k, v in made.items())
    return proto


BODIES = {
    "plain": ("y = Gather(table, i)", (0, 7)),
    "along another axis": ("y = Gather<axis=1>(table, i)", (0, 2)),
    "along the last axis": ("y = Gather<axis=-1>(table, i)", (0, 2)),
    "moved": ("a = Unsqueeze(i, two)  b = Cast<to=6>(a)  y = Gather(table, b)", (0, 7)),
    "shifted up": ("a = Add(i, two)  y = Gather(table, a)", (0, 5)),
    "shifted up by what comes first": ("a = Add(two, i)  y = Gather(table, a)", (0, 5)),
    "shifted down": ("a = Sub(i, two)  y = Gather(table, a)", (2, 9)),
    "added to itself": ("a = Add(i, i)  y = Gather(table, a)", (0, 4)),
    "beside others": ("a = Concat<axis=0>(i, i)  y = Gather(table, a)", (0, 7)),
    "of two tables": ("a = Gather(table, i)  b = Gather<axis=1>(table, i)  y = Gather(table, i)", (0, 2)),
}


@pytest.mark.parametrize("body", BODIES)
def test_every_value_of_the_range_is_inside_the_table(body):
    text, wanted = BODIES[body]
    proto = parsed(f"g (int64[N,1] i) => (y) {{ {text} }}")

    assert index_ranges(proto) == {"i": wanted}

    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    for value in range(*wanted):
        session.run(None, {"i": np.full((2, 1), value)})


def test_an_index_that_is_computed_has_no_range():
    proto = parsed("g (int64[N] i) => (y) { e = Equal(i, two)  c = Cast<to=7>(e)  y = Gather(table, c) }")
    assert index_ranges(proto) == {}


def test_an_input_that_nothing_reads_is_told_and_is_no_error():
    proto = parsed("g (int64[2] i, int64[2] mask) => (y) { y = Gather(table, i) }")

    (problem,) = prove_model(proto, ())

    assert problem.severity == "note"
    assert problem.fact == "no node reads input 'mask': its values have no effect"
