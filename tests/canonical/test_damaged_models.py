"""Damaged models: whatever bytes change, the answer is a canonical model or a ModelError."""

import random

import onnx
import pytest

from tests.canonical.onnx_text import parse
from trtpipe.errors import ModelError
from trtpipe.frontends import ModelFiles, lower_model
from trtpipe.frontends.onnx import OnnxOptions, frontend

TEXT = """g (float[batch,3,4] x, int64[2] s) => (float[p,q] y)
    <float[4] w = {1.0, 2.0, 3.0, 4.0}, int64[1] one = {1}> {
    a = Mul(x, w)  b = Identity(a)  c = local.F(b)  k = Shape(c)  d = Gather(k, one)
    t = Constant<value_float = 1.0>()  m = ReduceMax<keepdims = 0>(c)  g = Greater(m, t)
    r = If (g) <then_branch = t () => (float[n,i,j] o) { o = Relu(c) },
        else_branch = e () => (float[n,i,j] o) { o = Abs(c) }>
    y = Reshape(r, s) }"""
FUNCTION = '<domain: "local", opset_import: ["" : 17]> F (a) => (b) { b = Neg(a) }'


def damaged(encoded: bytes, rng: random.Random) -> bytes:
    data = bytearray(encoded)
    for _ in range(rng.randint(1, 3)):
        place = rng.randrange(len(data))
        match rng.randrange(3):
            case 0:
                data[place] = rng.randrange(256)
            case 1:
                del data[place : place + rng.randint(1, 4)]
            case 2:
                data[place:place] = rng.randbytes(rng.randint(1, 4))
    return bytes(data)


@pytest.mark.parametrize("seed", range(4))
def test_damage_is_refused_or_harmless(tmp_path, seed):
    encoded = parse(TEXT, functions=FUNCTION).SerializeToString()
    rng = random.Random(seed)
    answers = {"model": 0, "refusal": 0}
    for _ in range(150):
        (tmp_path / "m.onnx").write_bytes(damaged(encoded, rng))
        try:
            lower_model(frontend, ModelFiles(tmp_path / "m.onnx"), OnnxOptions(), tmp_path / "out.onnx")
            onnx.load(tmp_path / "out.onnx")
            answers["model"] += 1
        except ModelError:
            answers["refusal"] += 1
    assert answers["refusal"] > 50
    assert answers["model"] > 0
