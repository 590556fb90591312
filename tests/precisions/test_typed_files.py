"""Typed model files: deterministic, streamed, and problems before anything is written."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from tests.precisions.precision_graphs import model_of
from trtpipe.errors import SpecError
from trtpipe.precisions import find_precision
from trtpipe.precisions.casts.files import rewrite_file

TEXT = "g (float[1,64] x) => (float[1,64] y) { a = MatMul(x, w)  y = Softmax(a) }"
WEIGHT = np.random.default_rng(0).standard_normal((64, 64)).astype(np.float32)


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(ir.to_proto(model_of(TEXT, w=WEIGHT)).SerializeToString())
    return path


def test_the_file_holds_the_cast_weights(source, tmp_path):
    summary = rewrite_file(find_precision("fp16"), source, tmp_path / "typed.onnx").to_json()

    weight = onnx.load(tmp_path / "typed.onnx").graph.initializer[0]
    assert np.array_equal(onnx.numpy_helper.to_array(weight), WEIGHT.astype(np.float16))
    assert summary["audit"]["weight_bytes"] == {"float16": 64 * 64 * 2}
    assert summary["weights_cast"] == 1


def test_equal_models_give_equal_bytes_and_leave_nothing_else_behind(source, tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        rewrite_file(find_precision("fp16"), source, tmp_path / name / "model.onnx")

    assert (tmp_path / "one/model.onnx").read_bytes() == (tmp_path / "two/model.onnx").read_bytes()
    assert [path.name for path in (tmp_path / "one").iterdir()] == ["model.onnx"]


def test_a_glob_without_a_match_stops_it_before_anything_is_written(source, tmp_path):
    with pytest.raises(SpecError, match="no node of the model matches 'Nothing'"):
        rewrite_file(find_precision("fp16"), source, tmp_path / "typed.onnx", keep={"fp32": ["Nothing"]})

    assert not (tmp_path / "typed.onnx").exists()
