"""Which inputs' values set shapes: found by walking backwards from the operands that ask."""

from __future__ import annotations

from typing import Any

import pytest
from onnx import TensorProto, helper, parser

from trtpipe.proofs.model import view_model
from trtpipe.proofs.proposals import propose_profile
from trtpipe.proofs.value_inputs import ShapeUse, shape_value_inputs


def model(text: str) -> Any:
    return parser.parse_model(f'<ir_version: 8, opset_import: ["": 17]> g {text}')


def uses(text: str) -> dict[str, str]:
    return {name: str(use) for name, use in shape_value_inputs(model(text)).items()}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("(float[2,3] x, int64[2] s) => (float[a,b] y) { y = Reshape(x, s) }", {"s": "Reshape"}),
        ("(int64 n) => (float[a] y) { one = Constant <value_int: int = 1>() y = Range(one, n, one) }", {"n": "Range"}),
        ("(float[2,3] x, int64[1] k) => (float[a,b] y, int64[a,b] i) { y, i = TopK(x, k) }", {"k": "TopK"}),
        ("(float[2,3] x, int64[2] s) => (float[a,b] y) { t = Abs(s) y = Expand(x, t) }", {"s": "Expand"}),
        ("(float[2,3] x, int64[1] s) => (float[a,b] y) { t = Shape(s) y = Expand(x, t) }", {}),
        ("(float[2,3] x, int64[2] i) => (float[2,3] y) { y = Gather(x, i) }", {}),
        ("(float[2,3] x, int64[1,1] s) => (float[a,b] y) { t = Squeeze(s) y = Expand(x, t) }", {}),
    ],
)  # fmt: skip
def test_values_are_followed_back_to_inputs(text: str, found: dict[str, str]) -> None:
    assert uses(text) == found


def test_a_branch_that_asks_counts() -> None:
    def branch(name: str) -> Any:
        node = helper.make_node("Expand", ["x", "s"], [name], name=f"node {name}")
        value = helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
        return helper.make_graph([node], name, [], [value])

    node = helper.make_node("If", ["c"], ["y"], then_branch=branch("t"), else_branch=branch("e"))
    values = [("x", TensorProto.FLOAT, [1]), ("s", TensorProto.INT64, [1]), ("c", TensorProto.BOOL, [])]
    infos = [helper.make_tensor_value_info(*value) for value in values]
    graph = helper.make_graph(
        [node], "g", infos, [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    )
    assert shape_value_inputs(helper.make_model(graph)) == {"s": ShapeUse("s", "node e", "Expand", operand=1)}


def test_a_body_that_gives_the_shape_is_walked_through() -> None:
    def branch(name: str, source: str) -> Any:
        node = helper.make_node("Identity", [source], [name])
        return helper.make_graph(
            [node], name, [], [helper.make_tensor_value_info(name, TensorProto.INT64, None)]
        )

    nodes = [
        helper.make_node("If", ["c"], ["s"], then_branch=branch("t", "a"), else_branch=branch("e", "b")),
        helper.make_node("Expand", ["x", "s"], ["y"], name="expand"),
    ]
    values = [("x", TensorProto.FLOAT, [1]), ("a", TensorProto.INT64, [1]), ("b", TensorProto.INT64, [1])]
    infos = [helper.make_tensor_value_info(*value) for value in (*values, ("c", TensorProto.BOOL, [1, 1]))]
    graph = helper.make_graph(
        nodes, "g", infos, [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    )
    assert sorted(shape_value_inputs(helper.make_model(graph))) == ["a", "b"]


@pytest.mark.parametrize(
    ("text", "values"),
    [
        (
            "(float[4,6] x, int64[2] b, int64[2] e, int64[2] a) => (float[m,n] y) { y = Slice(x, b, e, a) }",
            {"b": (0, 0), "e": (1, 1), "a": (0, 1)},
        ),
        (
            "(float[6] x, int64[2] s) => (float[m] y, float[n] z) { y, z = Split <axis = 0>(x, s) }",
            {"s": (3, 3)},
        ),
        ("(float[4,6] x, int64[2] s) => (float[8,3] y) { y = Reshape(x, s) }", {"s": (8, 3)}),
    ],
)
def test_values_are_proposed_that_the_graph_accepts(text: str, values: dict[str, Any]) -> None:
    view = view_model(model(text))
    proposal = propose_profile(
        view.inputs, infer=view.infer, value_inputs=view.value_inputs, outputs=view.outputs
    )
    assert proposal.problems == ()
    assert {n: entry.values.opt for n, entry in proposal.profile.items() if entry.values} == values
