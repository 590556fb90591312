"""The GPU, through the CUDA driver API of cuda-python (`cuda.bindings` 12.8 or later).

The driver API is used instead of the runtime API because it needs only the driver, and because TensorRT, which uses the
runtime API, works in the same primary context. Every handle is a plain int, as TensorRT expects. Independent of
TensorRT.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from .events import Failure

if TYPE_CHECKING:
    from types import ModuleType

    from cuda.bindings import driver as cuda

_NO_ROOM = "CUDA_ERROR_OUT_OF_MEMORY"


class CudaError(Exception):
    """A call of the driver that failed; `name` is CUDA's, such as CUDA_ERROR_ILLEGAL_ADDRESS."""

    def __init__(self, call: str, name: str, text: str) -> None:
        super().__init__(f"{name} ({text}) from {call}")
        self.name = name

    @property
    def no_room(self) -> bool:
        """Whether the call failed for lack of memory."""
        return self.name == _NO_ROOM


class Gpu:
    """One GPU with its primary context current in this thread; `open_gpu` makes it."""

    def __init__(self, driver: ModuleType, index: int) -> None:
        self._driver = driver
        self.index = index
        self.handle = self.call("cuDeviceGet", index)
        attributes = driver.CUdevice_attribute
        major = self.call(
            "cuDeviceGetAttribute", attributes.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, self.handle
        )
        minor = self.call(
            "cuDeviceGetAttribute", attributes.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, self.handle
        )
        self.compute_capability = f"sm{major}{minor}"
        self.name = self.call("cuDeviceGetName", 256, self.handle).split(b"\0")[0].decode(errors="replace")
        self.cuda = version_text(self.call("cuDriverGetVersion"))

    def call(self, name: str, *arguments: object) -> Any:  # noqa: ANN401 - each function of CUDA has its own
        """Call a function of the driver API; returns its result without the error code. Raises CudaError."""
        error, *values = getattr(self._driver, name)(*arguments)
        if int(error):
            raise CudaError(name, error.name, self._text_of(error))
        return values[0] if values else None

    def _text_of(self, error: cuda.CUresult) -> str:
        _, text = self._driver.cuGetErrorString(error)
        return str(text.decode()) if text else "unknown"

    def facts(self) -> dict[str, object]:
        """The facts about the GPU for the parent; memory in bytes."""
        free, total = self.memory()
        facts: dict[str, object] = {
            "index": self.index,
            "name": self.name,
            "compute_capability": self.compute_capability,
        }
        return facts | {"cuda": self.cuda, "memory_total": total, "memory_free": free}

    def memory(self) -> tuple[int, int]:
        """Free and total bytes, of all processes."""
        error, free, total = self._driver.cuMemGetInfo()
        if int(error):
            raise CudaError("cuMemGetInfo", error.name, self._text_of(error))
        return int(free), int(total)

    # -- streams, events, graphs

    def new_stream(self) -> int:
        """A stream that does not wait for the default one."""
        return int(self.call("cuStreamCreate", int(self._driver.CUstream_flags.CU_STREAM_NON_BLOCKING)))

    def new_event(self) -> int:
        """An event that records its time."""
        return int(self.call("cuEventCreate", int(self._driver.CUevent_flags.CU_EVENT_DEFAULT)))

    def microseconds(self, start: int, end: int) -> float:
        """The time between two events that have happened."""
        return float(self.call("cuEventElapsedTime", start, end)) * 1e3

    def capture(self, stream: int, enqueue: Callable[[], None]) -> int:
        """An executable graph of what `enqueue` puts on the stream. Raises CudaError, and what `enqueue` raises."""
        mode = self._driver.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
        self.call("cuStreamBeginCapture", stream, mode)
        try:
            enqueue()
        except BaseException:
            with contextlib.suppress(CudaError):  # after a broken capture the graph is null
                self._drop_graph(self.call("cuStreamEndCapture", stream))
            raise
        graph = self.call("cuStreamEndCapture", stream)
        try:
            return int(self.call("cuGraphInstantiate", graph, 0))
        finally:
            self._drop_graph(graph)

    def _drop_graph(self, graph: cuda.CUgraph) -> None:
        if int(graph):
            self.call("cuGraphDestroy", graph)


def version_text(number: int) -> str:
    """`13000` → `13.0`."""
    return f"{number // 1000}.{number % 1000 // 10}"


@contextlib.contextmanager
def open_gpu(index: int) -> Iterator[Gpu]:
    """The GPU with this index, its primary context retained and current. Raises Failure when there is none."""
    driver = _load_driver()
    try:
        gpu = Gpu(driver, _checked_index(driver, index))
        gpu.call("cuCtxSetCurrent", gpu.call("cuDevicePrimaryCtxRetain", gpu.handle))
    except CudaError as error:
        raise Failure(
            "environment", f"the GPU cannot be used: {error}", "run nvidia-smi to check the driver"
        ) from error
    try:
        yield gpu
    except BaseException as error:
        let_go(error)
        with contextlib.suppress(CudaError):  # after a failed launch even this call fails
            gpu.call("cuDevicePrimaryCtxRelease", gpu.handle)
        raise
    gpu.call("cuDevicePrimaryCtxRelease", gpu.handle)


def let_go(error: BaseException | None) -> None:
    """Free objects that an exception's frames still hold: contexts and engines must go before their GPU."""
    if error is not None:
        import traceback  # imported here, because it is slow to import and rarely needed

        traceback.clear_frames(error.__traceback__)


def _load_driver() -> ModuleType:
    try:
        from cuda.bindings import driver
    except ImportError as error:
        text = f"cannot import cuda.bindings: {error}"
        raise Failure("environment", text, "install cuda-python for this interpreter") from error
    try:
        (state,) = driver.cuInit(0)
    except RuntimeError as missing:  # cuda-python raises this when there is no driver library
        raise _no_driver() from missing
    if int(state):
        raise Failure(
            "environment", f"CUDA does not start: {state.name}", "run nvidia-smi to check the driver"
        )
    found: ModuleType = driver
    return found


def _no_driver() -> Failure:
    remedy = "run it on a machine with an NVIDIA GPU and its driver"
    return Failure("environment", "there is no CUDA driver here, and an engine runs on a GPU only", remedy)


def _checked_index(driver: ModuleType, index: int) -> int:
    error, count = driver.cuDeviceGetCount()
    if int(error) or not count:
        raise Failure("environment", "the CUDA driver sees no GPU", "run nvidia-smi to check the driver")
    if not 0 <= index < count:
        raise Failure("environment", f"there is no GPU {index}", f"choose from 0 to {count - 1}")
    return index
