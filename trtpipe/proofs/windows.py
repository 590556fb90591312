"""Checks that the window of each convolution and pooling fits into its input at least once.

ONNX's shape inference lets them pass with an empty or negative size; TensorRT stops in the middle of a build. A pooling
whose input is too small by less than a stride still works: sizes are rounded towards zero, in ONNX Runtime as in
TensorRT, and the elements that exist are pooled. For sizes known only at run time TensorRT's builder cannot prove that,
so no such size is proposed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from trtpipe.canonical.inference import Inferred
from trtpipe.errors import Problem
from trtpipe.problem_codes import Code
from trtpipe.shapes import format_shape

if TYPE_CHECKING:
    import onnx

_ROUNDED = frozenset({"AveragePool", "MaxPool"})
_WINDOWED = frozenset({"AveragePool", "Conv", "LpPool", "MaxPool"})


def windows_of(proto: onnx.ModelProto) -> list[Window]:
    """The windows of the main graph's convolutions and poolings; those with automatic padding always fit."""
    weights = {tensor.name: tuple(tensor.dims) for tensor in proto.graph.initializer}
    nodes = (
        node for node in proto.graph.node if node.op_type in _WINDOWED and node.domain in ("", "ai.onnx")
    )
    return [window for node in nodes if (window := _window_of(node, weights)) is not None]


class Window:
    """The dilated extent of one node's window, and the padding around its input, axis by axis."""

    def __init__(
        self, node: onnx.NodeProto, extent: Sequence[int], padding: Sequence[int], lacking: Sequence[int]
    ) -> None:
        """`lacking` is how many elements may be missing on each axis."""
        self.name = f"'{node.name}' ({node.op_type})" if node.name else str(node.op_type)
        self.input = str(node.input[0])
        self.extent = tuple(extent)
        self.padding = tuple(padding)
        self.lacking = tuple(lacking)

    def problem(self, inferred: Inferred, *, whole: bool = False) -> Problem | None:
        """The problem at the shapes that were inferred; None when it fits or the input's shape is not known.

        With `whole`, windows must be complete.
        """
        lacking = (0,) * len(self.lacking) if whole else self.lacking
        sizes = [dim for dim in inferred.shape(self.input) or () if isinstance(dim, int)][2:]
        if len(sizes) != len(self.extent) or len(inferred.shape(self.input) or ()) != len(sizes) + 2:
            return None
        padded = tuple(size + more for size, more in zip(sizes, self.padding, strict=True))
        sides = zip(self.extent, padded, lacking, strict=True)
        if all(extent <= size + less for extent, size, less in sides):
            return None
        return Problem(
            Code.SHAPES_NOT_TAKEN,
            f"node {self.name} does not accept these shapes: "
            f"its window {format_shape(self.extent)} is larger than {format_shape(padded)}",
        )


def _window_of(node: onnx.NodeProto, weights: Mapping[str, tuple[int, ...]]) -> Window | None:
    """The dilated extent is (kernel - 1) * dilation + 1 (ONNX operator schemas)."""
    attributes = {attribute.name: attribute for attribute in node.attribute}
    if "auto_pad" in attributes and attributes["auto_pad"].s.startswith(b"SAME"):
        return None
    of_weight = weights.get(node.input[1], ())[2:] if len(node.input) > 1 else ()
    kernel = _integers(attributes, "kernel_shape") or of_weight
    dilations = _integers(attributes, "dilations") or (1,) * len(kernel)
    pads = _integers(attributes, "pads") or (0,) * 2 * len(kernel)
    if not kernel or len(dilations) != len(kernel) or len(pads) != 2 * len(kernel):
        return None
    extent = [(size - 1) * dilation + 1 for size, dilation in zip(kernel, dilations, strict=True)]
    strides = _integers(attributes, "strides") or (1,) * len(kernel)
    lacking = [one - 1 for one in strides] if node.op_type in _ROUNDED else [0] * len(kernel)
    if len(lacking) != len(kernel):
        return None
    padding = [pads[axis] + pads[axis + len(kernel)] for axis in range(len(kernel))]
    return Window(node, extent, padding, lacking)


def _integers(attributes: Mapping[str, onnx.AttributeProto], name: str) -> tuple[int, ...]:
    return tuple(attributes[name].ints) if name in attributes else ()


def too_small(windows: Sequence[Window], inferred: Inferred, *, whole: bool = False) -> Iterator[Problem]:
    """The problems of all windows at the inferred shapes; with `whole`, also of incomplete windows."""
    yield from filter(None, (window.problem(inferred, whole=whole) for window in windows))
