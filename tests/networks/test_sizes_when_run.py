"""Networks whose sizes are known only when they run, and constants that hold nothing, are read in full."""

from __future__ import annotations

import numpy as np
import pytest

from tests.networks.kind_models import const, lone, model, node, value, weights
from tests.networks.parsed_models import needs_rtx, parsed

pytestmark = [needs_rtx, pytest.mark.engine]

FREE = ("a", "b", "c", "d")


def grouped_attention():
    """Two heads of keys and values for four of queries, and neither number known."""
    inputs = [value(name, tuple(f"{name}{axis}" for axis in range(4))) for name in "qkv"]
    return model([node("Attention", "q k v", "y", is_causal=1)], inputs, [value("y", None)], (), 23)


def computed_kernel():
    """A convolution whose kernel is computed, of an input of any size."""
    nodes = [node("Add", "w one", "k"), node("Conv", "x k", "y")]
    constants = [weights("w", 6, 4, 3, 3), const("one", 1.0, np.float32)]
    return model(nodes, [value("x", FREE)], [value("y", None)], constants)


def normalized():
    """Batch normalization of an input of any size."""
    constants = [weights(name, 4) for name in ("s", "b", "m")]
    constants.append(const("v", [1.0, 2.0, 0.5, 1.5], np.float32))
    return lone("BatchNormalization", "x s b m v", constants, FREE)


def rounded_up_pool():
    """An average over windows that reach over the end of an input of any size."""
    attributes = {"kernel_shape": [3, 2], "strides": [2, 2], "ceil_mode": 1, "pads": [1, 0, 0, 0]}
    return lone("AveragePool", shape=FREE, opset=19, **attributes)


def joined_with_nothing():
    """A constant without elements."""
    return lone("Concat", "x e", [const("e", np.zeros((2, 0)), np.float32)], (2, 3), axis=1)


def feed(**shapes):
    rng = np.random.default_rng(3)
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


MODELS = {
    "heads of attention": (grouped_attention, feed(q=(2, 4, 3, 8), k=(2, 2, 5, 8), v=(2, 2, 5, 6))),
    "channels of a convolution": (computed_kernel, feed(x=(1, 4, 6, 5))),
    "channels of a normalization": (normalized, feed(x=(2, 4, 3, 3))),
    "sides of a rounded-up pool": (rounded_up_pool, feed(x=(1, 2, 8, 7))),
    "a constant without elements": (joined_with_nothing, feed(x=(2, 3))),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_network_is_read_in_full_and_equal(tmp_path, name):
    build, data = MODELS[name]

    read = parsed(build(), tmp_path, [data]).compared()

    assert read.share == 1.0
    assert read.contradictions == ()
    assert read.equal, (read.outputs, read.not_compared)
