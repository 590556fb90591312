"""Has ModelOpt quantize a copy of the model in a temporary folder, and reads the scales of its Q nodes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from trtpipe.calibration.calibrators import CalibrationRequest
from trtpipe.calibration.calibrators.libraries.feeds import library_errors, samples_of, scales_of
from trtpipe.calibration.scales import Scales
from trtpipe.canonical.reader import read_skeleton
from trtpipe.files import temporary_folder
from trtpipe.runners.cpu.graphs import runnable_model

if TYPE_CHECKING:
    import onnx

_LARGE = 1 << 30
_LEVELS = 127  # ModelOpt's int8 scale is amax / 127


def calibrated(request: CalibrationRequest, backend: str) -> Scales:
    """The scales of those of the request's tensors that ModelOpt quantizes. Raises SpecError or StepFailed."""
    with samples_of(request) as samples, temporary_folder("calibrate") as folder, library_errors("ModelOpt"):
        from modelopt.onnx.quantization import quantize

        out = Path(folder) / "quantized.onnx"
        quantize(
            str(request.model),
            quantize_mode="int8",
            calibration_method=request.method,
            calibration_data_reader=samples,
            calibration_eps=["cpu"],
            high_precision_dtype="fp32",
            use_external_data_format=runnable_model(request.model).external_bytes() >= _LARGE,
            output_path=str(out),
            log_level="ERROR",
        )
        amax = dict(activation_amax(out))
    return scales_of(amax, request, backend, samples.data.samples)


def activation_amax(path: Path) -> Iterator[tuple[str, float]]:
    """Tensor → amax for each activation that a Q node quantizes with one scale. Raises ModelError."""
    import onnx

    graph = read_skeleton(path).proto.graph
    constants: dict[str, onnx.TensorProto] = {one.name: one for one in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute and node.attribute[0].HasField("t"):
            constants[node.output[0]] = node.attribute[0].t
    for node in graph.node:
        if node.op_type != "QuantizeLinear" or node.input[0] in constants or node.input[1] not in constants:
            continue
        scale = onnx.numpy_helper.to_array(constants[node.input[1]])
        if scale.size == 1:
            yield node.input[0], float(scale.reshape(())) * _LEVELS
