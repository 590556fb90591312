"""CUDA's driver API as the runner and the stand-in engine use it, without a GPU: "device" memory is the host's.

Work is done at once, or recorded while its stream is captured. Every address is checked against what is allocated, and
what was given back last is told: when the primary context is released, `ledger.json` in the working directory says
what is still there and in which order things went. `gpu.json` there may set `devices`, `capability`, `memory` (bytes),
`driver` (false: no library) and `fail` {call: [number of the call, error]}.
"""

from __future__ import annotations

import ctypes
import enum
import json
import time
from pathlib import Path

CONFIG = {"devices": 1, "capability": [8, 9], "memory": 1 << 30, "driver": True, "fail": {}}
if Path("gpu.json").exists():
    CONFIG |= json.loads(Path("gpu.json").read_text())

CUresult = enum.IntEnum(
    "CUresult",
    {
        "CUDA_SUCCESS": 0,
        "CUDA_ERROR_INVALID_VALUE": 1,
        "CUDA_ERROR_OUT_OF_MEMORY": 2,
        "CUDA_ERROR_INVALID_HANDLE": 400,
        "CUDA_ERROR_ILLEGAL_ADDRESS": 700,
        "CUDA_ERROR_LAUNCH_FAILED": 719,
        "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED": 900,
    },
)
CUdevice_attribute = enum.IntEnum(
    "CUdevice_attribute",
    {
        "CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR": 75,
        "CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR": 76,
    },
)
CUstream_flags = enum.IntEnum("CUstream_flags", {"CU_STREAM_DEFAULT": 0, "CU_STREAM_NON_BLOCKING": 1})
CUevent_flags = enum.IntEnum("CUevent_flags", {"CU_EVENT_DEFAULT": 0})
CUstreamCaptureMode = enum.IntEnum("CUstreamCaptureMode", {"CU_STREAM_CAPTURE_MODE_THREAD_LOCAL": 1})

OK = (CUresult.CUDA_SUCCESS,)
BAD = (CUresult.CUDA_ERROR_INVALID_HANDLE, None)
blocks: dict[int, tuple[ctypes.Array, str]] = {}
live: dict[str, set[int]] = {
    "stream": set(),
    "event": set(),
    "graph": set(),
    "executable": set(),
    "context": set(),
}
times: dict[int, float] = {}
recordings: dict[int, list] = {}
graphs: dict[int, list] = {}
freed: list[str] = []
calls: dict[str, int] = {}
counter = iter(range(1000, 1 << 30))
lost: list[CUresult] = []
"""The error after which, as on a GPU, every call fails."""


def traced(function):
    """Fails when the configuration says so, and for ever after a lost GPU."""
    name = function.__name__

    def call(*arguments):
        calls[name] = calls.get(name, 0) + 1
        number, error = CONFIG["fail"].get(name, (0, ""))
        if number and calls[name] == number:
            if error in ("CUDA_ERROR_ILLEGAL_ADDRESS", "CUDA_ERROR_LAUNCH_FAILED"):
                lost.append(CUresult[error])
            return CUresult[error], None
        return (lost[0], None) if lost else function(*arguments)

    return call


def taken(kind):
    return sum(len(block) for block, one in blocks.values() if one == kind)


def take(size, kind):
    if kind == "device" and taken("device") + size > CONFIG["memory"]:
        return CUresult.CUDA_ERROR_OUT_OF_MEMORY, None
    block = (ctypes.c_ubyte * size)()
    blocks[ctypes.addressof(block)] = (block, kind)
    return CUresult.CUDA_SUCCESS, ctypes.addressof(block)


def give_back(address, kind):
    if address not in blocks or blocks[address][1] != kind:
        return (CUresult.CUDA_ERROR_INVALID_VALUE,)
    del blocks[address]
    freed.append(kind)
    return OK


def inside(address, size, kind):
    return any(
        one == kind and start <= address and address + size <= start + len(block)
        for start, (block, one) in blocks.items()
    )


def on(stream, work):
    """Do it, or record it for a graph."""
    if stream not in live["stream"]:
        return (CUresult.CUDA_ERROR_INVALID_HANDLE,)
    if stream in recordings:
        recordings[stream].append(work)
    else:
        work()
    return OK


def move(target, source, size, stream):
    return on(stream, lambda: ctypes.memmove(target, source, size))


def new(kind):
    number = next(counter)
    live[kind].add(number)
    return CUresult.CUDA_SUCCESS, number


def drop(kind, number):
    if int(number) not in live[kind]:
        return (CUresult.CUDA_ERROR_INVALID_HANDLE,)
    live[kind].discard(int(number))
    freed.append(kind)
    return OK


def cuInit(flags):
    if not CONFIG["driver"]:
        raise RuntimeError('"cuda" is an NVIDIA driver library and can only be found via system search.')
    return OK


def cuGetErrorString(error):
    return CUresult.CUDA_SUCCESS, error.name.removeprefix("CUDA_ERROR_").lower().replace("_", " ").encode()


def cuDriverGetVersion():
    return CUresult.CUDA_SUCCESS, 13000


def cuDeviceGetCount():
    return CUresult.CUDA_SUCCESS, CONFIG["devices"]


def cuDeviceGet(index):
    return CUresult.CUDA_SUCCESS, index


def cuDeviceGetName(length, device):
    return CUresult.CUDA_SUCCESS, b"Make-believe GPU".ljust(length, b"\0")


def cuDeviceGetAttribute(attribute, device):
    return CUresult.CUDA_SUCCESS, CONFIG["capability"][int(attribute) - 75]


def cuDevicePrimaryCtxRetain(device):
    live["context"].add(1)
    return CUresult.CUDA_SUCCESS, 1


def cuCtxSetCurrent(context):
    return OK


@traced
def cuDevicePrimaryCtxRelease(device):
    drop("context", 1)
    left = {kind: len(numbers) for kind, numbers in live.items()}
    left |= {"device": taken("device"), "pinned": taken("pinned")}
    Path("ledger.json").write_text(json.dumps({"left": left, "freed": freed, "calls": calls}))
    return OK


def cuMemGetInfo():
    return CUresult.CUDA_SUCCESS, CONFIG["memory"] - taken("device"), CONFIG["memory"]


@traced
def cuMemHostAlloc(size, flags):
    return take(size, "pinned")


@traced
def cuMemFreeHost(address):
    return give_back(address, "pinned")


@traced
def cuMemAlloc(size):
    return take(size, "device")


def cuMemFree(address):
    return give_back(int(address), "device")


@traced
def cuMemAllocAsync(size, stream):
    return take(size, "device") if stream in live["stream"] else BAD


@traced
def cuMemFreeAsync(address, stream):
    return give_back(address, "device")


@traced
def cuMemcpyHtoDAsync(target, source, size, stream):
    if not (inside(target, size, "device") and inside(source, size, "pinned")):
        return (CUresult.CUDA_ERROR_INVALID_VALUE,)
    return move(target, source, size, stream)


@traced
def cuMemcpyDtoHAsync(target, source, size, stream):
    if not (inside(source, size, "device") and inside(target, size, "pinned")):
        return (CUresult.CUDA_ERROR_INVALID_VALUE,)
    return move(target, source, size, stream)


@traced
def cuMemcpyDtoDAsync(target, source, size, stream):
    if not (inside(source, size, "device") and inside(target, size, "device")):
        lost.append(CUresult.CUDA_ERROR_ILLEGAL_ADDRESS)
        return OK  # as on a GPU, the next wait tells
    return move(target, source, size, stream)


def cuMemcpyDtoH(target, source, size):
    ctypes.memmove(target, source, size)
    return OK


def cuMemcpyHtoD(target, source, size):
    ctypes.memmove(target, source, size)
    return OK


def cuMemsetD8Async(target, byte, size, stream):
    return on(stream, lambda: ctypes.memset(target, byte, size))


def cuStreamCreate(flags):
    return new("stream")


@traced
def cuStreamDestroy(stream):
    return drop("stream", stream)


@traced
def cuStreamSynchronize(stream):
    return (CUresult.CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED,) if stream in recordings else OK


@traced
def cuStreamBeginCapture(stream, mode):
    recordings[stream] = []
    return OK


def cuStreamEndCapture(stream):
    error, number = new("graph")
    graphs[number] = recordings.pop(stream)
    return error, number


def cuGraphInstantiate(graph, flags):
    error, number = new("executable")
    graphs[number] = graphs[graph]
    return error, number


def cuGraphDestroy(graph):
    return drop("graph", graph)


def cuGraphExecDestroy(graph):
    return drop("executable", graph)


@traced
def cuGraphLaunch(graph, stream):
    if graph not in live["executable"]:
        return (CUresult.CUDA_ERROR_INVALID_HANDLE,)
    for work in graphs[graph]:
        work()
    return OK


def cuEventCreate(flags):
    return new("event")


def cuEventRecord(event, stream):
    times[event] = time.perf_counter()
    return OK


def cuEventElapsedTime(start, end):
    return CUresult.CUDA_SUCCESS, (times[end] - times[start]) * 1e3


@traced
def cuEventDestroy(event):
    return drop("event", event)
