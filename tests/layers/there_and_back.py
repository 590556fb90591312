"""A model, declared as layers, lowered again, and both run: what the tests of the way back are made of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime

from trtpipe.canonical.evaluation import Evaluator
from trtpipe.canonical.reader import read_skeleton
from trtpipe.canonical.writer import write_model
from trtpipe.layers.from_onnx.model import Declaration, declare
from trtpipe.layers.network import lower_network
from trtpipe.legalization.legalize import legalize
from trtpipe.spec.network.network import NetworkOptions
from trtpipe.weights.safetensors import write_safetensors


def canonical(proto: onnx.ModelProto, path: Path) -> onnx.ModelProto:
    """The model made canonical and written to `path`; its skeleton."""
    work = path.parent / f"{path.name}.work"
    work.mkdir()
    with Evaluator(work) as evaluator:
        legalize(proto, evaluator)
        write_model(proto, path)
    return read_skeleton(path).proto


def declared(proto: onnx.ModelProto, folder: Path) -> tuple[Declaration, NetworkOptions]:
    """A canonical model as declared layers, and the options of the network parser that say so."""
    made = declare(proto)
    write_safetensors(folder / "w.safetensors", made.weights)
    options = NetworkOptions.model_validate(
        {
            "weights": "w.safetensors" if made.weights else None,
            "inputs": made.inputs,
            "layers": list(made.layers),
            "outputs": list(made.outputs),
        }
    )
    return made, options


def lowered(options: NetworkOptions, folder: Path) -> onnx.ModelProto:
    """The declared network as a canonical model."""
    files = {"": folder / "w.safetensors"} if options.weights else {}
    work = folder / "lower"
    work.mkdir()
    model = lower_network(options, files, root=folder, workplace=work).model
    return canonical(model, folder / "lowered.onnx")


def run(path: Path, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The outputs of a model in ONNX Runtime, unoptimised."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_outputs()]
    taken = {one.name for one in session.get_inputs()}
    feeds = {name: value for name, value in feeds.items() if name in taken}
    return dict(zip(names, session.run(names, feeds), strict=True))


def bound(proto: onnx.ModelProto, values: dict[str, np.ndarray], keep: int = 1) -> onnx.ModelProto:
    """The model with all inputs but the first `keep` made constants of these values."""
    model = onnx.ModelProto()
    model.CopyFrom(proto)
    inputs = list(model.graph.input)
    del model.graph.input[:]
    model.graph.input.extend(inputs[:keep])
    for value in inputs[keep:]:
        if value.name in values:
            model.graph.initializer.append(onnx.numpy_helper.from_array(values[value.name], value.name))
        else:
            model.graph.input.append(value)
    return model
