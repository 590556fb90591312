"""The folding child may crash, hang, or answer nonsense about a kernel: the import goes on without the constant."""

import onnx
import pytest

from tests.canonical.onnx_text import canonical, operators, parse
from trtpipe.canonical import evaluation
from trtpipe.launcher.children import Program

TEXT = """g (float[4] x) => (float[4] y) <float[4] w = {1.0, 2.0, 3.0, 4.0}> { v = Neg(w)  y = Mul(x, v) }"""


@pytest.fixture
def child(tmp_path, monkeypatch):
    def replace(source: str) -> None:
        (tmp_path / "broken.py").write_text(source)
        monkeypatch.setattr(evaluation, "_PROGRAM", Program(tmp_path, "broken", ("-I",)))

    return replace


@pytest.mark.parametrize(
    "source",
    [
        "import os\nos.abort()",
        "import sys\nsys.stdin.readline()\nsys.stdin.readline()\nimport os\nos.abort()",
    ],
    ids=["at once", "when asked"],
)
def test_a_crash_leaves_the_node_unfolded(tmp_path, child, source):
    child(source)
    assert operators(canonical(parse(TEXT), tmp_path)[0]) == ["Neg", "Mul"]


def test_a_hang_is_ended(tmp_path, child, monkeypatch):
    child("import time\ntime.sleep(600)")
    monkeypatch.setattr(evaluation, "_PATIENCE", 0.2)
    assert operators(canonical(parse(TEXT), tmp_path)[0]) == ["Neg", "Mul"]


def test_one_node_that_fails_does_not_keep_the_others(tmp_path):
    text = """g (float[4] x) => (float[4] y, int64[1] z) <float[4] w = {1.0, 2.0, 3.0, 4.0}, int64[1] i = {9}> {
        v = Neg(w)  z = Gather(i, i)  y = Mul(x, v) }"""
    result, _ = canonical(parse(text), tmp_path)
    assert operators(result) == ["Gather", "Mul"]


def test_after_many_crashes_the_child_is_not_asked_again(tmp_path, child):
    child("import os\nos.abort()")
    model = parse(TEXT)
    with evaluation.Evaluator(tmp_path) as evaluator:
        for _ in range(20):
            assert evaluator.evaluate(model.graph.node[:1], {"w": model.graph.initializer[0]}, model.opset_import,
                                      {"v": 100}) == {}  # fmt: skip
    assert evaluator.crashes == evaluation._MOST_CRASHES


def test_types_that_onnxruntime_hides_keep_their_type(tmp_path):
    text = """g (bfloat16[2] x) => (bfloat16[2] y) <float[2] w = {1.0, 2.5}> {
        v = Cast<to = 16>(w)  y = Mul(x, v) }"""
    result, _ = canonical(parse(text), tmp_path)
    (tensor,) = result.graph.initializer
    assert tensor.data_type == onnx.TensorProto.BFLOAT16
    assert onnx.numpy_helper.to_array(tensor).astype("float32").tolist() == [1.0, 2.5]
