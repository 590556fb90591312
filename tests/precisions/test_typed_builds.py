"""Strongly typed TensorRT takes what the rewrite makes: nothing is left with mixed types."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys

import numpy as np
import pytest

from tests.precisions.precision_graphs import model_of, rewritten

pytestmark = pytest.mark.engine

PARSE = """
import json, sys
import tensorrt_rtx as trt

class Silent(trt.ILogger):
    def __init__(self):
        trt.ILogger.__init__(self)
    def log(self, severity, message):
        pass

logger = Silent()
told = {}
for path in sys.argv[1:]:
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    parsed = parser.parse(open(path, "rb").read())
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, 1 << 30)
    config.num_compute_capabilities = 1
    config.set_compute_capability(trt.ComputeCapability.SM86, 0)
    network.name = "test"
    built = parsed and builder.build_serialized_network(network, config) is not None
    told[path] = built or [parser.get_error(i).desc() for i in range(parser.num_errors)] or "build failed"
print(json.dumps(told))
"""

ONES = np.ones(2, np.float32)
MODELS = {
    "mixed by keep": ("g (float[2,2] x) => (float[2,2] y) { a = MatMul(x, w)  b = Softmax(a)  y = Add(b, a) }",
                      {"w": np.eye(2, dtype=np.float32)}),
    "resize": ("g (float[1,1,4,4] x) => (float[1,1,8,8] y) { e = Exp(x)  y = Resize<mode=\"linear\">(e, , s) }",
               {"s": np.array([1, 1, 2, 2], np.float32)}),
    "pow": ("g (float[2] x) => (float[2] y) { y = Pow(x, e) }", {"e": np.float32(2)}),
    "clip": ("g (float[2] x) => (float[2] y) { y = Clip(x, a, b) }", {"a": np.float32(0), "b": np.float32(6)}),
    "batch normalization": ("g (float[1,2,3,3] x) => (float[1,2,3,3] y) { y = BatchNormalization(x, s, b, m, v) }",
                            dict.fromkeys("sbmv", ONES)),
    "weight out of range": ("g (float[2] x) => (float[2] y) { a = Exp(x)  b = Add(a, c)  y = Sin(b) }",
                            {"c": np.float32(1e5)}),
    "concat": ("g (float[2] x) => (float[6] y) { a = Exp(x)  y = Concat<axis=0>(a, w, x) }", {"w": ONES}),
    "old quantize": ("""g (float[1,2,4,4] x) => (float[1,2,4,4] y) {
        e = Exp(x)  q = QuantizeLinear(e, s, z)  d = DequantizeLinear(q, s, z)  y = Sin(d) }""",
                     {"s": np.float32(0.1), "z": np.int8(0)}),
    "select": ("g (float[2] x) => (float[2] y) { a = Exp(x)  c = Greater(a, x)  y = Where(c, a, x) }", {}),
    "scan": ("""g (float[2] i, float[3,2] x) => (float[2] y, float[3,2] z) {
        a = Exp(x)
        b, z = Scan (i, a) <num_scan_inputs = 1, body = s (float[2] p, float[2] e) => (float[2] q, float[2] o) {
            q = Add(p, e)  o = Identity(q) }>
        y = Sin(b) }""", {}),
    "loop": ("""g (float[2] x) => (float[2] y) {
        a = Exp(x)
        b = Loop (n, c, a) <body = l (int64 i, bool k, float[2] s) => (bool m, float[2] t) {
            m = Identity(k)  t = Add(s, a) }>
        y = Sin(b) }""", {"n": np.array(3), "c": np.array(True)}),
    "float64": ("g (float[2] x) => (float[2] y) { a = Cast<to=11>(x)  b = Exp(a)  c = Cast<to=1>(b)  y = Sin(c) }", {}),
}  # fmt: skip


def test_tensorrt_builds_every_typed_model(tmp_path):
    if importlib.util.find_spec("tensorrt_rtx") is None:
        pytest.skip("needs the tensorrt_rtx wheel")
    for index, (text, weights) in enumerate(MODELS.values()):
        proto, _ = rewritten(model_of(text, **weights), fp32=["op:Softmax"] if "Softmax" in text else [])
        (tmp_path / f"{index}.onnx").write_bytes(proto.SerializeToString())
    paths = [str(tmp_path / f"{index}.onnx") for index in range(len(MODELS))]

    done = subprocess.run([sys.executable, "-c", PARSE, *paths], capture_output=True, text=True, check=True)

    told = json.loads(done.stdout)
    assert {name: told[path] for name, path in zip(MODELS, paths, strict=True)} == dict.fromkeys(MODELS, True)
