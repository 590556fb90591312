"""Small models and samples for calibrators, made here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from trtpipe.calibration.calibrators import CalibrationRequest
from trtpipe.canonical.reader import ir_model, read_skeleton
from trtpipe.precisions.quantization.places import tensors_to_scale
from trtpipe.spec.dataset import DatasetSpec

WIDTH = 12


def write_convnet(path: Path, seed: int = 0) -> Path:
    """x: N x 3 x 12 x 12 through two convolutions, a residual sum, a pool and a matrix product."""
    rng = np.random.default_rng(seed)

    def weight(name: str, *shape: int):
        return onnx.numpy_helper.from_array(rng.standard_normal(shape).astype(np.float32) * 0.2, name)

    nodes = [
        helper.make_node("Conv", ["x", "w0", "b0"], ["c0"], "conv0", pads=[1] * 4),
        helper.make_node("Relu", ["c0"], ["r0"], "relu0"),
        helper.make_node("Conv", ["r0", "w1"], ["c1"], "conv1", pads=[1] * 4),
        helper.make_node("Add", ["c1", "r0"], ["s"], "sum"),
        helper.make_node("GlobalAveragePool", ["s"], ["p"], "pool"),
        helper.make_node("Flatten", ["p"], ["f"], "flat"),
        helper.make_node("MatMul", ["f", "w2"], ["y"], "product"),
    ]
    weights = [weight("w0", 16, 3, 3, 3), weight("b0", 16), weight("w1", 16, 16, 3, 3), weight("w2", 16, 5)]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, WIDTH, WIDTH])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 5])],
        weights,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


def samples_of(count: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, 3, WIDTH, WIDTH)).astype(np.float32)


def request_for(folder: Path, samples: np.ndarray, method: str = "entropy", **more) -> CalibrationRequest:
    """The request to calibrate the small convnet on these samples; further data set fields by `data`."""
    model, file = write_convnet(folder / "model.onnx"), folder / f"x{len(list(folder.iterdir()))}.npy"
    np.save(file, samples)
    data = {"schema": 1, "npy": {"x": "x.npy"}, **more.pop("data", {})}
    tensors = tensors_to_scale(ir_model(read_skeleton(model)))
    spec = DatasetSpec.model_validate(data)
    return CalibrationRequest(model, tensors, spec, {"x.npy": file}, method, 99.9, **more)
