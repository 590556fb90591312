"""Type plans: purely structural, problems by name, the same whether weights are there or not."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from tests.precisions.precision_graphs import model_of
from trtpipe.precisions import find_precision, precision_names

TEXT = "g (float[1,4] x) => (float[1,4] y) { a = MatMul(x, w)  b = Softmax(a)  y = Add(b, w) }"
PATH = ("variants", "half", "keep")


def model():
    return model_of(TEXT, w=np.ones((4, 4), np.float32))


@pytest.mark.parametrize("name", precision_names())
def test_every_precision_bears_the_name_of_its_file(name):
    found = find_precision(name)

    assert found is not None
    assert found.name == name
    assert found.default_thresholds


def test_an_unknown_precision_is_none():
    assert find_precision("casting") is None


def test_finding_precisions_imports_neither_onnx_nor_numpy():
    code = (
        "import sys; from trtpipe.precisions import *; [find_precision(n) for n in precision_names()];"
        "print(sorted({'onnx', 'onnx_ir', 'numpy'} & set(sys.modules)))"
    )

    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        == "[]\n"
    )


@pytest.mark.parametrize("glob", ["MatMul_0", "MatMul*", "op:MatMul", "*_0"])
def test_globs_match_node_names_and_operators(glob):
    plan = find_precision("fp16").plan_types(model(), {"fp32": [glob]}, PATH)

    assert plan.nodes["MatMul_0"].dtype == "float32"
    assert plan.nodes["MatMul_0"].reason == f"kept by '{glob}'"
    assert not plan.problems


def test_globs_that_match_nothing_are_all_reported_with_the_nearest_names():
    plan = find_precision("fp16").plan_types(model(), {"fp32": ["Matmul_0", "op:Sofmax", "*"]}, PATH)

    assert [(p.path, p.fact) for p in plan.problems] == [
        ((*PATH, "fp32", 0), "no node of the model matches 'Matmul_0'"),
        ((*PATH, "fp32", 1), "no node of the model has operator 'Sofmax'"),
    ]
    assert plan.problems[0].remedy == "the nodes are 'MatMul_0', 'Softmax_1', 'Add_2'"


@pytest.mark.parametrize(("precision", "keep"), [("fp16", "fp8"), ("fp32", "fp16")])
def test_a_precision_that_cannot_be_kept_is_refused(precision, keep):
    plan = find_precision(precision).plan_types(model(), {keep: ["*"]}, PATH)

    assert [(p.path, p.fact) for p in plan.problems] == [
        ((*PATH, keep), f"precision '{precision}' cannot keep nodes in '{keep}'")
    ]


def test_a_plan_needs_no_weights():
    proto = ir.to_proto(model())
    weight = proto.graph.initializer[0]
    weight.ClearField("raw_data")
    weight.data_location = onnx.TensorProto.EXTERNAL
    weight.external_data.add(key="location", value="/nowhere/weights.bin")

    plan = find_precision("fp16").plan_types(ir.from_proto(proto))

    assert plan == find_precision("fp16").plan_types(model())


def test_an_unknown_operator_keeps_the_types_of_the_source():
    text = "g (float[4] x) => (float[4] y) { a = acme.Magic(x)  y = Relu(a) }"
    proto = onnx.parser.parse_model(f'<ir_version: 9, opset_import: ["" : 17, "acme" : 1]>\n{text}')
    proto.graph.node[0].name = "magic"

    plan = find_precision("fp16").plan_types(ir.from_proto(proto))

    assert plan.nodes["magic"].dtype == "source"
    assert plan.nodes["magic"].reason == "it is not an operator of ONNX's default domain"
