"""The digits network with channels that differ by orders of magnitude, and the same function.

Relu(s * x) = s * Relu(x) for s > 0: each output channel of a convolution is scaled and the next one's input channels
are scaled back. In floating point that is nothing; with one scale for a whole tensor it is the end of most channels.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

SOURCE = Path(__file__).parents[1] / "pipelines/models/digits_cnn.onnx"


def write_rescaled(target: Path, *, seed: int = 0, decades: float = 3.0) -> None:
    """Write the network with the channels between its second and third convolution scaled by up to 10^±decades."""
    model = onnx.load(SOURCE)
    weights = {one.name: one for one in model.graph.initializer}
    made, read = (node for node in model.graph.node if node.name in ("/c2/Conv", "/c3/Conv"))
    channels = weights[made.input[1]].dims[0]
    scales = 10.0 ** np.random.default_rng(seed).uniform(-decades, decades / 2, channels)
    _scale(weights[made.input[1]], scales.reshape(-1, 1, 1, 1))
    _scale(weights[made.input[2]], scales)
    _scale(weights[read.input[1]], 1 / scales.reshape(1, -1, 1, 1))
    onnx.save(model, target)


def _scale(tensor: onnx.TensorProto, factor: np.ndarray) -> None:
    values = numpy_helper.to_array(tensor) * factor
    tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float32), tensor.name))
