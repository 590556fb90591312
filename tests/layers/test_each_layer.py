"""Each kind of layer, in each form that becomes other ONNX, yields what plain NumPy does, and what TensorRT says."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.layers.declared_networks import declared, lowered, run
from tests.layers.layer_cases import CASES, Case
from trtpipe.spec.network.network import layer_models


@pytest.fixture(params=CASES.values(), ids=CASES)
def case(request) -> Case:
    return request.param


@pytest.mark.parametrize("dynamic", [False, True], ids=["fixed", "dynamic"])
def test_it_yields_what_numpy_does(case, dynamic, tmp_path):
    if dynamic and not case.dynamic:
        pytest.skip("its batch cannot be dynamic")

    found = run(lowered(declared(case, dynamic=dynamic), case.weights, tmp_path), case.inputs)

    wanted = case.yields(*case.inputs.values(), *case.weights.values())
    wanted = list(wanted) if isinstance(wanted, tuple) else [wanted]
    for actual, expected in zip(found, wanted, strict=False):
        np.testing.assert_allclose(actual, expected, rtol=case.close, atol=case.close)
        assert actual.shape == np.shape(expected)


def test_every_kind_of_layer_is_among_the_cases():
    tried = {layer["layer"] for case in CASES.values() for layer in case.layers}

    assert set(layer_models()) - tried == {"plugin"}


@pytest.mark.engine
@pytest.mark.slow
def test_tensorrt_rtx_builds_each_or_says_why_not(tmp_path):
    models = {}
    for name, case in CASES.items():
        (tmp_path / name).mkdir()
        models[str(lowered(declared(case, dynamic=case.dynamic), case.weights, tmp_path / name))] = case

    builds = Path(__file__).with_name("rtx_builds.py")
    done = subprocess.run(
        [sys.executable, str(builds)],
        input=json.dumps(list(models)),
        capture_output=True,
        text=True,
        check=False,
    )
    said = dict(json.loads(line) for line in done.stdout.splitlines())

    assert said.keys() == models.keys(), done.stderr[-2000:]
    odd = {
        case.name: said[path] for path, case in models.items() if (case.refused or "built") not in said[path]
    }
    assert odd == {}
