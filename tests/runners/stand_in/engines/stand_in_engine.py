"""TensorRT's run time with engines that are JSON: what they enqueue are real copies and kernels, by CUDA's driver.

Names and behaviour are those of the bindings: calls that fail return False or None and say why to the logger; shapes
are set before addresses; an output whose shape depends on data asks its output allocator while it runs.

An engine: `tensors` (name, mode, dtype, shape, host, format), `profiles` [{name: [min, opt, max]}], `values` likewise,
`ops` in order (see OPS), `kernels` (path of a cubin), `validity` (bits), `needs` (a version), `weights` (bytes).
"""

from __future__ import annotations

import ctypes
import enum
import json
import math
import signal
import struct
import time
from pathlib import Path

from cuda.bindings import driver

DataType = enum.Enum("DataType", "FLOAT HALF INT8 INT32 BOOL UINT8 FP8 BF16 INT64 INT4 FP4 E8M0")
TensorIOMode = enum.Enum("TensorIOMode", "NONE INPUT OUTPUT")
TensorLocation = enum.Enum("TensorLocation", "DEVICE HOST")
TensorFormat = enum.Enum("TensorFormat", "LINEAR CHW32")
Severity = enum.Enum("Severity", "INTERNAL_ERROR ERROR WARNING INFO VERBOSE")
EngineValidity = enum.Enum("EngineValidity", {"VALID": 0, "SUBOPTIMAL": 1, "INVALID": 2})
EngineInvalidityDiagnostics = enum.IntEnum(
    "EngineInvalidityDiagnostics",
    {
        "VERSION_MISMATCH": 1,
        "UNSUPPORTED_CC": 2,
        "OLD_CUDA_DRIVER": 4,
        "OLD_CUDA_RUNTIME": 8,
        "INSUFFICIENT_GPU_MEMORY": 16,
        "MALFORMED_ENGINE": 32,
        "CUDA_ERROR": 64,
    },
)
LayerInformationFormat = enum.Enum("LayerInformationFormat", "ONELINE JSON")
CudaGraphStrategy = enum.Enum("CudaGraphStrategy", "DISABLED WHOLE_GRAPH_CAPTURE")
DynamicShapesKernelSpecializationStrategy = enum.Enum("Specialization", "LAZY EAGER NONE")
BITS = {"FLOAT": 32, "INT32": 32, "HALF": 16, "BF16": 16, "INT64": 64, "INT4": 4, "FP4": 4}
"""Of the types that do not have 8."""


def cuda(name, *arguments):
    """A call of the driver, whose errors here are the stand-in's own mistakes."""
    error, *values = getattr(driver, name)(*arguments)
    assert not int(error), f"{name}: {error.name}"
    return values[0] if values else None


class ILogger:
    INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = Severity


class IOutputAllocator:
    def __init__(self):
        self.is_initialised = True


class Runtime:
    def __init__(self, logger):
        self.logger = logger

    def deserialize_cuda_engine(self, plan):
        try:
            record = json.loads(bytes(plan))
        except ValueError:
            self.logger.log(
                Severity.ERROR, "IRuntime::deserializeCudaEngine: Error Code 1: Internal Error (bad magic)"
            )
            return None
        if "refused" in record:
            self.logger.log(
                Severity.ERROR, f"Error Code 6: API Usage Error ({record['refused']} In f at a.cpp:1)"
            )
            return None
        return ICudaEngine(record, self.logger)


class ValidatingRuntime(Runtime):
    """TensorRT-RTX's."""

    def get_engine_validity(self, plan):
        try:
            bits = json.loads(bytes(plan)).get("validity", 0)
        except ValueError:
            bits = 32
        return (EngineValidity.INVALID if bits else EngineValidity.VALID), bits


class IRuntimeCache:
    def __init__(self):
        self.kept = b""

    def deserialize(self, blob):
        fits = bytes(blob).startswith(b"cache:")
        self.kept = bytes(blob) if fits else self.kept
        return fits

    def serialize(self):
        return bytearray(self.kept or b"cache:") + b"+"


class IRuntimeConfig:
    cuda_graph_strategy = CudaGraphStrategy.DISABLED
    dynamic_shapes_kernel_specialization_strategy = DynamicShapesKernelSpecializationStrategy.LAZY
    cache = None

    def create_runtime_cache(self):
        return IRuntimeCache()

    def set_runtime_cache(self, cache):
        self.cache = cache
        return True


class ICudaEngine:
    def __init__(self, record, logger):
        self.record, self.logger = record, logger
        self.tensors = {one["name"]: one for one in record["tensors"]}
        self.name = record.get("name", "stand-in")
        self.num_layers = len(record["ops"])
        self.num_io_tensors = len(self.tensors)
        self.num_optimization_profiles = max(len(record.get("profiles", [])), 1)
        self.device_memory_size_v2 = record.get("scratch", 256)
        self.weights = cuda("cuMemAlloc", record["weights"]) if record.get("weights") else None
        self.module = (
            cuda("cuModuleLoadData", Path(record["kernels"]).read_bytes()) if "kernels" in record else None
        )

    def __del__(self):
        if self.weights is not None:
            cuda("cuMemFree", self.weights)

    def get_tensor_name(self, index):
        return list(self.tensors)[index]

    def get_tensor_mode(self, name):
        return TensorIOMode[self.tensors[name]["mode"]]

    def get_tensor_dtype(self, name):
        return DataType[self.tensors[name]["dtype"]]

    def get_tensor_shape(self, name):
        return tuple(self.tensors[name]["shape"])

    def get_tensor_location(self, name):
        return TensorLocation.HOST if self.tensors[name].get("host") else TensorLocation.DEVICE

    def get_tensor_format(self, name):
        return TensorFormat[self.tensors[name].get("format", "LINEAR")]

    def get_tensor_profile_shape(self, name, profile_index):
        profiles = self.record.get("profiles", [])
        shape = self.tensors[name]["shape"]
        return profiles[profile_index].get(name, [shape] * 3) if profiles else [shape] * 3

    def get_tensor_profile_values(self, profile_index, name):
        values = self.record.get("values", [])
        return values[profile_index].get(name, []) if values else []

    def is_shape_inference_io(self, name):
        return bool(self.tensors[name].get("host"))

    def create_engine_inspector(self):
        return EngineInspector(self.record)

    def create_runtime_config(self):
        return IRuntimeConfig()

    def create_execution_context(self, config=None):
        if self.record.get("no_context"):
            self.logger.log(Severity.ERROR, "out of memory for activations")
            return None
        return self.context_class(self, config)


class EngineInspector:
    def __init__(self, record):
        self.record = record

    def get_engine_information(self, form):
        assert form is LayerInformationFormat.JSON
        return json.dumps({"Layers": [op["op"] for op in self.record["ops"]]}) + self.record.get(
            "garbled", ""
        )


class IExecutionContext:
    active_optimization_profile = 0

    def __init__(self, engine, config):
        self.engine, self.config, self.logger = engine, config, engine.logger
        self.shapes, self.addresses, self.allocators = {}, {}, {}
        self.scratch = cuda("cuMemAlloc", engine.device_memory_size_v2)

    def __del__(self):
        cuda("cuMemFree", self.scratch)

    def refuse(self, text):
        self.logger.log(
            Severity.ERROR,
            f"IExecutionContext::enqueueV3: Error Code 3: API Usage Error ({text} In f at a.cpp:1)",
        )
        return False

    def set_optimization_profile_async(self, index, stream):
        self.active_optimization_profile, self.shapes, self.addresses = index, {}, {}
        return True

    def set_input_shape(self, name, shape):
        least, _, greatest = self.engine.get_tensor_profile_shape(name, self.active_optimization_profile)
        if not all(low <= size <= high for low, size, high in zip(least, shape, greatest, strict=True)):
            return self.refuse(f"{name} {shape} is outside the profile")
        self.shapes[name] = tuple(shape)
        return True

    def set_tensor_address(self, name, address):
        self.addresses[name] = int(address)
        return True

    def set_output_allocator(self, name, allocator):
        assert allocator is None or allocator.is_initialised
        self.allocators[name] = allocator
        return True

    def infer_shapes(self):
        if self.engine.record.get("cannot_infer"):
            raise RuntimeError("shapes cannot be broadcast")
        inputs = [
            name for name in self.engine.tensors if self.engine.get_tensor_mode(name) == TensorIOMode.INPUT
        ]
        missing = [name for name in inputs if name not in self.shapes]
        for op in [] if missing else self.engine.record["ops"]:
            if "to" in op:
                self.shapes[op["to"]] = self.output_shape(op)
        return missing

    def output_shape(self, op):
        if op["op"] == "fill":
            return tuple(self.host_values(op["size"]))
        if op["op"] == "nonzero":
            return (-1,)
        if op["op"] == "shape_of":
            return (len(self.shapes[op["from"]]),)
        return self.shapes[op["from"]]

    def get_tensor_shape(self, name):
        return self.shapes[name]

    def nbytes(self, name):
        bits = BITS.get(self.engine.tensors[name]["dtype"], 8)
        return (math.prod(self.shapes[name]) * bits + 7) // 8

    def host_values(self, name):
        count = math.prod(self.shapes[name])
        letter = "q" if self.engine.tensors[name]["dtype"] == "INT64" else "i"
        return struct.unpack(f"<{count}{letter}", ctypes.string_at(self.addresses[name], self.nbytes(name)))

    def execute_async_v3(self, stream):
        assert type(stream) is int and stream
        missing = [
            name
            for name in self.engine.tensors
            if name not in self.addresses and not self.allocators.get(name)
        ]
        if missing:
            return self.refuse(f"no address for {missing}")
        return all(OPS[op["op"]](self, op, stream) is not False for op in self.engine.record["ops"])


class CapturableContext(IExecutionContext):
    """TensorRT-RTX's."""

    def is_stream_capturable(self, stream):
        return not self.engine.record.get("not_capturable")


def copy(context, op, stream):
    """`to` = `from`, by way of the context's scratch memory where it fits."""
    size = context.nbytes(op["from"])
    if size:
        cuda("cuMemcpyDtoDAsync", context.addresses[op["to"]], context.addresses[op["from"]], size, stream)


def fill(context, op, stream):
    """`to` = `byte` everywhere; its shape stands in the shape tensor `size`."""
    if context.nbytes(op["to"]):
        cuda("cuMemsetD8Async", context.addresses[op["to"]], op["byte"], context.nbytes(op["to"]), stream)


def spoil(context, op, stream):
    """The first half of `to` becomes the bytes 63, whatever it was."""
    if context.nbytes(op["to"]):
        cuda("cuMemsetD8Async", context.addresses[op["to"]], 63, context.nbytes(op["to"]) // 2, stream)


def shape_of(context, op, stream):
    """`to`, on the host, = the shape of `from`."""
    shape = context.shapes[op["from"]]
    ctypes.memmove(context.addresses[op["to"]], struct.pack(f"<{len(shape)}q", *shape), 8 * len(shape))


def nonzero(context, op, stream):
    """`to` = indices (int64) of the bytes of `from` that are not 0; how many there are is known when it has run."""
    size = context.nbytes(op["from"])
    data = (ctypes.c_ubyte * max(size, 1))()
    cuda("cuStreamSynchronize", stream)
    if size:
        cuda("cuMemcpyDtoH", ctypes.addressof(data), context.addresses[op["from"]], size)
    found = [index for index in range(size) if data[index]]
    asked = max(8 * len(found), 1) if "asks" not in op else op["asks"]
    allocator = context.allocators[op["to"]]
    address = allocator.reallocate_output_async(op["to"], 0, asked, 256, stream)
    if not address:
        return context.refuse(f"no memory for {op['to']}")
    if found:
        cuda("cuMemcpyHtoD", address, struct.pack(f"<{len(found)}q", *found), 8 * len(found))
    allocator.notify_shape(op["to"], (len(found),))
    return True


def launch(context, op, stream):
    """A kernel over `from` and `to` (float32), by name, with one number; `scratch` is the context's."""
    kernel = cuda("cuModuleGetFunction", context.engine.module, op["kernel"].encode())
    count = math.prod(context.shapes[op["from"]])
    values = (
        context.addresses[op["to"]],
        context.addresses[op["from"]],
        int(context.scratch),
        count,
        op["number"],
    )
    types = (ctypes.c_uint64, ctypes.c_uint64, ctypes.c_uint64, ctypes.c_int64, ctypes.c_float)
    blocks = op.get("blocks") or max((count + 255) // 256, 1)
    cuda("cuLaunchKernel", kernel, blocks, 1, 1, 256, 1, 1, 0, stream, (values, types), 0)


def synchronize(context, op, stream):
    """Waits for the stream, which cannot be while it is captured."""
    (error,) = driver.cuStreamSynchronize(stream)
    return True if not int(error) else context.refuse(f"cannot wait: {error.name}")


def refuse(context, op, stream):
    return context.refuse(op["text"])


def die(context, op, stream):
    signal.raise_signal(
        op["signal"]
    )  # to this thread: sent to the process, another one may take it a moment later


def sleep(context, op, stream):
    time.sleep(op["seconds"])


def throw(context, op, stream):
    raise ValueError("the bindings broke")


OPS = {
    "copy": copy,
    "fill": fill,
    "spoil": spoil,
    "shape_of": shape_of,
    "nonzero": nonzero,
    "launch": launch,
    "synchronize": synchronize,
    "refuse": refuse,
    "die": die,
    "sleep": sleep,
    "throw": throw,
}
