"""The smallest models that have a problem, as bytes."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Dims = Sequence[object]


def net(
    nodes: Sequence[onnx.NodeProto],
    inputs: Mapping[str, Dims],
    outputs: Mapping[str, Dims],
    weights: Mapping[str, np.ndarray] | None = None,
    types: Mapping[str, int] | None = None,
    opset: int = 17,
) -> bytes:
    """A model; tensors are float32 unless `types` says otherwise."""
    types = types or {}

    def infos(given: Mapping[str, Dims]) -> list[onnx.ValueInfoProto]:
        return [
            helper.make_tensor_value_info(name, types.get(name, TensorProto.FLOAT), dims)
            for name, dims in given.items()
        ]

    stored = [numpy_helper.from_array(value, name) for name, value in (weights or {}).items()]
    graph = helper.make_graph(list(nodes), "net", infos(inputs), infos(outputs), stored)
    opsets = [helper.make_opsetid("", opset)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString()


def node(op: str, inputs: Sequence[str], outputs: Sequence[str], name: str = "", **attributes: object):
    return helper.make_node(op, inputs, outputs, name=name or op.lower(), **attributes)


def relu(*dims: object) -> Callable[[], bytes]:
    """One Relu, from x to y."""
    return partial(net, [node("Relu", ["x"], ["y"])], {"x": dims}, {"y": dims})


def classifier() -> bytes:
    """A product and a softmax: something to quantize, to keep and to name."""
    weight = np.linspace(-1, 1, 64 * 64, dtype=np.float32).reshape(64, 64)
    nodes = [
        node("MatMul", ["x", "w"], ["features"], "/body/matmul"),
        node("Relu", ["features"], ["hidden"], "/body/relu"),
        node("Softmax", ["hidden"], ["y"], "/head/softmax", axis=-1),
    ]
    return net(nodes, {"x": [4, 64]}, {"y": [4, 64]}, {"w": weight})


def recorded() -> bytes:
    """Outputs that were recorded of `relu(1, 3)`."""
    stream = io.BytesIO()
    x = np.zeros((1, 3), np.float32)
    np.savez(stream, **{"in:x": x, "out:y": x})
    return stream.getvalue()


def _npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def samples() -> bytes:
    """Eight samples for the classifier, as .npy."""
    return _npy(np.random.default_rng(0).standard_normal((8, 64), dtype=np.float32))


def rows() -> bytes:
    """Two samples for `relu(1, 3)`."""
    return _npy(np.array([[1, 2, 3], [4, 5, 6]], np.float32))


def labels() -> bytes:
    """Their classes."""
    return _npy(np.arange(8, dtype=np.int64))


def gather() -> bytes:
    """Rows of a table, picked by the integers `i`."""
    nodes = [node("Gather", ["w", "i"], ["y"], "/table/pick")]
    weight = np.ones((5, 2), np.float32)
    return net(nodes, {"i": [3]}, {"y": [3, 2]}, {"w": weight}, {"i": TensorProto.INT64})
