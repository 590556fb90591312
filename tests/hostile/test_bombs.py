"""Small files that ask for a great deal of work: refused, or done in work that goes with their size."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from trtpipe.canonical import edits
from trtpipe.canonical.expansion import inline_functions, refuse_recursion
from trtpipe.datasets.sampling.batches import _order
from trtpipe.errors import ModelError
from trtpipe.spec.dataset import DatasetSpec


def doubling(levels: int) -> onnx.ModelProto:
    """Functions each of which calls the next one twice."""
    functions = []
    for level in range(levels):
        last = level == levels - 1
        operator, domain = ("Relu", "") if last else (f"F{level + 1}", "own")
        nodes = [
            helper.make_node(operator, ["x"], ["m"], domain=domain),
            helper.make_node(operator, ["m"], ["y"], domain=domain),
        ]
        imports = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
        functions.append(helper.make_function("own", f"F{level}", ["x"], ["y"], nodes, imports))
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("a", "b")]
    graph = helper.make_graph([helper.make_node("F0", ["a"], ["b"], domain="own")], "g", value[:1], value[1:])
    return helper.make_model(
        graph, functions=functions, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    )


def test_functions_that_double_are_counted_before_they_are_inlined():
    with pytest.raises(ModelError, match="come to 1,073,741,824 nodes"):
        inline_functions(doubling(30))


def test_functions_that_come_to_few_nodes_are_inlined():
    model = doubling(5)

    assert inline_functions(model) == 5
    assert [node.op_type for node in model.graph.node] == ["Relu"] * 32


def test_a_call_inside_a_branch_counts_as_a_call():
    body = helper.make_graph([helper.make_node("F0", ["x"], ["z"], domain="own")], "then", [], [])
    model = doubling(1)
    model.functions[0].node.append(helper.make_node("If", ["c"], ["w"], then_branch=body, else_branch=body))

    with pytest.raises(ModelError, match="function 'own::F0' calls itself"):
        refuse_recursion(model)


def test_a_long_chain_that_nothing_reads_goes_in_one_pass(monkeypatch):
    nodes = [helper.make_node("Relu", [f"v{number}"], [f"v{number + 1}"]) for number in range(2000)]
    nodes.append(helper.make_node("Relu", ["v0"], ["y"]))
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("v0", "y")]
    model = helper.make_model(helper.make_graph(nodes, "g", value[:1], value[1:]))
    passes = []
    uses = edits.uses
    monkeypatch.setattr(edits, "uses", lambda model: passes.append(1) or uses(model))

    assert edits.remove_unused(model) == 2000
    assert len(passes) == 2
    assert [node.output[0] for node in model.graph.node] == ["y"]


def test_samples_that_are_not_used_are_not_numbered():
    spec = DatasetSpec.model_validate({"schema": 1, "npz": "a.npz", "samples": 4})

    assert _order(spec, 10**15, None).tolist() == [0, 1, 2, 3]
    shuffled = spec.model_copy(update={"shuffle": True})
    assert (
        _order(shuffled, 100, None).tolist()
        == np.random.Generator(np.random.PCG64(0)).permutation(100)[:4].tolist()
    )
