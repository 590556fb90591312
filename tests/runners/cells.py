"""Delivered cells with stand-in engines, and machines that can or cannot run them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from onnx import TensorProto, helper, save

from tests.runners.engine_bench import Bench, copying
from trtpipe.app.engines.machine import Machine
from trtpipe.digests import digest_file
from trtpipe.targets.compute_capability import ComputeCapability
from trtpipe.toolchains.detect import DetectedGpu

PROFILES = ({"x": {"min": [1, 4], "opt": [2, 4], "max": [8, 4]}},)
IO = (
    {"name": "x", "mode": "input", "dtype": "float32", "shape": [-1, 4], "shape_tensor": False},
    {"name": "y", "mode": "output", "dtype": "float32", "shape": [-1, 4], "shape_tensor": False},
)


def write_model(path: Path, scale_op: str = "Identity") -> Path:
    """A typed model that gives x back as y, or its negative."""
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 4]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node(scale_op, ["x"], ["y"])], "g", ends[:1], ends[1:])
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def make_cell(
    root: Path,
    record: Mapping[str, Any] | None = None,
    name: str = "copy/fp16@here",
    *,
    profiles: Sequence[Mapping[str, Any]] = PROFILES,
    capabilities: Sequence[str] = ("sm89",),
    **changes: Any,
) -> Path:
    """A cell's directory in `root/build`: a stand-in engine, its manifest, and a typed model that negates."""
    folder = root / "build" / name
    folder.mkdir(parents=True)
    engine = folder / "model.engine"
    engine.write_text(json.dumps(record or copying(name=name)))
    write_model(folder / "model.onnx", "Neg")
    manifest = {
        "cell": name,
        "engine": {"file": engine.name, "blake3": digest_file(engine).hex},
        "toolchain": {"flavour": "tensorrt_rtx", "version": "1.7.1.116"},
        "compute_capabilities": list(capabilities),
        "precision": name.split("/")[1].split("@", maxsplit=1)[0],
        "profiles": list(profiles),
        "io": list(IO),
        **changes,
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def with_gpu(bench: Bench, sm: str = "sm89") -> Machine:
    """A machine whose GPU and TensorRT are the bench's."""
    gpu = DetectedGpu(0, "Make-believe GPU", ComputeCapability.parse(sm))
    return Machine((gpu,), lambda flavour, version: bench.toolchain)


def without_gpu(bench: Bench) -> Machine:
    return Machine((), lambda flavour, version: bench.toolchain)
