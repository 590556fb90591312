"""Execution contexts as requested, and features of TensorRT-RTX only: graph strategy, kernel specialization and the
runtime cache, which avoids compiling kernels on the GPU again."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from .events import Events, Failure, Spoken

if TYPE_CHECKING:
    from types import ModuleType

    import tensorrt
    import tensorrt_rtx

    from .request import CachePaths, Request


def execution_contexts(
    trt: ModuleType, engine: tensorrt.ICudaEngine, request: Request, spoken: Spoken, events: Events
) -> tuple[list[tensorrt.IExecutionContext], tensorrt_rtx.IRuntimeCache | None]:
    """As many execution contexts as streams, and the runtime cache or None. Raises Failure."""
    wants = request["specialization"] or request["runtime_cache"] or request["graph"] == "rtx"
    config, cache = None, None
    if wants:
        if request["flavour"] != "tensorrt_rtx":
            raise Failure(
                "config", "only TensorRT-RTX has specialization, a runtime cache and graphs of its own"
            )
        config = engine.create_runtime_config()
        cache = _configure(trt, config, request, events)
    contexts = []
    for _ in range(request["streams"]):
        context = engine.create_execution_context(config) if wants else engine.create_execution_context()
        if context is None:
            reason = spoken.because() or ": there may be too little memory on the GPU"
            raise Failure("memory", f"TensorRT created no execution context{reason}", "use fewer streams")
        contexts.append(context)
    return contexts, cache


def _configure(
    trt: ModuleType, config: tensorrt_rtx.IRuntimeConfig, request: Request, events: Events
) -> tensorrt_rtx.IRuntimeCache | None:
    if request["graph"] == "rtx":
        config.cuda_graph_strategy = trt.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
    if request["specialization"]:
        strategies = trt.DynamicShapesKernelSpecializationStrategy
        strategy = getattr(strategies, request["specialization"].upper())
        config.dynamic_shapes_kernel_specialization_strategy = strategy
    return _runtime_cache(config, request["runtime_cache"], events) if request["runtime_cache"] else None


def _runtime_cache(
    config: tensorrt_rtx.IRuntimeConfig, paths: CachePaths, events: Events
) -> tensorrt_rtx.IRuntimeCache:
    """A runtime cache, loaded from its file if that fits this GPU, driver and version."""
    cache = config.create_runtime_cache()
    path = paths.get("read")
    if path and os.path.exists(path):  # noqa: PTH110
        with open(path, "rb") as file:  # noqa: PTH123
            if not cache.deserialize(file.read()):
                events.send("note", message=f"the runtime cache {path} was made for another GPU or version")
    if not config.set_runtime_cache(cache):
        raise Failure("run", "TensorRT-RTX refused the runtime cache")
    return cache


def save_runtime_cache(request: Request, cache: tensorrt_rtx.IRuntimeCache | None, events: Events) -> None:
    """Write the runtime cache after the runs, atomically."""
    path = (request["runtime_cache"] or {}).get("write")
    if cache is None or not path:
        return
    data = memoryview(cache.serialize())
    with open(path + ".part", "wb") as file:  # noqa: PTH123
        file.write(data)
    os.replace(path + ".part", path)  # noqa: PTH105
    events.send("note", message=f"the runtime cache has {data.nbytes} bytes")
