"""What ONNX Runtime cannot load or run is told by the user's node, its reason shortened."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from trtpipe.errors import ModelError, StepFailed
from trtpipe.runners.cpu.failing_nodes import shortened
from trtpipe.runners.cpu.onnxruntime import open_runner

FLOAT, INT8 = TensorProto.FLOAT, TensorProto.INT8


def saved(folder: Path, nodes, dims, weights=(), out=None) -> Path:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", FLOAT, dims)],
        [helper.make_tensor_value_info("y", FLOAT, out)],
        [numpy_helper.from_array(value, name) for name, value in weights],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(made, folder / "net.onnx")
    return folder / "net.onnx"


def test_a_kernel_that_refuses_its_attributes_is_told_by_its_node(tmp_path):
    """ONNX Runtime itself names none."""
    nodes = [
        helper.make_node("Relu", ["x"], ["r"], "/stem/relu"),
        helper.make_node("Resize", ["r", "", "s"], ["y"], "/up/resize", mode="cubic"),
    ]
    path = saved(tmp_path, nodes, [1, 1, 4], [("s", np.float32([1, 1, 2]))], [1, 1, 8])

    with pytest.raises(ModelError) as caught, open_runner(path):
        pass

    said = str(caught.value)
    assert said.startswith(
        "ONNX Runtime cannot run node '/up/resize' (Resize) of 'net.onnx': 'Cubic' mode only supports"
    )
    assert "onnxruntime_src" not in said
    assert len(said) < 500


def test_a_quantizer_of_trtpipes_is_told_by_the_node_that_it_serves(tmp_path):
    """Its scale has another length than its axis: the runtime finds out when it runs."""
    scale, zero = np.ones(5, np.float32), np.zeros(5, np.int8)
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["x_q"], "x/quantize", axis=1),
        helper.make_node("DequantizeLinear", ["x_q", "s", "z"], ["x_dequantized"], "x/dequantize", axis=1),
        helper.make_node("Relu", ["x_dequantized"], ["y"], "/body/relu"),
    ]
    path = saved(tmp_path, nodes, [2, "n"], [("s", scale), ("z", zero)], [2, "n"])

    with pytest.raises(StepFailed) as caught, open_runner(path) as runner:
        runner.infer({"x": np.zeros((2, 3), np.float32)})

    said = str(caught.value)
    assert said.startswith(
        "ONNX Runtime cannot run the quantization of 'x' before node '/body/relu' of 'net.onnx'"
    )
    assert "x/quantize" not in said


@pytest.mark.parametrize(
    ("said", "short"),
    [
        ("[ONNXRuntimeError] : 1 : FAIL : Load model from x failed:bad thing", "bad thing"),
        (
            "[ONNXRuntimeError] : 1 : FAIL : Exception during initialization: /onnxruntime_src/a/b.h:3 "
            "onnxruntime::B::B(const Info&) [with Info = int] [ONNXRuntimeError] : 1 : FAIL : b.h:9 Check bad axes",
            "bad axes",
        ),
        (
            "while running Add node. Name:'a' Status Message: /x/y.h:5 void f(int) sizes differ",
            "sizes differ",
        ),
        ("something else", "something else"),
    ],
)
def test_places_in_its_source_are_left_out(said, short):
    assert shortened(said).endswith(short)
    assert len(shortened(said)) <= len(short) + 12
