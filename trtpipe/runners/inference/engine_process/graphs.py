"""Captures the work that an execution context enqueues for its current shapes as a CUDA graph, and replays it.

The first run with new shapes is not captured, because TensorRT does some work only the first time. A graph depends on
the state of the context that it was captured from, so it is dropped when the context gets other shapes. If a context or
its stream cannot be captured, runs continue without a graph and the reason is kept.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from .devices import CudaError, Gpu
from .events import Failure

if TYPE_CHECKING:
    import tensorrt


class Graph:
    """The graph of one execution context on one stream; to be closed."""

    def __init__(self, gpu: Gpu, stream: int, context: tensorrt.IExecutionContext) -> None:
        self._gpu, self._stream, self._context = gpu, stream, context
        self._made = 0
        self._went_plain = False
        self.captured, self.replayed = 0, 0
        self.why_not = ""

    def run(self, execute: Callable[[], None]) -> bool:
        """Run `execute`, or replay its graph; returns whether a graph was used."""
        if self._went_plain and not self._made and not self.why_not:
            self._capture(execute)
        if not self._made:
            self._went_plain = True
            execute()
            return False
        self._gpu.call("cuGraphLaunch", self._made, self._stream)
        self.replayed += 1
        return True

    def _capture(self, execute: Callable[[], None]) -> None:
        context = self._context
        if hasattr(context, "is_stream_capturable") and not context.is_stream_capturable(self._stream):  # RTX
            self.why_not = "TensorRT says that this engine cannot be captured with these shapes"
            return
        try:
            self._made = self._gpu.capture(self._stream, execute)
        except (CudaError, Failure) as error:
            self.why_not = f"capturing failed: {error}"
            return
        self.captured += 1

    def forget(self) -> None:
        """Destroy the graph, because the context's state changes."""
        if self._made:
            self._gpu.call("cuGraphExecDestroy", self._made)
        self._made, self._went_plain = 0, False
