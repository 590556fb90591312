"""A lane: one execution context with its stream, buffers and graphs, which processes one run after the other.

A lane enqueues a run (copies in, compute, copies out) and later waits for it; several lanes overlap. The order of calls
is TensorRT's: profile, shapes, values of shape tensors, addresses, `execute_async_v3`. An output whose shape is unknown
until then grows through an output allocator while TensorRT runs.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from .arrays import ElementType, TensorFile
from .buffers import DeviceBuffer, HostBuffer, Memory
from .devices import CudaError, Gpu
from .events import Failure, Spoken
from .graphs import Graph
from .signature import Port, Shape, choose_profile

if TYPE_CHECKING:
    from types import ModuleType

    import tensorrt

MARKS = 4
"""Events of a run: at its start, after the copies in, after compute, after the copies out."""


@dataclass(frozen=True)
class Run:
    """One checked set of inputs; `number` is its position in the request."""

    number: int
    tensors: Mapping[str, TensorFile]
    profile: int | None


@dataclass(frozen=True)
class Output:
    """One output of a finished run; its bytes are in pinned memory until the lane begins another run."""

    name: str
    type: ElementType
    shape: Shape
    data: memoryview


class Tensor:
    """The memory of one input or output in one lane."""

    def __init__(self, port: Port, memory: Memory, stream: int) -> None:
        purpose = f"{'input' if port.is_input else 'output'} '{port.name}'"
        self.port = port
        self.host = HostBuffer(memory, purpose)
        self.device = None if port.on_host else DeviceBuffer(memory, purpose, stream)
        self.shape: Shape = ()

    @property
    def nbytes(self) -> int:
        """The size of the tensor in bytes at its current shape."""
        return self.port.type.nbytes(self.shape)

    def reserve(self) -> None:
        """Make room for the current shape."""
        self.host.reserve(self.nbytes)
        if self.device is not None:
            self.device.reserve(self.nbytes)

    @property
    def address(self) -> int:
        """The address that TensorRT is given."""
        return self.host.address if self.device is None else self.device.address

    def values(self) -> Shape | None:
        """The values of a shape tensor; None when they are not integers."""
        count = self.nbytes * 8 // self.port.type.bits
        letter = {"int32": "i", "int64": "q"}.get(self.port.type.name)
        return struct.unpack(f"<{count}{letter}", self.host.view(self.nbytes)) if letter else None

    def free(self) -> None:
        """Free its memory."""
        if self.device is not None:
            self.device.free()
        self.host.free()


def new_output_allocator(trt: ModuleType, tensor: Tensor) -> tensorrt.IOutputAllocator:
    """Grows an output whose shape depends on data; TensorRT calls it while `execute_async_v3` runs."""
    assert tensor.device is not None
    device: DeviceBuffer = tensor.device
    base: Any = trt.IOutputAllocator

    class OutputAllocator(base):  # type: ignore[misc]
        def __init__(self) -> None:
            base.__init__(self)
            self.failure: Exception | None = None

        def reallocate_output_async(
            self, name: str, memory: int, size: int, alignment: int, stream: int
        ) -> int:
            try:
                device.reserve(size)  # CUDA's alignment of 256 bytes exceeds what TensorRT requests
            except (Failure, CudaError) as error:  # TensorRT would swallow it; raised later
                error.__cause__ = error.__context__ = None  # its frames keep the context alive
                self.failure = error.with_traceback(None)
                return 0
            return device.address

        def reallocate_output(self, name: str, memory: int, size: int, alignment: int) -> int:
            return self.reallocate_output_async(name, memory, size, alignment, 0)

        def notify_shape(self, name: str, shape: tensorrt.Dims) -> None:
            tensor.shape = tuple(int(size) for size in shape)

    return OutputAllocator()


class Shared(NamedTuple):
    """What all lanes have in common."""

    trt: ModuleType
    gpu: Gpu
    memory: Memory
    spoken: Spoken


class Lane:
    """An execution context with its stream, buffers and graphs; must be closed."""

    def __init__(
        self,
        shared: Shared,
        ports: list[Port],
        context: tensorrt.IExecutionContext,
        *,
        capture: bool,
    ) -> None:
        gpu, memory = shared.gpu, shared.memory
        self._trt, self._gpu, self._context, self._spoken = shared.trt, gpu, context, shared.spoken
        self.stream = gpu.new_stream()
        self._marks = [gpu.new_event() for _ in range(MARKS)]
        self._tensors = {port.name: Tensor(port, memory, self.stream) for port in ports}
        self._allocators: dict[str, tensorrt.IOutputAllocator] = {}
        self.graph = Graph(gpu, self.stream, context) if capture else None
        self._bound: object = None
        self._held = -1
        self._began = 0.0
        self.run: Run | None = None
        self.profile = 0
        self.by_graph = False

    # -- one run

    def begin(self, run: Run) -> None:
        """Put a run on the stream; the lane must be idle. Raises Failure, CudaError."""
        assert self.run is None
        if run.number != self._held:
            self._hold(run)
        self._began = time.perf_counter()
        self._mark(0)
        for tensor, device in self._moved(inputs=True):
            self._gpu.call(
                "cuMemcpyHtoDAsync", device.address, tensor.host.address, tensor.nbytes, self.stream
            )
        self._mark(1)
        self._compute()
        self._mark(2)
        for tensor, device in self._moved(inputs=False):
            if tensor.nbytes > device.capacity:
                raise Failure(
                    "run", f"TensorRT gave output '{tensor.port.name}' no memory for {list(tensor.shape)}"
                )
            tensor.host.reserve(tensor.nbytes)
            self._gpu.call(
                "cuMemcpyDtoHAsync", tensor.host.address, device.address, tensor.nbytes, self.stream
            )
        self._mark(3)
        self.run = run

    def finish(self) -> tuple[Run, list[Output], tuple[float, ...]]:
        """Wait for the current run; returns it, its outputs, and its times in microseconds. Raises CudaError."""
        assert self.run is not None
        self._gpu.call("cuStreamSynchronize", self.stream)
        host = (time.perf_counter() - self._began) * 1e6
        spans = zip(self._marks, self._marks[1:], strict=False)
        parts = [self._gpu.microseconds(start, end) for start, end in spans]
        times = (*parts, self._gpu.microseconds(self._marks[0], self._marks[-1]), host)
        run, self.run = self.run, None
        outputs = [tensor for tensor in self._tensors.values() if not tensor.port.is_input]
        return run, [self._output(tensor) for tensor in outputs], times

    def _output(self, tensor: Tensor) -> Output:
        return Output(tensor.port.name, tensor.port.type, tensor.shape, tensor.host.view(tensor.nbytes))

    def _mark(self, index: int) -> None:
        self._gpu.call("cuEventRecord", self._marks[index], self.stream)

    def _moved(self, *, inputs: bool) -> Iterator[tuple[Tensor, DeviceBuffer]]:
        """The tensors that must be copied: those on the GPU that are not empty."""
        for tensor in self._tensors.values():
            if tensor.port.is_input == inputs and tensor.device is not None and tensor.nbytes:
                yield tensor, tensor.device

    # -- before the stream: bytes, shapes, addresses

    def _hold(self, run: Run) -> None:
        """Copy a run's inputs into pinned memory, and pass shapes and addresses to TensorRT when they changed."""
        self._held = -1
        for name, found in run.tensors.items():
            tensor = self._tensors[name]
            tensor.shape = found.shape
            tensor.reserve()
            found.read_into(tensor.host.view(tensor.nbytes))
        hosted = {
            name: tensor
            for name, tensor in self._tensors.items()
            if tensor.port.on_host and name in run.tensors
        }
        shapes = {name: found.shape for name, found in run.tensors.items()}
        wanted = (shapes, {name: bytes(t.host.view(t.nbytes)) for name, t in hosted.items()}, run.profile)
        if wanted != self._bound:
            self._bound = None
            self._bind(shapes, {name: tensor.values() for name, tensor in hosted.items()}, run.profile)
            self._bound = wanted
        self._held = run.number

    def _bind(
        self, shapes: Mapping[str, Shape], values: Mapping[str, Shape | None], profile: int | None
    ) -> None:
        if self.graph is not None:
            self.graph.forget()
        context, ports = self._context, [tensor.port for tensor in self._tensors.values()]
        inputs = [port for port in ports if port.is_input]
        self._use_profile(choose_profile(inputs, shapes, values, profile))
        for port in inputs:
            if not context.set_input_shape(port.name, shapes[port.name]):
                fact = f"TensorRT refused the shape {list(shapes[port.name])} of input '{port.name}'"
                raise Failure("input", fact + self._spoken.because())
            self._set_address(self._tensors[port.name])
        self._infer_shapes()
        for port in ports:
            if not port.is_input:
                self._bind_output(self._tensors[port.name])

    def _use_profile(self, index: int) -> None:
        context = self._context
        if context.active_optimization_profile != index:
            if not context.set_optimization_profile_async(index, self.stream):
                raise Failure("run", f"TensorRT refused profile {index}{self._spoken.because()}")
            self._gpu.call("cuStreamSynchronize", self.stream)
        self.profile = index

    def _infer_shapes(self) -> None:
        context = self._context
        try:
            missing = context.infer_shapes()
        except RuntimeError as error:
            reason = self._spoken.because() or f": {error}"
            raise Failure("input", f"these shapes cannot be combined{reason}") from error
        if missing:
            raise Failure(
                "input", "TensorRT misses the shapes of " + ", ".join(f"'{name}'" for name in missing)
            )

    def _bind_output(self, tensor: Tensor) -> None:
        """A buffer for a known shape, an output allocator for one that depends on data."""
        context, name = self._context, tensor.port.name
        shape = tuple(int(size) for size in context.get_tensor_shape(name))
        if -1 in shape:
            if tensor.device is None:
                raise Failure("engine", f"output '{name}' stands on the host and its shape depends on data")
            if name not in self._allocators:
                self._allocators[name] = new_output_allocator(self._trt, tensor)
            if not context.set_output_allocator(name, self._allocators[name]):
                raise Failure(
                    "run", f"TensorRT refused an allocator for output '{name}'{self._spoken.because()}"
                )
            return
        if name in self._allocators:
            context.set_output_allocator(name, None)  # before its Python object is freed
            del self._allocators[name]
        tensor.shape = shape
        tensor.reserve()
        self._set_address(tensor)

    def _set_address(self, tensor: Tensor) -> None:
        context, name = self._context, tensor.port.name
        if not context.set_tensor_address(name, tensor.address):
            raise Failure("run", f"TensorRT refused an address for '{name}'{self._spoken.because()}")

    # -- on the stream

    def _compute(self) -> None:
        """Run the engine, or replay the graph of an earlier run."""
        if self.graph is None or self._allocators:
            self._execute()
        else:
            self.by_graph = self.graph.run(self._execute)

    def _execute(self) -> None:
        context = self._context
        done = context.execute_async_v3(self.stream)
        for allocator in self._allocators.values():
            if allocator.failure is not None:
                raise allocator.failure
        if not done:
            reason = self._spoken.because() or " and gave no reason"
            raise Failure("run", f"TensorRT did not run the engine{reason}")

    def close(self) -> None:
        """Wait for the GPU, and free everything in reverse order. Raises CudaError when the GPU is lost."""
        self._gpu.call("cuStreamSynchronize", self.stream)
        if self.graph is not None:
            self.graph.forget()
        for tensor in reversed(self._tensors.values()):
            tensor.free()
        self._gpu.call("cuStreamSynchronize", self.stream)  # return the pool's freed memory to the GPU
        self._context = self.graph = None
        self._allocators.clear()
        for event in reversed(self._marks):
            self._gpu.call("cuEventDestroy", event)
        self._gpu.call("cuStreamDestroy", self.stream)
