"""What every calibrator promises, and libraries' calibrators held against ours on the same samples."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tests.calibration.small_nets import request_for, samples_of
from trtpipe.calibration.calibrators import METHODS, calibrator_names, find_calibrator
from trtpipe.calibration.calibrators.libraries import feeds
from trtpipe.errors import SpecError, StepFailed

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("onnx", "numpy", "onnx_ir", "onnxruntime", "modelopt", "torch")


def installed(name):
    try:
        return bool(metadata.version(name))
    except metadata.PackageNotFoundError:
        return False


class Told:
    """The last thing that a calibrator said of its progress."""

    last = (0, 0, 0)

    def __call__(self, *facts):
        self.last = facts


@pytest.fixture(params=calibrator_names())
def calibrator(request):
    return find_calibrator(request.param)


def test_it_is_named_as_its_file_and_has_known_methods(calibrator):
    assert calibrator.name in calibrator_names()
    assert calibrator.version >= 1
    assert set(calibrator.methods) <= set(METHODS)
    assert calibrator.methods


def test_an_extra_that_it_needs_is_one_of_trtpipes_and_brings_its_packages(calibrator):
    assert bool(calibrator.packages) == bool(calibrator.extra)
    if calibrator.extra:
        text = (ROOT / "pyproject.toml").read_text()
        listed = re.search(rf"^{calibrator.extra} = \[(.*?)^\]", text, re.DOTALL | re.MULTILINE)
        assert listed is not None
        assert all(f'"{package}' in listed[1] for package in calibrator.packages)


@pytest.mark.parametrize("name", calibrator_names())
def test_importing_it_imports_nothing_heavy(name):
    code = f"import sys, trtpipe.calibration.calibrators.{name}; print([one for one in {HEAVY} if one in sys.modules])"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)

    assert done.stdout.strip() == "[]"


def test_it_calibrates_and_does_so_twice_alike(calibrator, tmp_path):
    if not all(map(installed, calibrator.packages)):
        pytest.skip(f"not run: needs the extra {calibrator.extra}")
    for method in calibrator.methods:
        told = Told()
        request = request_for(tmp_path, samples_of(12), method, tell=told)
        first, again = calibrator.calibrate(request), calibrator.calibrate(request)

        assert (first.method, first.backend, first.samples) == (method, calibrator.name, 12)
        assert set(first.tensors) <= set(request.tensors)
        assert all(one.amax > 0 for one in first.tensors.values())
        assert first == again
        assert told.last[:2] == (12, 12)


@pytest.mark.parametrize(("method", "relation"), [("max", 1e-6), ("percentile", 2**-6), ("entropy", 0.3)])
def test_onnxruntimes_scales_are_near_ours(tmp_path, method, relation):
    request = request_for(tmp_path, samples_of(40), method)
    ours = find_calibrator("trtpipe").calibrate(request)
    theirs = find_calibrator("onnxruntime").calibrate(request)

    assert set(theirs.tensors) == set(ours.tensors)
    for name, one in ours.tensors.items():
        assert theirs.tensors[name].amax == pytest.approx(one.amax, rel=relation)


def test_onnxruntimes_scales_do_not_depend_on_the_batch(tmp_path):
    calibrator = find_calibrator("onnxruntime")
    single = calibrator.calibrate(request_for(tmp_path, samples_of(12)))
    batched = calibrator.calibrate(request_for(tmp_path, samples_of(12), data={"batch": 5}))

    assert single == batched


def test_samples_that_make_tensors_infinite_are_refused(tmp_path):
    samples = samples_of(4)
    samples[2] *= 8e37  # finite; what the first convolution makes of it is not

    with pytest.raises(SpecError, match="become infinite or NaN on the calibration set: '"):
        find_calibrator("onnxruntime").calibrate(request_for(tmp_path, samples, "max"))


@pytest.fixture
def fake_modelopt(monkeypatch):
    """A ModelOpt that quantizes the input alone, and keeps what it was asked."""
    asked = {}

    def quantize(path, *, output_path, calibration_data_reader, **more):
        asked.update(more, path=path, samples=len(list(calibration_data_reader)))
        if "fail" in asked:
            raise ValueError("no such thing")
        scale = onnx.numpy_helper.from_array(np.array(0.5, np.float32), "s")
        weight_scale = onnx.numpy_helper.from_array(np.ones(3, np.float32), "ws")
        constant = onnx.numpy_helper.from_array(np.array(2.0, np.float32), "c")
        nodes = [
            helper.make_node("QuantizeLinear", ["x", "s"], ["q"]),
            helper.make_node("Constant", [], ["t"], value=constant),
            helper.make_node("QuantizeLinear", ["alien", "t"], ["q2"]),
            helper.make_node("QuantizeLinear", ["y", "ws"], ["q3"], axis=1),
        ]
        values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n", 3]) for n in ("x", "alien", "y")]
        outputs = [helper.make_tensor_value_info(n, TensorProto.UINT8, ["n", 3]) for n in ("q", "q2", "q3")]
        graph = helper.make_graph(nodes, "quantized", values, outputs, [scale, weight_scale])
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), output_path)

    module = ModuleType("modelopt.onnx.quantization")
    module.quantize = quantize
    for name in ("modelopt", "modelopt.onnx"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return asked


def test_of_modelopts_model_only_the_scales_of_wanted_tensors_are_taken(tmp_path, fake_modelopt):
    scales = find_calibrator("modelopt").calibrate(request_for(tmp_path, samples_of(6), "max"))

    assert {name: one.amax for name, one in scales.tensors.items()} == {"x": 0.5 * 127}
    assert fake_modelopt["samples"] == 6
    assert fake_modelopt["calibration_method"] == "max"
    assert fake_modelopt["calibration_eps"] == ["cpu"]


def test_what_a_library_raises_is_one_error_that_says_whose_it_is(tmp_path, fake_modelopt):
    fake_modelopt["fail"] = True

    with pytest.raises(StepFailed, match="ModelOpt could not calibrate: ValueError: no such thing"):
        find_calibrator("modelopt").calibrate(request_for(tmp_path, samples_of(2), "max"))


def test_no_scale_at_all_is_an_error(tmp_path):
    request = request_for(tmp_path, samples_of(2), "max")

    with pytest.raises(StepFailed, match="modelopt found no scale for any of the 3 tensors"):
        feeds.scales_of({"alien": 1.0}, request, "modelopt", 2)
