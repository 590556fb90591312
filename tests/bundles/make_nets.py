"""Makes the example of a bundle: a detector, a classifier and a recogniser of digits, and data to try them on.

`python -m tests.bundles.make_nets` writes the models and the data of `tests/bundles/project` from the digits in
`calibration/digits`. Nothing is trained step by step: filters are drawn from a fixed seed, and the last layer of each
net is a ridge regression in closed form, so it takes a second.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

ROOT = Path(__file__).resolve().parents[2]
PROJECT = Path(__file__).parent / "project"
FILTERS = 24
SAMPLES = 96
Array = NDArray[Any]


def main() -> None:
    """Write the three models and the data."""
    digits = np.load(ROOT / "calibration" / "digits" / "calib.npz")
    tried = np.load(ROOT / "calibration" / "digits" / "val.npz")
    images, labels = digits["image"].astype(np.float32), digits["label"].astype(np.int64)
    kernels = np.random.default_rng(7).normal(0, 0.4, (FILTERS, 1, 3, 3)).astype(np.float32)
    models = PROJECT / "pipelines" / "models"
    onnx.save(detector(), models / "detector.onnx")
    onnx.save(classifier(kernels, crops(images)), models / "classifier.onnx")
    onnx.save(recogniser(kernels, crops(images), labels), models / "recogniser.onnx")
    shown = tried["image"].astype(np.float32)[:SAMPLES]
    prior = np.tile(np.array([[1.0, 0.0]], np.float16), (SAMPLES, 1, 1))
    np.savez_compressed(
        PROJECT / "calibration" / "ocr.npz",
        image=shown, crop=crops(shown), prior=prior, label=tried["label"][:SAMPLES],
    )  # fmt: skip


def crops(images: Array) -> Array:
    """What the detector makes of images: everything darker than the brightest stroke is dimmed."""
    return (images / (1 + np.exp(6.0 - 16.0 * images))).astype(np.float32)


def features(kernels: Array, images: Array) -> Array:
    """The nets' features, as ONNX computes them: convolution, ReLU, 2 x 2 mean."""
    padded = np.pad(images[:, 0], ((0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))
    found = np.maximum(np.einsum("nhwij,kij->nkhw", windows, kernels[:, 0]), 0)
    count, channels = found.shape[:2]
    return found.reshape(count, channels, 4, 2, 4, 2).mean(axis=(3, 5)).reshape(count, -1)


def ridge(inputs: Array, wanted: Array, strength: float = 0.02) -> tuple[Array, Array]:
    """Weights and bias of the linear map that fits best."""
    mean = inputs.mean(axis=0)
    centred = (inputs - mean).astype(np.float64)
    gram = centred.T @ centred + strength * np.eye(inputs.shape[1])
    weights = np.linalg.solve(gram, centred.T @ (wanted - wanted.mean(axis=0)))
    bias = wanted.mean(axis=0) - mean @ weights
    return weights.astype(np.float32), bias.astype(np.float32)


def detector() -> onnx.ModelProto:
    """Image → crop (the image with its background dimmed) and score (how much ink there is)."""
    nodes = [
        helper.make_node("Mul", ["image", "steep"], ["steeper"], "/gate/mul"),
        helper.make_node("Sub", ["steeper", "middle"], ["raised"], "/gate/sub"),
        helper.make_node("Sigmoid", ["raised"], ["gate"], "/gate/sigmoid"),
        helper.make_node("Mul", ["image", "gate"], ["crop"], "/crop"),
        helper.make_node("Conv", ["crop", "ink"], ["map"], "/score/conv", strides=[8, 8]),
        helper.make_node("Flatten", ["map"], ["score"], "/score/flatten"),
    ]
    ink = np.full((1, 1, 8, 8), 1 / 64, np.float32)
    weights = {"steep": np.array(16.0, np.float32), "middle": np.array(6.0, np.float32), "ink": ink}
    inputs = [tensor("image", TensorProto.FLOAT, ["n", 1, 8, 8])]
    outputs = [
        tensor("crop", TensorProto.FLOAT, ["n", 1, 8, 8]),
        tensor("score", TensorProto.FLOAT, ["n", 1]),
    ]
    return model("detector", nodes, weights, inputs, outputs)


def classifier(kernels: Array, images: Array) -> onnx.ModelProto:
    """Crop → probs: whether the digit stands upright or upside down."""
    both = np.concatenate([images, images[:, :, ::-1, ::-1]])
    wanted = np.repeat(np.eye(2), len(images), axis=0)
    weights, bias = ridge(features(kernels, both), 4 * wanted)
    nodes = [
        *backbone("crop"),
        gemm("flat", "raw"),
        helper.make_node("Softmax", ["raw"], ["probs"], "/softmax", axis=1),
    ]
    inputs = [tensor("crop", TensorProto.FLOAT, ["n", 1, 8, 8])]
    outputs = [tensor("probs", TensorProto.FLOAT, ["n", 2])]
    return model("classifier", nodes, {"k": kernels, "w": weights, "b": bias}, inputs, outputs)


def recogniser(kernels: Array, images: Array, labels: Array) -> onnx.ModelProto:
    """Crop and prior (the two probabilities, in half precision) → logits of ten digits; unlikely ones are damped."""
    weights, bias = ridge(features(kernels, images), 8 * np.eye(10)[labels])
    nodes = [
        *backbone("x"),
        gemm("flat", "raw"),
        helper.make_node("Cast", ["prior"], ["wide"], "/prior/cast", to=TensorProto.FLOAT),
        helper.make_node("ReduceMax", ["wide"], ["surest"], "/prior/max", axes=[1, 2], keepdims=0),
        helper.make_node("Unsqueeze", ["surest", "last"], ["column"], "/prior/column"),
        helper.make_node("Mul", ["raw", "column"], ["logits"], "/logits"),
    ]
    inputs = [
        tensor("x", TensorProto.FLOAT, ["n", 1, 8, 8]),
        tensor("prior", TensorProto.FLOAT16, ["n", 1, 2]),
    ]
    outputs = [tensor("logits", TensorProto.FLOAT, ["n", 10])]
    return model(
        "recogniser", nodes, {"k": kernels, "w": weights, "b": bias, "last": np.array([1])}, inputs, outputs
    )


def backbone(given: str) -> list[onnx.NodeProto]:
    """The layers that `features` mirrors."""
    return [
        helper.make_node("Conv", [given, "k"], ["seen"], "/features/conv", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["seen"], ["kept"], "/features/relu"),
        helper.make_node(
            "AveragePool", ["kept"], ["mean"], "/features/mean", kernel_shape=[2, 2], strides=[2, 2]
        ),
        helper.make_node("Flatten", ["mean"], ["flat"], "/features/flatten"),
    ]


def gemm(given: str, made: str) -> onnx.NodeProto:
    """The last layer."""
    return helper.make_node("Gemm", [given, "w", "b"], [made], "/head")


def tensor(name: str, kind: int, shape: list[str | int]) -> onnx.ValueInfoProto:
    """An input or output."""
    return helper.make_tensor_value_info(name, kind, shape)


def model(
    name: str,
    nodes: list[onnx.NodeProto],
    weights: dict[str, Array],
    inputs: list[onnx.ValueInfoProto],
    outputs: list[onnx.ValueInfoProto],
) -> onnx.ModelProto:
    """A model with these nodes."""
    held = [numpy_helper.from_array(np.ascontiguousarray(array), key) for key, array in weights.items()]
    graph = helper.make_graph(nodes, name, inputs, outputs, held)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(made, full_check=True)
    return made


if __name__ == "__main__":
    main()
