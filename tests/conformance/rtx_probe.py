"""Builds one ONNX model inside this process, for sm89 or others, as trtpipe's worker does it, and says why it did not.

Knows nothing of trtpipe: the raw side of the comparison uses it on the model as it came.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorrt_rtx as trt


class _Logger(trt.ILogger):
    """Keeps the errors of the build in hand; TensorRT allows one logger a process."""

    def __init__(self) -> None:
        super().__init__()
        self.errors: list[str] = []

    def log(self, severity: trt.ILogger.Severity, message: str) -> None:
        driver = "cudaError" in message or "Cuda Runtime" in message  # that there is none here
        if severity <= trt.ILogger.Severity.ERROR and not driver:
            self.errors.append(message)


_LOGGER = _Logger()
_WORKSPACE = 1 << 30


@dataclass(frozen=True)
class Build:
    """Whether an engine came out; if not, at which node and why."""

    built: bool
    reason: str = ""
    node: str = ""
    operator: str = ""


def build(
    path: Path,
    inputs: Mapping[str, np.ndarray],
    entering: Callable[[str], None] = lambda phase: None,
    gpus: Sequence[str] = ("sm89",),
) -> Build:
    """Builds the model for GPUs, one engine for all, its dynamic and shape inputs fixed at those of `inputs`.

    `entering` hears `build` once the parser has taken the model and a profile fits.
    """
    _LOGGER.errors.clear()
    builder = trt.Builder(_LOGGER)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    network.name = "conformance"
    parser = trt.OnnxParser(network, _LOGGER)
    if not parser.parse_from_file(str(path)) or parser.num_errors:
        return _parser_error(parser)
    if network.num_outputs == 0:
        return Build(False, "the network has no outputs")
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, _WORKSPACE)
    config.num_compute_capabilities = len(gpus)
    for index, gpu in enumerate(gpus):
        config.set_compute_capability(trt.ComputeCapability.__members__[gpu.upper()], index)
    refused = _add_profile(builder, network, config, inputs)
    if refused:
        return Build(False, refused)
    entering("build")
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        return Build(False, _LOGGER.errors[0] if _LOGGER.errors else "no engine, and no error said")
    return Build(True)


def _add_profile(
    builder: trt.Builder,
    network: trt.INetworkDefinition,
    config: trt.IBuilderConfig,
    inputs: Mapping[str, np.ndarray],
) -> str:
    profile = builder.create_optimization_profile()
    needed = False
    for index in range(network.num_inputs):
        tensor = network.get_input(index)
        value = inputs.get(tensor.name)
        if value is None and (-1 in tuple(tensor.shape) or tensor.is_shape_tensor):
            return f"no data for input '{tensor.name}'"
        if value is None:
            continue
        if -1 in tuple(tensor.shape):
            profile.set_shape(tensor.name, value.shape, value.shape, value.shape)
            needed = True
        if tensor.is_shape_tensor:
            numbers = [int(number) for number in value.reshape(-1)]
            try:
                profile.set_shape_input(tensor.name, numbers, numbers, numbers)
            except (RuntimeError, TypeError) as error:
                return f"shape input '{tensor.name}': {error}"
            needed = True
    if needed and config.add_optimization_profile(profile) < 0:
        return "the profile was refused"
    return ""


def _parser_error(parser: trt.OnnxParser) -> Build:
    if not parser.num_errors:
        return Build(False, "the parser refused the model without an error")
    error = parser.get_error(0)
    return Build(False, error.desc().strip(), error.node_name(), error.node_operator())
