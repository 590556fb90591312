"""TensorRT-RTX builds an engine of what Caffe's nets become: of whole nets, and of every layer at dynamic sizes."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.frontends.caffe_files import lower, net
from tests.frontends.test_caffe_layers import CASES, written
from trtpipe.frontends import ModelFiles, lower_model
from trtpipe.frontends.caffe import CaffeOptions, frontend

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(
        importlib.util.find_spec("tensorrt_rtx") is None, reason="not run: needs a tensorrt_rtx wheel"
    ),
]

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT.parent / "shared" / "testdata" / "caffe"
PROBE = """
import json, sys
import numpy as np
from tests.conformance import rtx_probe
told = {}
for model, inputs in json.load(sys.stdin).items():
    shapes = {name: np.zeros(shape, np.float32) for name, shape in inputs.items()}
    found = rtx_probe.build(model, shapes)
    told[model] = found.built or f"{found.node} {found.operator} {found.reason}"
print(json.dumps(told))
"""


def refused(models: dict[Path, dict[str, tuple[int, ...]]]) -> dict[str, str]:
    """The models of which no engine for sm89 came out, and why; each with its inputs' shapes."""
    asked = {
        str(path): {name: list(shape) for name, shape in inputs.items()} for path, inputs in models.items()
    }
    done = subprocess.run(
        [sys.executable, "-c", PROBE],
        input=json.dumps(asked), capture_output=True, text=True, check=True, cwd=ROOT / "tests" / "conformance",
    )  # fmt: skip
    told = json.loads(done.stdout.splitlines()[-1])
    return {Path(path).parents[1].name: why for path, why in told.items() if why is not True}


def test_every_net_with_a_record_is_built(tmp_path):
    if not DATA.exists():
        pytest.skip("no Caffe nets in ../shared/testdata")
    pairs = {path: path.with_suffix(".caffemodel") for path in (DATA / "layers").glob("*.prototxt")}
    pairs[DATA / "mtcnn_det2_relu.prototxt"] = DATA / "mtcnn_det2_relu.caffemodel"
    pairs[DATA / "lenet_deploy.prototxt"] = DATA / "lenet.caffemodel"
    models: dict[Path, dict[str, tuple[int, ...]]] = {}
    for prototxt, weights in pairs.items():
        out = tmp_path / prototxt.stem / "out" / "model.onnx"
        out.parent.mkdir(parents=True)
        options = CaffeOptions(weights=weights.name)
        lower_model(frontend, ModelFiles(prototxt, {"weights": weights}, DATA), options, out)
        models[out] = {
            one.name: tuple(dim.dim_value for dim in one.type.tensor_type.shape.dim)
            for one in onnx.load(out).graph.input
        }

    assert len(models) == 14
    assert refused(models) == {}


@pytest.mark.slow
def test_every_layer_is_built_at_fixed_and_at_dynamic_sizes(tmp_path):
    models = {}
    for name, case in CASES.items():
        shapes = {key: array.shape for key, array in zip("abcdef", case.inputs, strict=False)}
        open_ = {
            key: [-1 if axis in case.dynamic and len(shape) == case.inputs[0].ndim else dim
                  for axis, dim in enumerate(shape)]
            for key, shape in shapes.items()
        }  # fmt: skip
        for kind, inputs in (("fixed", {}), ("dynamic", open_)):
            folder = tmp_path / f"{name}, {kind}".replace("/", " ")
            folder.mkdir()
            blobs = {"l": [np.asarray(one) for one in case.blobs]} if len(case.blobs) else None
            lower(folder, net(written(case), *shapes.values()), blobs, inputs=inputs)
            models[folder / "out" / "model.onnx"] = shapes

    assert refused(models) == {}
