"""Squeezes without axes: they remove every axis of size 1, so the rank of the result depends on sizes.

TensorRT fixes ranks at build time and keeps every dynamic axis: such an axis must not have the size 1 in a profile.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from trtpipe.canonical.inference import Inferred, infer_at
from trtpipe.errors import Problem
from trtpipe.problem_codes import Code

if TYPE_CHECKING:
    import onnx


class OpenSqueeze:
    """A Squeeze without axes, and the axes of its input whose sizes the model leaves open."""

    def __init__(self, node: onnx.NodeProto, axes: Sequence[int]) -> None:
        self.name = f"'{node.name}' (Squeeze)" if node.name else "of type Squeeze"
        self.input = str(node.input[0])
        self.axes = tuple(axes)


def open_squeezes(proto: onnx.ModelProto) -> list[OpenSqueeze]:
    """The Squeezes of the main graph with dynamic axes, by the sizes that the model declares."""
    nodes = [node for node in proto.graph.node if node.op_type == "Squeeze" and _names_no_axes(node)]
    if not nodes:
        return []
    known = infer_at(proto, {})
    found = []
    for node in nodes:
        dims = known.shape(node.input[0]) or ()
        axes = [axis for axis, dim in enumerate(dims) if not isinstance(dim, int)]
        found += [OpenSqueeze(node, axes)] if axes else []
    return found


def rank_lost(squeezes: Sequence[OpenSqueeze], inferred: Inferred) -> Iterator[Problem]:
    """The problems of dynamic axes that have one element at the inferred shapes."""
    for squeeze in squeezes:
        dims = inferred.shape(squeeze.input) or ()
        ones = [axis for axis in squeeze.axes if axis < len(dims) and dims[axis] == 1]
        if ones:
            fact = (
                f"node {squeeze.name} does not accept these shapes: it names no axes, so at size 1 of axis {ones[0]} "
                f"of '{squeeze.input}' the rank of its output would be another, which TensorRT fixes when it builds"
            )
            remedy = "export it with the axes that it squeezes, or serve sizes from 2"
            yield Problem(Code.SHAPES_NOT_TAKEN, fact, remedy)


def _names_no_axes(node: onnx.NodeProto) -> bool:
    given = len(node.input) > 1 and node.input[1]
    return not given and not any(attribute.name == "axes" for attribute in node.attribute)
