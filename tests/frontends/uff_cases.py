"""Lowers small UFF files and runs what they become, for the tests beside it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort

from tests.uff_writer import Node, const, mark, node, placeholder, uff  # noqa: F401 - for the tests
from trtpipe.frontends import ModelFiles, lower_model
from trtpipe.frontends.uff import UffOptions, frontend


def written(folder: Path, nodes: Iterable[Node], **about: Any) -> Path:
    """A UFF file with these nodes."""
    path = folder / "net.uff"
    path.write_bytes(uff(nodes, **about))
    return path


def lowered(path: Path, out: Path, **options: Any) -> onnx.ModelProto:
    """The canonical model of a UFF file, written to `out`."""
    lower_model(frontend, ModelFiles(path), UffOptions.model_validate(options), out)
    return onnx.load(out)


def run(model: Path, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Its outputs in ONNX Runtime, by name."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    session = ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(inputs)), strict=True))


def outcome(
    folder: Path, nodes: Iterable[Node], *, batch: int | None = -1, **inputs: np.ndarray
) -> np.ndarray:
    """What tensor `y` is for these inputs; they are declared with an open batch unless `batch` is None."""
    declared = [
        placeholder(name, [batch, *x.shape[1:]] if batch is not None else x.shape, x.dtype.name)
        for name, x in inputs.items()
    ]
    path = written(folder, [*mark("y"), *reversed(list(nodes)), *declared])
    lowered(path, folder / "model.onnx")
    (result,) = run(folder / "model.onnx", inputs).values()
    return result
