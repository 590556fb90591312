"""A model that was quantized where it was trained computes in half between its own Q/DQ: their scales follow."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from trtpipe.precisions import find_precision
from trtpipe.precisions.casts.files import rewrite_file


def trained(path, *, quantized=True, scale=0.03):
    """A convolution with Q/DQ before it and before its weight, opset 13."""
    rng = np.random.default_rng(0)
    values = {"w": rng.normal(size=(4, 3, 3, 3)).astype(np.float32), "s": np.float32(scale), "z": np.int8(0)}
    pairs = [
        helper.make_node(op, [one, "s", "z"], [out], f"{op}_{name}")
        for name in ("x", "w")
        for op, one, out in (
            ("QuantizeLinear", name, f"{name}q"),
            ("DequantizeLinear", f"{name}q", f"{name}d"),
        )
    ]
    reads = ["xd", "wd"] if quantized else ["x", "w"]
    nodes = [*(pairs if quantized else []), helper.make_node("Conv", reads, ["y"], "conv")]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, dims) for name, dims in
            (("x", [1, 3, 8, 8]), ("y", [1, 4, 6, 6]))]  # fmt: skip
    constants = [numpy_helper.from_array(np.asarray(value), name) for name, value in values.items()]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return path


def half(source, out):
    precision = find_precision("fp16")
    assert precision is not None
    rewritten = rewrite_file(precision, source, out)
    return rewritten, onnx.load(out)


def test_scales_become_halves_and_with_them_what_is_between(tmp_path):
    rewritten, typed = half(trained(tmp_path / "in.onnx"), tmp_path / "out.onnx")

    assert rewritten.opset == "opset 13 converted to 19"
    scales = {node.input[1] for node in typed.graph.node if node.op_type == "DequantizeLinear"}
    constants = {tensor.name: tensor.data_type for tensor in typed.graph.initializer}
    assert {constants[name] for name in scales} == {TensorProto.FLOAT16}
    assert constants["w"] == TensorProto.FLOAT16


def test_a_scale_that_half_cannot_hold_keeps_its_nodes_wide(tmp_path):
    rewritten, _ = half(trained(tmp_path / "in.onnx", scale=1e-6), tmp_path / "out.onnx")
    assert {warning.fact.split(":")[0] for warning in rewritten.report.warnings} == {
        f"node '{op}_{name}' stays in float32"
        for op in ("QuantizeLinear", "DequantizeLinear")
        for name in "xw"
    }


@pytest.mark.parametrize("name", ["fp16", "fp32"])
def test_the_opset_of_a_model_without_them_stays(tmp_path, name):
    precision = find_precision(name)
    assert precision is not None
    rewritten = rewrite_file(precision, trained(tmp_path / "in.onnx", quantized=False), tmp_path / "out.onnx")
    assert rewritten.opset == ""
