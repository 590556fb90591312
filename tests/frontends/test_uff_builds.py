"""TensorRT-RTX builds what every operation of UFF becomes, real files included, for one GPU and an open batch."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.frontends.test_uff_operations import ACTIVATION, BINARY, REDUCE, UNARY
from tests.frontends.uff_cases import const, lowered, mark, node, placeholder, written

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(
        importlib.util.find_spec("tensorrt_rtx") is None, reason="not run: needs a tensorrt_rtx wheel"
    ),
]

SHARED = Path(__file__).resolve().parents[3] / "shared" / "testdata" / "uff"
EXAMPLE = Path(__file__).resolve().parents[2] / "pipelines" / "models" / "digits.uff"

BUILD = """
import json, sys
import tensorrt_rtx as trt

class Silent(trt.ILogger):
    def __init__(self):
        trt.ILogger.__init__(self)
        self.errors = []
    def log(self, severity, message):
        if severity <= trt.ILogger.Severity.ERROR:
            self.errors.append(message)

told = {}
for path in sys.argv[1:]:
    logger = Silent()
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parsed = trt.OnnxParser(network, logger).parse(open(path, "rb").read(), path)
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, 1 << 30)
    config.num_compute_capabilities = 1
    config.set_compute_capability(trt.ComputeCapability.SM89, 0)
    profile = builder.create_optimization_profile()
    for index in range(network.num_inputs):
        tensor = network.get_input(index)
        profile.set_shape(tensor.name, *([size if size > 0 else n for size in tensor.shape] for n in (1, 2, 4)))
    config.add_optimization_profile(profile)
    built = parsed and builder.build_serialized_network(network, config) is not None
    told[path] = built or logger.errors or "build failed"
print(json.dumps(told))
"""

LAST = ["N+C", "+CK"]
X = placeholder("x", [-1, 8, 8, 4])
KERNEL = const("k", np.ones((3, 3, 4, 4), np.float32))
VECTOR = {name: const(name, np.ones(4, np.float32)) for name in "gbmv"}
INTS = [const(str(one), [one], "int32") for one in (0, 1, 2)]
FIRST = {"begin_mask": 0, "end_mask": 0, "shrink_axis_mask": 1}


def of_each(operation, funcs, *inputs, **fields):
    return [node(operation, f"y{func}", *inputs, func=func, **fields) for func in funcs]


NETS = {
    "unary": [X, *of_each("Unary", UNARY, "x")],
    "binary": [X, VECTOR["v"], *of_each("Binary", BINARY, "x", "v")],
    "activation": [X, *of_each("Activation", ACTIVATION, "x"), node("LeakyRelu", "y", "x", alpha=0.1)],
    "reduce": [X, *of_each("Reduce", REDUCE, "x", axes=[1, 2], keepdims=False)],
    "windows": [
        X, KERNEL, const("t", [-1, 16, 15, 4], "int32"),
        node("Conv", "y1", "x", "k", orders=LAST, strides=[2, 2], implicit_padding="same"),
        node("Conv", "y2", "x", "k", orders=LAST, dilation=[2, 2], implicit_padding="same"),
        node("Conv", "y3", "x", "k", orders=LAST, number_groups=4, padding=[1, 1]),
        node("ConvTranspose", "y4", "x", "k", "t", orders=["N+C", "+KC"], strides=[2, 2], implicit_padding="same"),
        *of_each("Pool", ("max", "avg"), "x", orders=["N+C"], kernel=[3, 3], strides=[2, 2], implicit_padding="same"),
    ],
    "channels": [
        X, *VECTOR.values(),
        node("BatchNorm", "y1", "x", *VECTOR, orders=["N+C"], epsilon=0.1),
        node("LRN", "y2", "x", orders=["N+C"], window_size=1, alpha=0.1, beta=0.75, k=1.0),
        node("Softmax", "y3", "x", orders=["N+C"], axis=0),
    ],
    "axes": [
        X, const("p", [[0, 0], [1, 2], [0, 1], [0, 0]], "int32"), const("i", [2, 0], "int32"),
        node("ArgMax", "y1", "x", axis=3), node("ArgMin", "y2", "x", axis=1),
        node("Concat", "y3", "x", "x", axis=-1), node("Stack", "y4", "x", "x", axis=1), node("Pad", "y5", "x", "p"),
        node("GatherV2", "y6", "x", "i", axis=-1),
    ],
    "gather": [
        placeholder("x", [-1, 3], "int32"), const("t", np.ones((9, 4), np.float32)), node("Gather", "y", "t", "x")
    ],
    "shaping": [
        X, *INTS, const("256", 256, "int32"), node("Shape", "s", "x"),
        node("ExpandDims", "e", "x", axis=1), node("Squeeze", "y1", "e", axes=[1]), node("Flatten", "y2", "x"),
        node("Transpose", "y3", "x", permutation=[0, 3, 1, 2]),
        node("StridedSlice", "n", "s", "0", "1", "1", **FIRST), node("Stack", "ns", "n", "256", axis=0),
        node("Reshape", "y4", "x", "ns"),
        node("StridedSlice", "y5", "x", "1", "2", "1", begin_mask=1, end_mask=1, shrink_axis_mask=0),
        const("b", [0, 1, 0], "int32"), const("f", [0, -1, 8], "int32"), const("two", [1, 2, 1], "int32"),
        node("StridedSlice", "y6", "x", "b", "f", "two", begin_mask=1, end_mask=1, shrink_axis_mask=4),
        node("Identity", "y7", "x"),
    ],
}  # fmt: skip


def built(path: Path) -> object:
    done = subprocess.run(
        [sys.executable, "-c", BUILD, str(path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)[str(path)]


@pytest.mark.parametrize("name", NETS)
def test_every_operation_builds(tmp_path, name):
    outputs = [one.id for one in NETS[name] if one.id.startswith("y")]
    lowered(written(tmp_path, [*mark(*outputs), *NETS[name]]), tmp_path / "model.onnx")

    assert built(tmp_path / "model.onnx") is True


@pytest.mark.parametrize("name", ["ppo_policy", "own_conv_nhwc"])
def test_real_files_build(tmp_path, name):
    path = SHARED / f"{name}.uff"
    if not path.exists():
        pytest.skip("no UFF files in ../shared/testdata")
    lowered(path, tmp_path / "model.onnx")

    assert built(tmp_path / "model.onnx") is True


def test_the_example_builds(tmp_path):
    lowered(EXAMPLE, tmp_path / "model.onnx")

    assert built(tmp_path / "model.onnx") is True
