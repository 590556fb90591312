"""Ranges of tensors on data: exact, whatever stands beside them, and readable again."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest

from trtpipe.calibration.calibrators import CalibrationRequest
from trtpipe.calibration.calibrators.measurement.ranges import largest, with_ranges
from trtpipe.calibration.scales import Scales, TensorScale, read_scales
from trtpipe.spec.dataset import DatasetSpec

GRAPH = """<ir_version: 9, opset_import: ["" : 17]>
g (float[N,8] x) => (float[N] y) { s = Mul(x, x)  y = ReduceMean<axes=[1], keepdims=0>(s) }"""


@pytest.fixture
def request_(tmp_path):
    onnx.save(onnx.parser.parse_model(GRAPH), tmp_path / "model.onnx")
    data = np.arange(24, dtype=np.float32).reshape(3, 8) - 20
    np.save(tmp_path / "x.npy", data)
    spec = DatasetSpec.model_validate_json(json.dumps({"schema": 1, "npy": {"x": "x.npy"}, "batch": 2}))
    tensors = ("x", "s", "y")
    files = {"x.npy": tmp_path / "x.npy"}
    return CalibrationRequest(
        tmp_path / "model.onnx", (), spec, files, "max", None, ranges=tensors, means={"y": "s"}
    )


def test_the_largest_magnitude_of_each_tensor_and_the_sums_behind_means(request_):
    found = with_ranges(None, request_)

    assert found.ranges == {"x": 20.0, "s": 400.0, "y": 2220 / 8}
    assert found.sums == {"y": 2220.0}
    assert (found.samples, found.tensors) == (3, {})


def test_ranges_stand_beside_scales_and_are_read_again(request_, tmp_path):
    scales = Scales({"x": TensorScale(20.0)}, "max", "trtpipe", 3)

    with_ranges(scales, request_).write(tmp_path / "scales.json")

    again = read_scales(tmp_path / "scales.json")
    assert again.tensors == scales.tensors
    assert again.ranges["s"] == 400.0


def test_scales_without_ranges_do_not_speak_of_them():
    assert "ranges" not in Scales({}, "max", "trtpipe", 3).to_json()


@pytest.mark.parametrize(
    ("values", "magnitude"),
    [([1, -3], 3), ([-np.inf, 2, np.nan], 2), ([np.inf], 0), ([], 0)],
    ids=["negative", "masked", "infinite", "empty"],
)
def test_infinities_have_no_magnitude(values, magnitude):
    assert largest(np.array(values, np.float32)) == magnitude
