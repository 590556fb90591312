"""An engine of TensorRT-RTX, built by the worker: y = x + 1 for 1 to 8 rows of 4 numbers."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.worker_requests import worker_request
from trtpipe.toolchains.engine_worker.launch import run_worker
from trtpipe.toolchains.engine_worker.watch import Supervision

BUILT_FOR = ("sm86", "sm89")


def add_one(folder: Path) -> tuple[Path, str]:
    """The engine's file, and the directory that holds TensorRT-RTX."""
    import numpy as np

    spec = importlib.util.find_spec("tensorrt_rtx")
    assert spec is not None and spec.origin is not None
    site = str(Path(spec.origin).parents[1])
    one = numpy_helper.from_array(np.ones(4, np.float32), "one")
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 4]) for name in "xy"]
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "one"], ["y"])], "add", ports[:1], ports[1:], [one]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    build = folder / "build"
    build.mkdir()
    onnx.save(model, build / "model.onnx")
    profile = {"x": {"min": [1, 4], "opt": [2, 4], "max": [8, 4]}}
    request = worker_request([site], network_name="add", compute_capabilities=BUILT_FOR, profiles=[profile])
    run_worker([sys.executable], request, build, Supervision())
    return build / "model.engine", site
