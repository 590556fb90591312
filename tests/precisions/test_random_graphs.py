"""Rewriting random graphs: the function stays, keep is honoured exactly, casts are few, and twice is once."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from tests.precisions.random_graphs import UNIT, evaluated, random_models
from trtpipe.precisions import Choices, find_precision
from trtpipe.precisions.casts.defaults import BY_OPERATOR
from trtpipe.precisions.casts.element_types import element_types
from trtpipe.precisions.casts.free_types import dtype_name
from trtpipe.precisions.casts.kept_nodes import glob_of
from trtpipe.precisions.casts.signatures import FLOATS
from trtpipe.runners.cpu.graphs import RunnableModel
from trtpipe.runners.cpu.onnxruntime import open_runner

LOW = ["fp16", "bf16"]
many = settings(max_examples=100, suppress_health_check=list(HealthCheck))


def rewritten(source, precision, keep=None, io=None):
    """The typed model, checked, and the plan as it was carried out."""
    model, found = ir.from_proto(source), find_precision(precision)
    plan = found.plan_types(model, keep or {}, choices=Choices(io=io or {}))
    assert not plan.problems, plan.problems
    report = found.rewrite(model, plan)
    proto = ir.to_proto(model)
    onnx.checker.check_model(proto, full_check=True)
    onnx.shape_inference.infer_shapes(proto, check_type=True, strict_mode=True)
    return proto, report.plan


def outputs_of(proto, feed):
    names = {one.name for one in proto.graph.input}
    with open_runner(RunnableModel(proto, Path(), Path("m.onnx")), threads=1) as runner:
        return runner.infer({name: array for name, array in feed.items() if name in names})


@st.composite
def cases(draw, casts=True):
    """A model, and nodes of it to keep."""
    model = draw(random_models(casts))
    names = [node.name for node in model.graph.node]
    return model, draw(st.lists(st.sampled_from(names), unique=True, max_size=5))


def kept(names):
    return {"fp32": [glob_of(name) for name in names]} if names else {}


@pytest.mark.parametrize("precision", LOW)
@given(cases(), st.integers(0, 2**16), st.sampled_from([{}, {"*": "convert"}]))
@many
def test_the_function_stays_but_for_the_rounding_of_the_types(precision, case, seed, io):
    source, names = case
    random = np.random.default_rng(seed)
    feed = {name: random.uniform(-2, 2, (2, 4)).astype(np.float32) for name in ("x", "z")}
    proto, plan = rewritten(source, precision, kept(names), io)
    types = {name: node.dtype for name, node in plan.nodes.items()}
    low = find_precision(precision).dtype
    exact = evaluated(source, feed, types, largest=2e4, fed=low if io else "float32")
    assume(exact is not None)

    actual = outputs_of(proto, feed)

    for output in source.graph.output:
        stated = "float16" if output.type.tensor_type.elem_type == onnx.TensorProto.FLOAT16 else "float32"
        known = exact[output.name].taken_in(low if io else stated)
        assume((known.error < 1e3).all())
        wrong = np.abs(actual[output.name].astype(np.float64) - known.value) > known.error * 1.01 + 1e-6
        assert not wrong.any(), (output.name, types)


@pytest.mark.parametrize("precision", LOW)
@given(cases(casts=False))
@many
def test_keep_lists_are_honoured_exactly(precision, case):
    source, names = case
    proto, _ = rewritten(source, precision, kept(names))

    model, low = ir.from_proto(proto), find_precision(precision).dtype
    types = element_types(model)
    moving = {"Identity", "Transpose", "Reshape", "Concat", "Slice"}
    for node in model.graph:
        made = dtype_name(types[node.outputs[0]])
        taken = {dtype_name(types[value]) for value in node.inputs if types[value] in FLOATS}
        if node.name in names:
            assert {made, *taken} == {"float32"}, node.name
        elif node.op_type not in ("Cast", *moving, *BY_OPERATOR):
            assert {made, *taken} == {low}, node.name


@pytest.mark.parametrize("precision", ["fp32", *LOW])
@given(cases(), st.sampled_from([{}, {"*": "convert"}]))
@many
def test_no_cast_too_many(precision, case, io):
    source, names = case
    proto, _ = rewritten(source, precision, kept(names) if precision != "fp32" else None, io)

    model = ir.from_proto(proto)
    types = element_types(model)
    casts = [node for node in model.graph if node.op_type == "Cast"]
    made = Counter((node.inputs[0], types[node.outputs[0]]) for node in casts)
    ends = set(model.graph.outputs)
    for node in casts:
        source_value, output = node.inputs[0], node.outputs[0]
        if output not in ends:
            assert types[source_value] != types[output], "a cast to the type that is there"
            assert made[source_value, types[output]] == 1 or output in ends, "the same cast twice"
            assert output.uses(), "a cast that nobody reads"
        maker = source_value.producer()
        assert maker is None or maker.op_type != "Cast" or maker.outputs[0] in ends, "a cast of a cast"


@pytest.mark.parametrize("precision", ["fp32", *LOW])
@given(cases(), st.sampled_from([{}, {"*": "convert"}]))
@many
def test_twice_is_once(precision, case, io):
    source, names = case
    keep = kept(names) if precision != "fp32" else None
    once, _ = rewritten(source, precision, keep, io)
    still = {node.name for node in once.graph.node}

    twice, _ = rewritten(
        once, precision, kept([name for name in names if name in still]) if keep else None, io
    )

    assert twice.SerializeToString(deterministic=True) == once.SerializeToString(deterministic=True)


def test_the_bound_is_no_licence():
    """A typed model that computes something else is found out: the bound is within a few hundred units."""
    text = """<ir_version: 10, opset_import: ["" : 22]>
    g (float[2,4] x, float[2,4] z) => (float[2,4] y) { a = Add(x, z)  b = Tanh(a)  y = Mul(b, x) }"""
    model = onnx.parser.parse_model(text)
    for node in model.graph.node:
        node.name = node.op_type
    feed = {name: np.full((2, 4), 0.5, np.float32) for name in ("x", "z")}

    known = evaluated(model, feed, dict.fromkeys(("Add", "Tanh", "Mul"), "float16"), 1e4)["y"]

    assert (known.error < 20 * UNIT["float16"]).all()
