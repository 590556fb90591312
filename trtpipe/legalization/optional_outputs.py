"""Computes optional outputs that TensorRT's parser does not produce, by extra nodes beside the original one.

LayerNormalization's mean and inverse standard deviation are computed in float32 and in two passes: ONNX's own body
computes the variance as a difference of squares, which loses all precision where the mean is large. Dropout's mask at
inference is true everywhere. MaxPool's Indices have no equivalent: `check` rejects them and names the node.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from trtpipe.canonical.edits import integer_of, replace_nodes
from trtpipe.canonical.names import FreshNames
from trtpipe.canonical.summary import TensorInfo
from trtpipe.canonical.tensors import graphs_of, nodes_of
from trtpipe.legalization.added_nodes import AddedNodes
from trtpipe.legalization.misreadings.scope import Scope
from trtpipe.legalization.runtime_operators.parts import real_of

if TYPE_CHECKING:
    import onnx

    from trtpipe.arrays import Array

_FLOATS = ("float32", "float16", "bfloat16")
_EPSILON = 1e-5
_FLOAT32 = 1  # TensorProto.FLOAT
_MASKED_SINCE = 12
"""Before it, ONNX does not say what the mask is at inference."""
_AXES_ARE_INPUTS = 18


def compute_optional_outputs(model: onnx.ModelProto) -> dict[str, int]:
    """Computes them beside their nodes, in place; how many nodes of each operator. Types must be settled."""
    if not any(node.op_type in _RULES and any(node.output[1:]) for node in nodes_of(model)):
        return {}
    work = _Beside(model)
    counts: dict[str, int] = {}
    for graph in reversed(list(graphs_of(model))):  # nested graphs first: a changed graph is copied
        nodes: list[onnx.NodeProto] = []
        for node in graph.node:
            made = work.nodes(node)
            if made:
                counts[node.op_type] = counts.get(node.op_type, 0) + 1
            nodes += [node, *made]
        if len(nodes) > len(graph.node):
            replace_nodes(graph, nodes)
    model.graph.initializer.extend(work.scope.made)
    return counts


class _Beside(AddedNodes):
    """The types and constants of a model that the rules need, and the nodes that they add beside one."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.scope = Scope.of(model)
        super().__init__(self.scope.names, FreshNames(node.name for node in nodes_of(model)))

    def nodes(self, node: onnx.NodeProto) -> list[onnx.NodeProto]:
        """The nodes that make what the node makes no more; none where it stays as it is."""
        rule = None if node.domain or not any(node.output[1:]) else _RULES.get(node.op_type)
        self.begin(node)
        if rule is None or not rule(self, node):
            return []
        del node.output[1:]
        return self._made

    def constant(self, array: Array, what: str) -> str:
        """Adds a constant; its name."""
        return self.scope.constant(f"{self._source_name()}_{what}", array)

    def mean(self, value: str, axes: list[int], output: str = "") -> str:
        """The mean over axes, which are an attribute before opset 18; axes stay with size 1."""
        import numpy as np

        if self.scope.opset < _AXES_ARE_INPUTS:
            return self.add("ReduceMean", [value], output, axes=axes, keepdims=1)
        held = self.constant(np.asarray(axes, np.int64), "axes")
        return self.add("ReduceMean", [value, held], output, keepdims=1)


def _layer_normalization(work: _Beside, node: onnx.NodeProto) -> bool:
    import numpy as np

    value = node.input[0]
    info = work.scope.types.get(value)
    axes = _axes(integer_of(node, "axis", -1), info)
    if info is None or info.dtype not in _FLOATS or not axes:
        return False
    if integer_of(node, "stash_type", _FLOAT32) != _FLOAT32:
        return False  # ONNX's own body says what other types come to
    exact = value if info.dtype == "float32" else work.add("Cast", [value], to=_FLOAT32)
    mean = work.mean(exact, axes, node.output[1])
    if len(node.output) > 2 and node.output[2]:
        away = work.add("Sub", [exact, mean])
        variance = work.mean(work.add("Mul", [away, away]), axes)
        epsilon = work.constant(np.asarray(real_of(node, "epsilon", _EPSILON), np.float32), "epsilon")
        root = work.add("Sqrt", [work.add("Add", [variance, epsilon])])
        work.add("Reciprocal", [root], node.output[2])
    return True


def _axes(axis: int, info: TensorInfo | None) -> list[int]:
    """The normalized axes, counted from the last; empty if the rank is needed and unknown."""
    if axis < 0:
        return list(range(axis, 0))
    rank = None if info is None or info.dims is None else len(info.dims)
    return [] if rank is None else list(range(axis - rank, 0))


def _dropout(work: _Beside, node: onnx.NodeProto) -> bool:
    import numpy as np

    if work.scope.opset < _MASKED_SINCE or not _at_inference(work, node):
        return False
    shape = work.add("Shape", [node.input[0]])
    work.add("Expand", [work.constant(np.asarray(True), "kept"), shape], node.output[1])
    return True


def _at_inference(work: _Beside, node: onnx.NodeProto) -> bool:
    training = node.input[2] if len(node.input) > 2 else ""
    known = work.scope.array(training) if training else None
    return not training or (known is not None and not known.any())


_RULES: Mapping[str, Callable[[_Beside, onnx.NodeProto], bool]] = {
    "Dropout": _dropout,
    "LayerNormalization": _layer_normalization,
}
