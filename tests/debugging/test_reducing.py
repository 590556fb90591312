"""Models made smaller while they fail in the same way: the causes are found, and nothing else is taken for them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper, parser

from tests.precisions.random_graphs import random_models
from trtpipe.canonical.checks import check_model
from trtpipe.canonical.folding import infer_values
from trtpipe.canonical.inference import infer_at
from trtpipe.errors import StepFailed
from trtpipe.problem_codes import Code
from trtpipe.reduction.budget import Trials
from trtpipe.reduction.candidates import Candidate, Whole, profile_of
from trtpipe.reduction.course import reduce_model
from trtpipe.reduction.extraction import Parts
from trtpipe.reduction.failures import FailureClass, classes_of, normalised
from trtpipe.search.minimization import trim


def reduced(model, fails, **asked):
    """What is left of a model, and the candidates that were tried."""
    tried = []

    def run(candidate):
        tried.append(candidate)
        return fails(candidate)

    trials = Trials(run, lambda one: one.model.SerializeToString(deterministic=True).hex(), Candidate(model))
    assert trials.still_fails(trials.best)
    for name in {"most", "seconds"} & asked.keys():
        setattr(trials, name, asked.pop(name))
    return reduce_model(trials, lambda one: None, **asked), tried


def names(model):
    return {node.name for node in model.graph.node}


@settings(max_examples=60)
@given(random_models(casts=False), st.data())
def test_planted_nodes_are_found_exactly(model, data):
    every = sorted(names(model))
    planted = set(data.draw(st.lists(st.sampled_from(every), min_size=1, max_size=3, unique=True)))

    found, tried = reduced(model, lambda one: planted <= names(one.model), shrink=False)

    parts = Parts(model, infer_values(model))
    wanted = {i for i, node in enumerate(model.graph.node) if node.name in planted}
    assert names(found.candidate.model) == {model.graph.node[i].name for i in parts.with_needed(wanted)}
    assert found.minimal
    for one in tried:
        check_model(one.model)
        assert not infer_at(one.model, {}).problems


@settings(max_examples=30)
@given(random_models(casts=False), st.integers(1, 12))
def test_a_reduction_that_is_cut_short_still_fails_and_says_so(model, most):
    planted = {model.graph.node[-1].name}

    found, tried = reduced(model, lambda one: planted <= names(one.model), most=most)

    assert planted <= names(found.candidate.model)
    assert found.trials == len(tried) <= most
    assert bool(found.stopped_by) == (len(tried) == most) or not found.stopped_by


def test_time_ends_a_reduction_too():
    model = chain(20)

    found, _ = reduced(model, lambda one: "n9" in names(one.model), seconds=-1)

    assert found.stopped_by == "-1 s" and not found.minimal


def chain(count):
    nodes = [helper.make_node("Relu", [f"t{i}"], [f"t{i + 1}"], f"n{i}") for i in range(count)]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [4, 8]) for name in ("t0", f"t{count}")]
    graph = helper.make_graph(nodes, "chain", ends[:1], ends[1:])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_a_pair_that_must_be_joined_is_found_without_what_lies_between():
    def joined(one):
        makers = {node.output[0]: node for node in one.model.graph.node}
        node = next((node for node in one.model.graph.node if node.name == "n15"), None)
        while node is not None and node.name != "n3":
            node = makers.get(node.input[0])
        return node is not None

    found, tried = reduced(chain(20), joined, shrink=False)

    assert names(found.candidate.model) == {"n3", "n15"}
    assert len(tried) < 120


def test_few_of_a_thousand_nodes_take_few_trials():
    found, tried = reduced(chain(1000), lambda one: "n777" in names(one.model), shrink=False)

    assert names(found.candidate.model) == {"n777"}
    assert len(tried) < 40


def test_shapes_and_indices_bring_the_nodes_that_make_them():
    model = parser.parse_model("""<ir_version: 8, opset_import: ["" : 17]>
        net (float[n, 8] x) => (float[p, q] y) <int64[1] zero = {0}, int64[1] rest = {-1}> {
            a = Relu(x)
            s = Shape(a)
            n1 = Gather(s, zero)
            t = Concat<axis = 0>(n1, rest)
            b = Exp(a)
            y = Reshape(b, t)
        }""")
    profiles = [{"x": {"min": [1, 8], "opt": [4, 8], "max": [16, 8]}}]

    part = Whole(Candidate(model, profiles)).part([5])

    assert [node.op_type for node in part.model.graph.node] == ["Shape", "Gather", "Concat", "Reshape"]
    assert {one.name for one in part.model.graph.input} == {"a", "b"}
    assert part.profiles == [dict.fromkeys(("a", "b"), profiles[0]["x"])]
    assert profile_of(part.profiles[0])["a"].opt == (4, 8)


def test_sizes_attributes_and_weights_shrink_as_far_as_the_failure_allows():
    weight = numpy_helper.from_array(np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32), "w")
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["m"], "product"),
        helper.make_node("LeakyRelu", ["m"], ["y"], "leaky", alpha=0.3),
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [32, 64]) for name in "xy"]
    model = helper.make_model(
        helper.make_graph(nodes, "g", ends[:1], ends[1:], [weight]),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )

    found, _ = reduced(model, lambda one: {"product", "leaky"} <= names(one.model))

    small = found.candidate.model
    assert [list(one.dims) for one in small.graph.initializer] == [[1, 1]]
    assert not small.graph.node[1].attribute
    assert small.ByteSize() < model.ByteSize() / 50


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ("node 'conv7' (Conv): kernel 3x3 is no", "node '/a/Conv' (Conv): kernel 5x5 is no", True),
        (
            "Cannot compile operation 'mm0' for Turing (SM75)",
            "Cannot compile operation 'q' for Turing (SM75)",
            True,
        ),
        ("tensor relu_1 has 4 dims [1,2,3,4]", "tensor pool has 3 dims [7,8,9]", True),
        ("node 'x' (Conv): no importer", "node 'x' (MatMul): no importer", False),
        ("out of memory", "no memory left", False),
    ],
    ids=["names and sizes", "an operation", "unquoted names", "another operator", "other words"],
)
def test_failures_are_alike_whatever_the_names_and_shapes(one, other, alike):
    known = {"relu_1", "pool"}

    assert (normalised(one, known) == normalised(other, known)) is alike


@pytest.mark.parametrize(
    ("fact", "expected"),
    [
        ("TensorRT died of SIGSEGV while build", FailureClass("crash", "SIGSEGV")),
        (
            "the validate step was ended by SIGABRT: a library that it uses crashed",
            FailureClass("crash", "SIGABRT"),
        ),
        ("TensorRT took longer than the time limit while build", FailureClass("time limit")),
        ("the build took 9 bytes of memory, more than the limit of 8", FailureClass("memory limit")),
    ],
    ids=["crash", "crash of a step", "time", "memory"],
)
def test_crashes_and_limits_are_classes_of_their_own(fact, expected):
    assert classes_of(StepFailed(Code.BUILD_FAILED, fact)) == (expected,)


@given(st.integers(1, 40), st.data())
def test_both_ends_are_found_by_halves(size, data):
    first = data.draw(st.integers(0, size - 1))
    last = data.draw(st.integers(first, size - 1))
    asked = []

    def does(some):
        asked.append(some)
        return {first, last} <= set(some)

    assert trim(range(size), does) == list(range(first, last + 1))
    assert len(asked) <= 14


def test_branches_and_what_they_read_outside_stay_whole():
    model = parser.parse_model("""<ir_version: 8, opset_import: ["" : 17]>
        net (float[4] x, bool c) => (float[4] y) {
            a = Relu(x)
            b = Exp(x)
            d = If(c) <then_branch = t () => (float[4] p) { p = Neg(a) },
                       else_branch = e () => (float[4] q) { q = Abs(b) }>
            y = Tanh(d)
        }""")

    part = Whole(Candidate(model)).part([2]).model
    found, _ = reduced(model, lambda one: any(node.op_type == "If" for node in one.model.graph.node))

    assert {one.name for one in part.graph.input} == {"a", "b", "c"}
    assert [node.op_type for node in found.candidate.model.graph.node] == ["If"]
    check_model(found.candidate.model)
