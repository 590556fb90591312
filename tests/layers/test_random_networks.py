"""Random small networks: valid ONNX that yields what NumPy does, and the same bytes every time."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.layers import numpy_layers as ref
from tests.layers.declared_networks import lowered, run
from trtpipe.spec.network.network import NetworkOptions

BATCH = 2


@dataclass
class Draft:
    """A network in the making, evaluated as it grows. Values stay small, so that errors do not grow with depth."""

    seed: int
    layers: list[dict[str, Any]] = field(default_factory=list)
    weights: dict[str, np.ndarray] = field(default_factory=dict)
    values: dict[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.random = np.random.default_rng(self.seed)

    def add(self, kind: str, inputs: dict[str, Any], value: np.ndarray, **attributes: Any) -> None:
        name = f"t{len(self.layers)}"
        self.layers.append({"layer": kind, "name": name, **inputs, **attributes})
        self.values[name] = value

    def held(self, *shape: int) -> tuple[str, np.ndarray]:
        name = f"w{len(self.weights)}"
        self.weights[name] = self.random.uniform(-0.5, 0.5, shape).astype(np.float32)
        return name, self.weights[name]


Step = Callable[[Draft, Any, str], bool]
"""Adds a layer that reads the tensor, when it can read it."""


def activation(draft: Draft, data: Any, name: str) -> bool:
    kinds = {
        "relu": lambda v: np.maximum(v, 0),
        "tanh": np.tanh,
        "sigmoid": ref.sigmoid,
        "softsign": lambda v: v / (1 + abs(v)),
    }
    kind = data.draw(st.sampled_from(sorted(kinds)))
    draft.add("activation", {"input": name}, kinds[kind](draft.values[name]), type=kind)
    return True


def convolution(draft: Draft, data: Any, name: str) -> bool:
    x = draft.values[name]
    axes = x.ndim - 2
    if axes not in (1, 2):
        return False
    kernel = [data.draw(st.integers(1, min(3, size))) for size in x.shape[2:]]
    stride = [data.draw(st.integers(1, 2)) for _ in kernel]
    pads = [data.draw(st.integers(0, 1)) for _ in range(2 * axes)]
    maps = data.draw(st.integers(1, 4))
    weights, array = draft.held(maps, x.shape[1], *kernel)
    draft.add("convolution", {"input": name}, ref.convolution(x, array, None, stride, pads), num_output_maps=maps,
              kernel_size=kernel, kernel=weights, stride=stride, pre_padding=pads[:axes],
              post_padding=pads[axes:])  # fmt: skip
    return True


def pooling(draft: Draft, data: Any, name: str) -> bool:
    x = draft.values[name]
    if x.ndim not in (4, 5):
        return False
    window = [data.draw(st.integers(1, min(3, size))) for size in x.shape[2:]]
    kind = data.draw(st.sampled_from(["max", "average"]))
    draft.add("pooling", {"input": name}, ref.pooling(x, kind, window), type=kind, window_size=window)
    return True


def elementwise(draft: Draft, data: Any, name: str) -> bool:
    x = draft.values[name]
    fits = [other for other, y in draft.values.items() if _broadcast(x.shape, y.shape)]
    other = data.draw(st.sampled_from(fits))
    ops = {"sum": np.add, "prod": np.multiply, "max": np.maximum, "min": np.minimum, "sub": np.subtract}
    op = data.draw(st.sampled_from(sorted(ops)))
    draft.add("elementwise", {"inputs": [name, other]}, ops[op](x, draft.values[other]), op=op)
    return True


def _broadcast(one: tuple[int, ...], other: tuple[int, ...]) -> bool:
    try:
        return (
            len(np.broadcast_shapes(one, other)) == len(one) and np.broadcast_shapes(one, other)[0] == BATCH
        )
    except ValueError:
        return False


def reduce(draft: Draft, data: Any, name: str) -> bool:
    x = draft.values[name]
    if x.ndim < 3:
        return False
    axis = data.draw(st.integers(1, x.ndim - 1))
    keep = data.draw(st.booleans())
    negative = data.draw(st.booleans())
    draft.add("reduce", {"input": name}, x.mean(axis=axis, keepdims=keep), op="avg",
              axes=[axis - x.ndim if negative else axis], keep_dims=keep)  # fmt: skip
    return True


def transpose(draft: Draft, data: Any, name: str) -> bool:
    x = draft.values[name]
    order = [0, *data.draw(st.permutations(range(1, x.ndim)))]
    draft.add("shuffle", {"input": name}, x.transpose(order), first_transpose=order)
    return True


def flatten(draft: Draft, data: Any, name: str) -> bool:
    x = draft.values[name]
    draft.add("shuffle", {"input": name}, x.reshape(BATCH, -1), reshape_dims=[0, -1])
    return True


def concatenation(draft: Draft, data: Any, name: str) -> bool:
    x = draft.values[name]
    if x.ndim < 2:
        return False
    axis = data.draw(st.integers(1, x.ndim - 1))
    rest = np.delete(x.shape, axis).tolist()
    same_rank = [(other, y) for other, y in draft.values.items() if y.ndim == x.ndim]
    alike = [other for other, y in same_rank if np.delete(y.shape, axis).tolist() == rest]
    other = data.draw(st.sampled_from(alike))
    draft.add(
        "concatenation", {"inputs": [name, other]}, np.concatenate([x, draft.values[other]], axis), axis=axis
    )
    return True


def slice_(draft: Draft, data: Any, name: str) -> bool:
    x = draft.values[name]
    if x.ndim < 2:
        return False
    axis = data.draw(st.integers(1, x.ndim - 1))
    start = data.draw(st.integers(0, x.shape[axis] - 1))
    step = data.draw(st.sampled_from([-2, -1, 1, 2]))
    most = (x.shape[axis] - 1 - start if step > 0 else start) // abs(step) + 1
    size = data.draw(st.integers(1, most))
    picked = np.take(x, [start + i * step for i in range(size)], axis=axis)
    draft.add("slice", {"input": name}, picked, axes=[axis], start=[start], shape=[size], stride=[step])
    return True


def fully_connected(draft: Draft, data: Any, name: str) -> bool:
    x = draft.values[name]
    if x.ndim != 2:
        return False
    count = data.draw(st.integers(1, 4))
    weights, array = draft.held(count, x.shape[1])
    draft.add("fully_connected", {"input": name}, x @ array.T, num_outputs=count, kernel=weights)
    return True


def softmax(draft: Draft, data: Any, name: str) -> bool:
    x = draft.values[name]
    if x.ndim < 2:
        return False
    axis = data.draw(st.integers(1, x.ndim - 1))
    draft.add("softmax", {"input": name}, ref.softmax(x, axis), axes=[axis])
    return True


STEPS: list[Step] = [
    activation, convolution, pooling, elementwise, reduce, transpose, flatten, concatenation, slice_, fully_connected,
    softmax,
]  # fmt: skip


@st.composite
def drafts(draw: Any) -> Draft:
    data = draw(st.data())
    draft = Draft(draw(st.integers(0, 2**16)))
    shape = draw(st.lists(st.integers(1, 6), min_size=1, max_size=4))
    draft.values["x"] = draft.random.uniform(-1, 1, (BATCH, *shape)).astype(np.float32)
    for step in draw(st.lists(st.sampled_from(STEPS), min_size=1, max_size=7)):
        step(draft, data, draw(st.sampled_from(sorted(draft.values))))
    if not draft.layers:
        activation(draft, data, "x")
    return draft


def options_of(draft: Draft, batch: Any) -> NetworkOptions:
    inputs = {"x": {"shape": [batch, *draft.values["x"].shape[1:]]}}
    written = {"inputs": inputs, "layers": draft.layers, "outputs": [layer["name"] for layer in draft.layers]}
    return NetworkOptions.model_validate(written | ({"weights": "w.npz"} if draft.weights else {}))


@settings(max_examples=60)
@given(drafts(), st.sampled_from([BATCH, -1, "batch"]))
def test_a_random_network_yields_what_numpy_does_and_the_same_bytes(draft, batch):
    options = options_of(draft, batch)
    made = []
    for _ in range(2):
        with tempfile.TemporaryDirectory() as folder:
            path = lowered(options, draft.weights, Path(folder))
            made.append(path.read_bytes())
            found = run(path, {"x": draft.values["x"]})
            onnx.checker.check_model(onnx.load(path), full_check=True)

    assert made[0] == made[1]
    for layer, actual in zip(draft.layers, found, strict=True):
        expected = draft.values[layer["name"]]
        assert actual.shape == expected.shape
        np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)
