"""Memory for tensors: pinned on the host, stream-ordered on the GPU; buffers grow and never shrink.

Each I/O tensor of an execution context has one of each. Bytes on the GPU count towards the request's limit. Independent
of TensorRT.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

from .devices import CudaError, Gpu
from .events import Failure

_GRANULE = 512  # CUDA aligns to 256 bytes; rounding up avoids growing for a few more bytes


@dataclass
class Memory:
    """The memory that tensors occupy, in bytes."""

    gpu: Gpu
    limit: int | None = None
    device: int = 0
    device_peak: int = 0
    pinned: int = 0
    pinned_peak: int = 0

    def count(self, *, device: int = 0, pinned: int = 0) -> None:
        """Count allocated bytes; negative for freed ones."""
        self.device += device
        self.pinned += pinned
        self.device_peak = max(self.device_peak, self.device)
        self.pinned_peak = max(self.pinned_peak, self.pinned)

    def refuse(self, more: int, purpose: str) -> None:
        """Raises Failure when so many bytes more would break the limit."""
        if self.limit is not None and self.device + more > self.limit:
            fact = f"{purpose} takes {more} bytes on the GPU, and {self.device} of {self.limit} are taken"
            raise Failure("memory", fact, "raise the memory limit, or use fewer streams or smaller shapes")

    def no_room(self, size: int, purpose: str, where: str) -> Failure:
        """The error for a failed CUDA allocation."""
        free, total = self.gpu.memory()
        fact = f"no room {where} for {size} bytes of {purpose}"
        remedy = "use smaller shapes or fewer streams, or end other programs on it"
        return Failure(
            "memory", fact + (f": {free} of {total} are free" if where == "on the GPU" else ""), remedy
        )


class HostBuffer:
    """Pinned memory, which allows copies to overlap with other work of host and GPU."""

    def __init__(self, memory: Memory, purpose: str) -> None:
        self._memory, self._purpose = memory, purpose
        self.address, self.capacity = 0, 0

    def reserve(self, size: int) -> bool:
        """Make room for `size` bytes, at least one; returns whether the address changed. Not while it is in use."""
        size = max(size, 1)
        if size <= self.capacity:
            return False
        self.free()
        size = -size // _GRANULE * -_GRANULE
        try:
            self.address = int(self._memory.gpu.call("cuMemHostAlloc", size, 0))
        except CudaError as error:
            if error.no_room:
                raise self._memory.no_room(size, self._purpose, "in pinned memory") from error
            raise
        self.capacity = size
        self._memory.count(pinned=size)
        return True

    def view(self, size: int) -> memoryview:
        """The first `size` bytes; valid until the buffer grows."""
        return (
            memoryview((ctypes.c_char * size).from_address(self.address)).cast("B")
            if size
            else memoryview(bytearray())
        )

    def free(self) -> None:
        """Free the memory; may be called repeatedly."""
        if self.capacity:
            self._memory.gpu.call("cuMemFreeHost", self.address)
            self._memory.count(pinned=-self.capacity)
            self.address, self.capacity = 0, 0


class DeviceBuffer:
    """Memory on the GPU, allocated and freed in the order of one stream."""

    def __init__(self, memory: Memory, purpose: str, stream: int) -> None:
        self._memory, self._purpose, self._stream = memory, purpose, stream
        self.address, self.capacity = 0, 0

    def reserve(self, size: int) -> bool:
        """Make room for `size` bytes, at least one; returns whether the address changed. The content is lost."""
        size = max(size, 1)
        if size <= self.capacity:
            return False
        size = -size // _GRANULE * -_GRANULE
        self.free()
        self._memory.refuse(size, self._purpose)
        try:
            self.address = int(self._memory.gpu.call("cuMemAllocAsync", size, self._stream))
        except CudaError as error:
            if error.no_room:
                raise self._memory.no_room(size, self._purpose, "on the GPU") from error
            raise
        self.capacity = size
        self._memory.count(device=size)
        return True

    def free(self) -> None:
        """Free the memory once the stream's current work is done; may be called repeatedly."""
        if self.capacity:
            self._memory.gpu.call("cuMemFreeAsync", self.address, self._stream)
            self._memory.count(device=-self.capacity)
            self.address, self.capacity = 0, 0
