"""Builds models for sm89 one after the other: `python rtx_builds.py`, a JSON list of paths on stdin, a line each out.

Dynamic batches are profiled from 1 to 4. A process of its own, as TensorRT may crash; whoever runs it sees how far it
came.
"""

from __future__ import annotations

import json
import sys

import tensorrt_rtx as trt


class Logger(trt.ILogger):
    def __init__(self):
        trt.ILogger.__init__(self)
        self.errors = []

    def log(self, severity, message):
        if severity <= trt.ILogger.Severity.ERROR and "cudaError" not in message:
            self.errors.append(message)


LOGGER = Logger()


def build(path):
    LOGGER.errors.clear()
    builder = trt.Builder(LOGGER)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    network.name = "layers"
    parser = trt.OnnxParser(network, LOGGER)
    if not parser.parse_from_file(path):
        return "; ".join(parser.get_error(i).desc() for i in range(parser.num_errors)) or "not parsed"
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, 1 << 30)
    config.num_compute_capabilities = 1
    config.set_compute_capability(trt.ComputeCapability.SM89, 0)
    inputs = [network.get_input(index) for index in range(network.num_inputs)]
    if any(-1 in tuple(tensor.shape) for tensor in inputs):
        profile = builder.create_optimization_profile()
        for tensor in inputs:
            shapes = [tuple(size if dim == -1 else dim for dim in tensor.shape) for size in (1, 2, 4)]
            profile.set_shape(tensor.name, *shapes)
        config.add_optimization_profile(profile)
    plan = builder.build_serialized_network(network, config)
    return "built" if plan is not None else "; ".join(LOGGER.errors) or "no engine, and no error said"


for path in json.load(sys.stdin):
    print(json.dumps([path, build(path)]), flush=True)
