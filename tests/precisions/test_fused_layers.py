"""Layers that are quantized compute on narrow tensors in TensorRT's engines: nothing is dequantized before them."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys

import numpy as np
import onnx_ir as ir
import pytest

from tests.precisions.engine_program import kernels_of
from tests.precisions.precision_graphs import model_of
from trtpipe.precisions import Choices, find_precision
from trtpipe.precisions.quantization.places import tensors_to_scale

pytestmark = pytest.mark.engine

BUILD = """
import json, sys
import tensorrt_rtx as trt

if not trt.__version__.startswith("1.7."):
    print(json.dumps(None))
    sys.exit()

class Silent(trt.ILogger):
    def __init__(self):
        trt.ILogger.__init__(self)
    def log(self, severity, message):
        pass

logger = Silent()
for path, sm in json.load(sys.stdin):
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    network.name = "fused"
    assert trt.OnnxParser(network, logger).parse_from_file(path)
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, 1 << 30)
    config.num_compute_capabilities = 1
    config.set_compute_capability(getattr(trt.ComputeCapability, sm.upper()), 0)
    open(path + ".plan", "wb").write(bytes(builder.build_serialized_network(network, config)))
print(json.dumps(True))
"""

CONV, FC = "corrltn", "fully_connected"
SQUARE, KERNEL = (64, 64), (32, 32, 3, 3)
GRAPHS = {
    "conv": (
        "g (float[1,32,8,8] x) => (float[1,32,6,6] y) { y = Conv(x, w, b) }",
        {"w": KERNEL, "b": (32,)},
        1,
    ),
    "depthwise": (
        "g (float[1,32,8,8] x) => (float[1,32,6,6] y) { y = Conv<group=32>(x, w) }",
        {"w": (32, 1, 3, 3)},
        1,
    ),
    "grouped": (
        "g (float[1,32,8,8] x) => (float[1,32,6,6] y) { y = Conv<group=4>(x, w) }",
        {"w": (32, 8, 3, 3)},
        1,
    ),
    "conv1d": ("g (float[1,32,64] x) => (float[1,32,62] y) { y = Conv(x, w) }", {"w": (32, 32, 3)}, 1),
    "conv3d": (
        "g (float[1,16,8,8,8] x) => (float[1,16,6,6,6] y) { y = Conv(x, w) }",
        {"w": (16, 16, 3, 3, 3)},
        1,
    ),
    "maxpool": (
        """g (float[1,32,16,16] x) => (float[1,32,8,8] y) { a = Conv<pads=[1,1,1,1]>(x, w)  b = Relu(a)
        c = MaxPool<kernel_shape=[2,2], strides=[2,2]>(b)  y = Conv<pads=[1,1,1,1]>(c, w) }""",
        {"w": KERNEL},
        2,
    ),
    "concat": (
        """g (float[1,32,8,8] x) => (float[1,32,8,8] y) { a = Conv<pads=[1,1,1,1]>(x, w)  b = Relu(a)
        c = Conv<pads=[1,1,1,1]>(b, w)  d = Relu(c)  e = Concat<axis=1>(b, d)  y = Conv(e, v) }""",
        {"w": KERNEL, "v": (32, 64, 1, 1)},
        3,
    ),
    "residual": (
        """g (float[1,32,8,8] x) => (float[1,32,8,8] y) { s = Relu(x)  a = Conv<pads=[1,1,1,1]>(s, w)  b = Relu(a)
        c = Conv<pads=[1,1,1,1]>(b, w)  d = Add(c, s)  e = Relu(d)  y = Conv<pads=[1,1,1,1]>(e, w) }""",
        {"w": KERNEL},
        3,
    ),
    "gemm": (
        "g (float[32,64] x) => (float[32,64] y) { a = Gemm<transB=1>(x, w, b)  y = Gemm(a, w, b) }",
        {"w": SQUARE, "b": (64,)},
        2,
    ),
    "product": ("g (float[2,32,64] x) => (float[2,32,64] y) { y = MatMul(x, w) }", {"w": SQUARE}, 1),
    "batched": ("g (float[2,32,64] x) => (float[2,32,64] y) { y = MatMul(x, w) }", {"w": (2, 64, 64)}, 1),
    "left": ("g (float[2,64,32] x) => (float[2,64,32] y) { y = MatMul(w, x) }", {"w": SQUARE}, 1),
    "shared": (
        "g (float[32,64] x) => (float[32,64] y) { a = MatMul(x, w)  b = Relu(a)  y = MatMul(b, w) }",
        {"w": SQUARE},
        2,
    ),
    "transposed": (
        "g (float[2,32,64] x) => (float[2,32,64] y) { t = Transpose<perm=[1,0]>(w)  y = MatMul(x, t) }",
        {"w": SQUARE},
        1,
    ),
    "mlp": (
        """g (float[2,32,64] x) => (float[2,32,64] y) { n = LayerNormalization<axis=-1>(x, s, b)  a = MatMul(n, w)
        h = Add(a, b)  r = Relu(h)  m = MatMul(r, w)  o = Add(m, b)  y = Add(o, x) }""",
        {"w": SQUARE, "s": (64,), "b": (64,)},
        2,
    ),
}
ATTENTION = """g (float[2,4,64,32] q, float[2,4,64,32] k, float[2,4,64,32] v) => (float[2,4,64,32] y) {
    t = Transpose<perm=[0,1,3,2]>(k)  s = MatMul(q, t)  p = Softmax<axis=-1>(s)  y = MatMul(p, v) }"""
FP8 = ("conv", "depthwise", "residual", "gemm", "product", "mlp")
NVFP4 = ("gemm", "product", "shared", "transposed")


def typed(text, precision, shapes):
    rng = np.random.default_rng(0)
    weights = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    found = find_precision(precision)
    proto = ir.to_proto(model_of(text, opset=21, **weights))
    found.prepare(proto)
    model = ir.from_proto(proto)
    amax = dict.fromkeys(tensors_to_scale(ir.from_proto(proto)), 4.0)
    found.rewrite(model, found.plan_types(model, choices=Choices(amax=amax)))
    return ir.to_proto(model).SerializeToString()


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    """(graph, precision) → the kernels of its engine."""
    if importlib.util.find_spec("tensorrt_rtx") is None:
        pytest.skip("needs the tensorrt_rtx wheel")
    wanted = [*((name, "int8", "sm86") for name in GRAPHS), *((name, "fp8", "sm89") for name in FP8)]
    wanted += [*((name, "nvfp4", "sm120") for name in NVFP4), ("attention", "int8", "sm89")]
    wanted += [("attention", "fp8", "sm89")]
    folder, asked = tmp_path_factory.mktemp("fused"), []
    for name, precision, sm in wanted:
        text, shapes, _ = (ATTENTION, {}, 0) if name == "attention" else GRAPHS[name]
        path = folder / f"{name}-{precision}.onnx"
        path.write_bytes(typed(text, precision, shapes))
        asked.append((str(path), sm))
    done = subprocess.run(
        [sys.executable, "-c", BUILD], input=json.dumps(asked), capture_output=True, text=True, check=True
    )
    if json.loads(done.stdout) is None:
        pytest.skip("the program of other versions is written otherwise")
    plans = (folder / f"{name}-{precision}.onnx.plan" for name, precision, _ in wanted)
    return {
        (name, precision): kernels_of(plan.read_bytes())
        for (name, precision, _), plan in zip(wanted, plans, strict=True)
    }


@pytest.mark.parametrize(
    ("names", "precision", "dtype"),
    [(tuple(GRAPHS), "int8", "int8"), (FP8, "fp8", "fp8_e4m3"), (NVFP4, "nvfp4", "fp4_e2m1")],
    ids=["int8", "fp8", "nvfp4"],
)
def test_products_read_narrow_operands(programs, names, precision, dtype):
    told = {}
    for name in names:
        products = [one for one in programs[name, precision] if one.kind in (CONV, FC)]
        told[name] = [one.reads[:2] for one in products]
        assert len(products) == GRAPHS[name][2], (name, programs[name, precision])

    wide = {name: reads for name, reads in told.items() if any(set(one) - {dtype, "?"} for one in reads)}
    assert wide == {}
    assert all(dtype in one for reads in told.values() for one in reads)


def test_attention_stays_one_kernel(programs):
    """In fp8 on narrow tensors; in int8 there is no such kernel, so it is left in half."""
    for precision, dtype in (("int8", "half"), ("fp8", "fp8_e4m3")):
        (fused,) = [one for one in programs["attention", precision] if "mha" in one.name]
        assert fused.reads[:3] == (dtype,) * 3
        assert not [one for one in programs["attention", precision] if one.kind == FC]


def test_pooling_works_on_what_the_next_convolution_reads(programs):
    (pool,) = [one for one in programs["maxpool", "int8"] if one.kind == "maxpool"]

    assert pool.reads[0] == "int8"


def test_the_shortcut_of_a_residual_block_is_read_narrow(programs):
    adds = [one for one in programs["residual", "int8"] if "Add" in one.name]

    assert any("int8" in one.reads for one in adds)
