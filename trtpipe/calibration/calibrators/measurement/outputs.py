"""The effect of each method on the model's outputs, with quantized activations and unquantized weights.

Only the outputs show what noise in a tensor costs: a method with little noise on every tensor may still distort the few
values that matter. For each of a few samples, the cosine between the model's outputs and those with int8 activations is
computed, and the lowest of all outputs is kept. The median over the samples is reported, so that outlier samples do not
dominate.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import onnxruntime

from trtpipe.calibration.calibrators import CalibrationRequest
from trtpipe.calibration.calibrators.measurement.observers import FLOATS, open_session
from trtpipe.canonical.summary import summarize
from trtpipe.datasets.samples.batches import open_dataset
from trtpipe.runners.cpu.graphs import RunnableModel, runnable_model

if TYPE_CHECKING:
    import onnx

    from trtpipe.arrays import Array

Feed: TypeAlias = "dict[str, Array]"

_FEWEST, _MOST, _ONE_OF = 8, 16, 16
_BYTES = 64 << 20
_LEVELS = 127
_PRODUCTS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
_NO_FUSION = {"session.disable_quant_qdq": "1"}
"""ONNX Runtime then computes Q and DQ as they stand, and does not take them for a wish to compute in int8."""


def cosines_by_method(
    request: CalibrationRequest, by_method: Mapping[str, Mapping[str, float]]
) -> tuple[dict[str, float], int]:
    """Label → cosine of the outputs when tensors have the amax of that label, and on how many samples.

    Empty when the model has no floating-point outputs. Raises ModelError or StepFailed when it does not run.
    """
    model = runnable_model(request.model)
    feeds = _feeds(request, model)
    expected = list(_run(model, request, feeds))
    found: dict[str, float] = {}
    if not feeds or not expected[0]:
        return {}, 0
    for label, amax in by_method.items():
        made = _run(_quantized(model, amax), request, feeds)
        cosines = [_least_cosine(want, got) for want, got in zip(expected, made, strict=True)]
        found[label] = round(float(np.median(cosines)), 6)
    return found, len(feeds)


def _feeds(request: CalibrationRequest, model: RunnableModel) -> list[Feed]:
    """The first samples of the set: a sixteenth of them, but 8 to 16 samples and at most 64 MiB."""
    single = request.dataset.model_copy(update={"batch": 1})
    inputs = summarize(model.proto).inputs
    found: list[Feed] = []
    room = _BYTES
    with open_dataset(single, request.file, inputs, samples=request.samples) as data:
        count = max(_FEWEST, min(_MOST, data.samples // _ONE_OF))
        for feed, _ in islice(iter(data), count):
            room -= sum(array.nbytes for array in feed.values())
            if found and room < 0:
                break
            found.append({name: np.array(array) for name, array in feed.items()})
    return found


def _run(model: RunnableModel, request: CalibrationRequest, feeds: Sequence[Feed]) -> Iterator[list[Array]]:
    """The floating-point outputs for each sample."""
    session: onnxruntime.InferenceSession = open_session(model, request.threads, request.provider, _NO_FUSION)
    wanted = [value.name for value in session.get_outputs() if value.type in FLOATS]
    for feed in feeds:
        yield session.run(wanted, feed) if wanted else []


def _least_cosine(expected: Sequence[Array], made: Sequence[Array]) -> float:
    return min(_cosine(want, got) for want, got in zip(expected, made, strict=True))


def _cosine(want: Array, got: Array) -> float:
    """The cosine of two arrays: 1 when both are zero, 0 when one is zero or anything is not finite."""
    one, other = want.astype(np.float64).ravel(), got.astype(np.float64).ravel()
    lengths = float(np.linalg.norm(one)), float(np.linalg.norm(other))
    if not all(math.isfinite(length) for length in lengths):
        return 0.0
    if not all(lengths):
        return float(lengths[0] == lengths[1])
    return float(one @ other) / (lengths[0] * lengths[1])


def _quantized(model: RunnableModel, amax: Mapping[str, float]) -> RunnableModel:
    """A copy whose convolutions and products read these tensors as int8; tensors that are always zero stay float."""
    import onnx

    copy = onnx.ModelProto()
    copy.CopyFrom(model.proto)
    scaled = {name: value for name, value in amax.items() if value > 0}
    made: dict[str, str] = {}
    nodes: list[onnx.NodeProto] = []
    for node in copy.graph.node:
        if node.op_type in _PRODUCTS and not node.domain:
            for index, name in enumerate(node.input):
                if name in scaled:
                    if name not in made:
                        made[name] = f"{name}/rounded-to-int8"
                        nodes += _pair(copy.graph, name, scaled[name], made[name])
                    node.input[index] = made[name]
        nodes.append(node)
    kept = onnx.GraphProto(node=nodes)
    copy.graph.ClearField("node")
    copy.graph.node.extend(kept.node)
    return RunnableModel(copy, model.folder, model.path)


def _pair(graph: onnx.GraphProto, name: str, amax: float, out: str) -> list[onnx.NodeProto]:
    """Q and DQ in float32, between casts for tensors of another type."""
    import onnx

    scale, zero = f"{out}/scale", f"{out}/zero"
    graph.initializer.append(onnx.numpy_helper.from_array(np.float32(amax / _LEVELS), scale))
    graph.initializer.append(onnx.numpy_helper.from_array(np.int8(0), zero))
    code, back = f"{out}/int8", f"{out}/back"
    return [
        onnx.helper.make_node("Cast", [name], [f"{out}/wide"], to=onnx.TensorProto.FLOAT),
        onnx.helper.make_node("QuantizeLinear", [f"{out}/wide", scale, zero], [code]),
        onnx.helper.make_node("DequantizeLinear", [code, scale, zero], [back]),
        onnx.helper.make_node("CastLike", [back, name], [out]),
    ]
