"""Declared networks, lowered and run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from trtpipe.frontends import ModelFiles, lower_model
from trtpipe.frontends.network import frontend
from trtpipe.spec.network.network import NetworkOptions


def declared(case: Any, *, dynamic: bool) -> NetworkOptions:
    """The case's network; what it has of weights is to be found in one file."""
    shapes = {
        name: {"dtype": str(array.dtype), "shape": ["batch" if dynamic else array.shape[0], *array.shape[1:]]}
        for name, array in case.inputs.items()
    }
    layers = list(case.layers)
    if "z" in case.outputs and all(layer["name"] != "z" for layer in layers):
        layers.append({"layer": "identity", "name": "z", "input": next(iter(case.inputs))})
    written = {"inputs": shapes, "layers": layers, "outputs": list(case.outputs)}
    return NetworkOptions.model_validate(written | ({"weights": "w.npz"} if case.weights else {}))


def lowered(options: NetworkOptions, weights: Mapping[str, np.ndarray], folder: Path) -> Path:
    """The canonical model of a network."""
    out = folder / "model.onnx"
    named = {}
    if weights:
        named["weights"] = folder / "w.npz"
        np.savez(named["weights"], **weights)
    lower_model(frontend, ModelFiles(None, named, folder), options, out)
    return out


def run(model: Path, feed: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    wanted = {value.name for value in session.get_inputs()}
    return list(session.run(None, {name: array for name, array in feed.items() if name in wanted}))
