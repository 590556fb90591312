"""What changed between two models: single edits are reported as exactly that, and names and order are no change."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from tests.precisions.random_graphs import random_models
from trtpipe.inspection.diff.graphs import view_graph
from trtpipe.inspection.diff.models import GraphChanges, ModelChanges, diff_models

FLOAT = TensorProto.FLOAT
quick = settings(max_examples=60, suppress_health_check=list(HealthCheck))


def chain(*ops: str, weight: float = 1.0) -> onnx.ModelProto:
    """x through some operators; MatMul has weights `wN`, every other operator none."""
    nodes, weights, value = [], [], "x"
    for index, op in enumerate(ops):
        inputs = [value]
        if op == "MatMul":
            held = np.full((4, 4), weight + index, np.float32)
            weights.append(numpy_helper.from_array(held, f"w{index}"))
            inputs.append(f"w{index}")
        value = f"t{index}" if index < len(ops) - 1 else "y"
        nodes.append(helper.make_node(op, inputs, [value], f"{op}_{index}"))
    return model(nodes, {"x": [2, 4]}, {"y": [2, 4]}, weights)


def model(nodes: list[Any], inputs: Any, outputs: Any, weights: list[Any] | None = None) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(name, FLOAT, dims) for name, dims in inputs.items()],
        [helper.make_tensor_value_info(name, FLOAT, dims) for name, dims in outputs.items()],
        weights or [],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)


def copied(proto: onnx.ModelProto) -> onnx.ModelProto:
    other = onnx.ModelProto()
    other.CopyFrom(proto)
    return other


def turned(changes: GraphChanges) -> Any:
    """What the difference the other way round must be, without the names that are A's."""
    return (
        sorted(changes.removed),
        sorted(changes.added),
        sorted((one.b, one.what, one.new, one.old) for one in changes.changed),
        sorted(
            (one.b, one.dtypes[::-1], one.dims[::-1], one.changed, one.largest) for one in changes.weights
        ),
    )


def straight(changes: GraphChanges) -> Any:
    return (
        sorted(changes.added),
        sorted(changes.removed),
        sorted((one.a, one.what, one.old, one.new) for one in changes.changed),
        sorted((one.a, one.dtypes, one.dims, one.changed, one.largest) for one in changes.weights),
    )


# -- laws on random graphs ------------------------------------------------------------------------------------------


@quick
@given(random_models())
def test_a_model_does_not_differ_from_itself(proto: onnx.ModelProto) -> None:
    changes = diff_models(proto, proto)
    assert not changes.any
    assert (changes.graph.renamed_nodes, changes.graph.reordered) == (0, False)


@quick
@given(random_models(), random_models())
def test_the_difference_turned_round_is_that_of_the_models_turned_round(
    a: onnx.ModelProto, b: onnx.ModelProto
) -> None:
    there, back = diff_models(a, b), diff_models(b, a)
    assert there.any == back.any
    assert len(there.graph.added) == len(back.graph.removed)
    assert len(there.graph.removed) == len(back.graph.added)
    assert sorted((one.old, one.new) for one in there.interface) == sorted(
        (one.new, one.old) for one in back.interface
    )


@quick
@given(random_models(), st.randoms(use_true_random=False))
def test_new_names_and_another_order_are_no_change(proto: onnx.ModelProto, random: Any) -> None:
    other = copied(proto)
    kept = {value.name for value in (*other.graph.input, *other.graph.output)}
    names = {name for node in other.graph.node for name in (*node.input, *node.output)} - kept
    order = sorted(names)
    random.shuffle(order)
    renamed = {name: f"v{number}" for number, name in enumerate(order)}
    nodes = list(other.graph.node)
    for number, node in enumerate(nodes):
        node.name = f"n{number}"
        node.input[:] = [renamed.get(name, name) for name in node.input]
        node.output[:] = [renamed.get(name, name) for name in node.output]
    for tensor in other.graph.initializer:
        tensor.name = renamed.get(tensor.name, tensor.name)
    random.shuffle(nodes)
    held = onnx.GraphProto(node=nodes)
    del other.graph.node[:]
    other.graph.node.extend(held.node)
    changes = diff_models(proto, other)
    assert not changes.any
    assert changes.graph.renamed_nodes == len(proto.graph.node)


@quick
@given(random_models(), st.data())
def test_one_weight_that_changed_is_named_and_nothing_else(proto: onnx.ModelProto, data: Any) -> None:
    floats = [one for one in proto.graph.initializer if one.data_type != TensorProto.INT64]
    if not floats:
        return
    index = data.draw(st.integers(0, len(floats) - 1))
    other = copied(proto)
    tensor = next(one for one in other.graph.initializer if one.name == floats[index].name)
    values = numpy_helper.to_array(tensor).copy()
    values.flat[0] += 1
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    changes = diff_models(proto, other)
    (change,) = changes.graph.weights
    assert (change.a, change.b, change.changed) == (tensor.name, tensor.name, 1)
    assert changes.graph == GraphChanges(weights=(change,))
    assert straight(diff_models(other, proto).graph) == turned(changes.graph)


@quick
@given(random_models(), st.data())
def test_one_operator_that_was_replaced_is_reported_as_that(proto: onnx.ModelProto, data: Any) -> None:
    unary = {"Relu": "Abs", "Tanh": "Sigmoid", "Abs": "Neg", "Neg": "Relu", "Sigmoid": "Tanh"}
    places = [index for index, node in enumerate(proto.graph.node) if node.op_type in unary]
    if not places:
        return
    other = copied(proto)
    node = other.graph.node[data.draw(st.sampled_from(places))]
    old, node.op_type = node.op_type, unary[node.op_type]
    graph = diff_models(proto, other).graph
    (change,) = graph.changed
    assert (change.a, change.what, change.old, change.new) == (node.name, "operator", old, node.op_type)
    assert graph == GraphChanges(changed=(change,))


@quick
@given(random_models(), st.data(), st.booleans())
def test_one_node_put_in_is_one_node_added(proto: onnx.ModelProto, data: Any, unnamed: bool) -> None:
    index = data.draw(st.integers(0, len(proto.graph.node) - 1))
    other = copied(proto)
    if unnamed:
        for node in (*proto.graph.node, *other.graph.node):
            node.name = ""
    behind = other.graph.node[index]
    made = behind.output[0]
    behind.output[0] = "before"
    put = helper.make_node("Softplus", ["before"], [made], "put")
    nodes = [*other.graph.node[: index + 1], put, *other.graph.node[index + 1 :]]
    held = onnx.GraphProto(node=nodes)
    del other.graph.node[:]
    other.graph.node.extend(held.node)
    graph = diff_models(proto, other).graph
    assert graph.added == (("put", "Softplus"),)
    assert (graph.removed, graph.changed, graph.weights) == ((), (), ())
    assert straight(diff_models(other, proto).graph) == turned(graph)


# -- situations -----------------------------------------------------------------------------------------------------


def test_numbers_in_names_that_moved_on_do_not_hide_what_was_put_in() -> None:
    before = chain("MatMul", "Relu", "MatMul", "Relu", "MatMul")
    nodes = list(copied(before).graph.node)
    put = helper.make_node("Sigmoid", ["t1"], ["s"], "Sigmoid_2")
    nodes[2].input[0] = "s"
    for node, number in zip(nodes[2:], (3, 4, 5), strict=True):
        node.name = f"{node.op_type}_{number}"
    after = model([*nodes[:2], put, *nodes[2:]], {"x": [2, 4]}, {"y": [2, 4]}, list(before.graph.initializer))
    graph = diff_models(before, after).graph
    assert (graph.added, graph.removed, graph.changed) == ((("Sigmoid_2", "Sigmoid"),), (), ())
    assert graph.renamed_nodes == 3


def test_an_attribute_that_changed_has_its_old_and_new_value() -> None:
    a, b = chain("Softmax"), chain("Softmax")
    b.graph.node[0].attribute.append(helper.make_attribute("axis", 0))
    (change,) = diff_models(a, b).graph.changed
    assert (change.what, change.old, change.new) == ("attribute axis", "left out", "0")


def test_an_attribute_that_says_what_the_standard_says_is_no_change() -> None:
    a, b = chain("Softmax"), chain("Softmax")
    b.graph.node[0].attribute.append(helper.make_attribute("axis", -1))
    assert not diff_models(a, b).any


def test_two_weights_that_changed_places_are_two_weights_that_changed() -> None:
    a = chain("MatMul", "Relu", "MatMul")
    b = copied(a)
    b.graph.initializer[0].name, b.graph.initializer[1].name = "w2", "w0"
    assert [one.a for one in diff_models(a, b).graph.weights] == ["w0", "w2"]


def test_a_node_that_reads_something_else_is_rewired() -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["r"], "relu"),
        helper.make_node("Tanh", ["x"], ["t"], "tanh"),
        helper.make_node("Add", ["r", "t"], ["y"], "add"),
    ]
    a = model(nodes, {"x": [2]}, {"y": [2]})
    b = copied(a)
    b.graph.node[2].input[1] = "r"
    changes = [one for one in diff_models(a, b).graph.changed if one.a == "add"]
    assert [(one.what, one.old, one.new) for one in changes] == [("input 1", "tanh (Tanh)", "relu (Relu)")]


def test_a_constant_node_is_a_weight_like_an_initializer() -> None:
    a = chain("MatMul")
    weight = a.graph.initializer[0]
    constant = helper.make_node("Constant", [], ["w0"], "c", value=weight)
    b = model([constant, *a.graph.node], {"x": [2, 4]}, {"y": [2, 4]})
    assert not diff_models(a, b).any


def test_inputs_outputs_and_opsets_are_compared() -> None:
    a, b = chain("Relu"), chain("Relu")
    b.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "n"
    b.graph.output[0].name = b.graph.node[0].output[0] = "z"
    b.opset_import[0].version = 21
    changes = diff_models(a, b)
    assert [(one.mode, one.old, one.new) for one in changes.interface] == [
        ("input", "x float32 2x4", "x float32 nx4"),
        ("output", "y float32 2x4", "z float32 2x4"),
    ]
    assert changes.opsets == (("ai.onnx", 22, 21),)


def test_what_changed_in_a_branch_is_named_by_its_path() -> None:
    def branching(op: str) -> onnx.ModelProto:
        def branch(kind: str) -> onnx.GraphProto:
            node = helper.make_node(kind, ["x"], [f"of_{kind}"], f"inner_{kind}")
            return helper.make_graph(
                [node], "b", [], [helper.make_tensor_value_info(f"of_{kind}", FLOAT, [2])]
            )

        decide = helper.make_node(
            "If", ["c"], ["y"], "choose", then_branch=branch(op), else_branch=branch("Tanh")
        )
        made = model([decide], {"x": [2]}, {"y": [2]})
        made.graph.input.append(helper.make_tensor_value_info("c", TensorProto.BOOL, []))
        return made

    assert not diff_models(branching("Relu"), branching("Relu")).any
    (change,) = diff_models(branching("Relu"), branching("Abs")).graph.changed
    assert (change.a, change.old, change.new) == ("choose/then_branch/inner_Relu", "Relu", "Abs")


def test_types_of_nodes_that_changed_are_told_by_name() -> None:
    a = chain("Relu", "Tanh")
    nodes = [
        helper.make_node("Cast", ["x"], ["h"], "to_half", to=TensorProto.FLOAT16),
        helper.make_node("Relu", ["h"], ["t0"], "Relu_0"),
        helper.make_node("Cast", ["t0"], ["f"], "to_float", to=FLOAT),
        helper.make_node("Tanh", ["f"], ["y"], "Tanh_1"),
    ]
    types = diff_models(a, model(nodes, {"x": [2, 4]}, {"y": [2, 4]})).types
    assert types.changed == (("float32", "float16", ("Relu_0",)),)


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.int32, np.bool_])
def test_changes_of_values_are_measured(dtype: Any) -> None:
    def of(values: Any) -> onnx.ModelProto:
        weight = numpy_helper.from_array(np.array(values).astype(dtype), "w")
        return model([helper.make_node("Identity", ["w"], ["y"], "i")], {}, {"y": [2]}, [weight])

    (change,) = diff_models(of([1, 0]), of([1, 1])).graph.weights
    assert (change.changed, change.largest, change.relative, change.mean_relative) == (1, 1.0, 1.0, 1.0)


def test_nan_is_equal_to_itself_and_infinity_is_left_out_of_sizes() -> None:
    def of(*values: float) -> onnx.ModelProto:
        weight = numpy_helper.from_array(np.array(values, np.float32), "w")
        return model([helper.make_node("Identity", ["w"], ["y"], "i")], {}, {"y": [3]}, [weight])

    nan, inf = float("nan"), float("inf")
    assert not diff_models(of(nan, inf, 1), of(nan, inf, 1)).any
    (change,) = diff_models(of(nan, inf, 1), of(nan, 0, 3)).graph.weights
    assert (change.changed, change.largest) == (2, 2.0)


def test_a_change_from_zero_has_no_relative_size() -> None:
    def of(value: float) -> onnx.ModelProto:
        weight = numpy_helper.from_array(np.full(2, value, np.float32), "w")
        return model([helper.make_node("Identity", ["w"], ["y"], "i")], {}, {"y": [2]}, [weight])

    (change,) = diff_models(of(0), of(1)).graph.weights
    assert (change.largest, change.relative, change.mean_relative) == (1.0, None, None)


def test_the_changes_are_plain_json() -> None:
    changes: ModelChanges = diff_models(chain("Relu", "MatMul"), chain("MatMul", "Tanh", weight=3.0))
    assert json.loads(json.dumps(changes.to_json()))["differs"] is True


def test_a_long_graph_is_compared_in_seconds() -> None:
    import time

    ops = ("Relu", "Tanh", "Abs") * 1000
    a, b = chain(*ops), chain("Neg", *ops[1:])
    begin = time.monotonic()
    (change,) = diff_models(a, b).graph.changed
    assert change.what == "operator"
    assert time.monotonic() - begin < 20


def test_weights_are_seen_by_their_graph() -> None:
    view = view_graph(chain("MatMul").graph, 22)
    assert list(view.weights) == ["w0"]
