"""Rewrites valid ONNX that TensorRT's parser misreads or rejects as equivalent ONNX that it reads correctly.

`docs/parser-bugs.md` says what the parser gets wrong. There is one module for each kind of operator; its rules return
the nodes that replace a node, or None where the parser reads the node correctly. Those nodes are not touched, so that
other models keep their bytes. No rule applies again to the result.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from trtpipe.canonical.edits import replace_nodes
from trtpipe.canonical.opsets import OLDEST, opset_of
from trtpipe.canonical.tensors import graphs_of
from trtpipe.legalization.misreadings.arrangements import (
    rewrite_matmul,
    rewrite_space_to_depth,
    rewrite_trilu,
)
from trtpipe.legalization.misreadings.loops import rewrite_loop
from trtpipe.legalization.misreadings.quantizers import (
    computed_in_floats,
    made_signed,
    rewrite_quantizer,
    whole_in_floats,
)
from trtpipe.legalization.misreadings.recurrences import rewrite_recurrence
from trtpipe.legalization.misreadings.reductions import rewrite_lp_pool, rewrite_norm_pool, rewrite_reduction
from trtpipe.legalization.misreadings.resize import rewrite_resize
from trtpipe.legalization.misreadings.scatter import rewrite_scatter
from trtpipe.legalization.misreadings.scope import Scope
from trtpipe.legalization.misreadings.windows import rewrite_deconvolution, rewrite_pooling

if TYPE_CHECKING:
    import onnx

    Rule = Callable[[onnx.NodeProto, Scope], list[onnx.NodeProto] | None]


def rewrite_misread(model: onnx.ModelProto) -> tuple[dict[str, int], list[str]]:
    """Rewrites what the parser misreads; returns counts of each kind as text, and sentences about costs.

    Expects one name a value and constants in the main graph. A node is left unchanged
    if a fact that its rewrite needs, such as a size, is unknown.
    """
    if opset_of(model) < OLDEST:
        return {}, []  # in older opsets axes are attributes, and most operators of the rules differ
    if not any(node.op_type in _RULES for graph in graphs_of(model) for node in graph.node):
        return {}, []
    scope = Scope.of(model)
    scope.unrounded.update(whole_in_floats(model, scope))
    counts: dict[str, int] = {}
    signed = made_signed(model, scope)
    if signed:
        counts["uint8 made int8"] = signed
    # nested graphs first, because replacing a graph's nodes copies its nested graphs
    for graph in reversed(list(graphs_of(model))):
        _rewrite(graph, scope, counts)
    model.graph.initializer.extend(scope.made)
    floats = sum(counts.get(_label(name), 0) for name in ("QuantizeLinear", "DequantizeLinear"))
    return counts, [computed_in_floats(floats)] if floats else []


def _rewrite(graph: onnx.GraphProto, scope: Scope, counts: dict[str, int]) -> None:
    nodes: list[onnx.NodeProto] = []
    changed = False
    for node in graph.node:
        rule = None if node.domain else _RULES.get(node.op_type)
        instead = rule(node, scope) if rule else None
        nodes.extend([node] if instead is None else instead)
        if instead is not None:
            changed = True
            stays_quantized = node.op_type == "DequantizeLinear" and instead[0].op_type == node.op_type
            label = "weights made int8" if stays_quantized else _label(node.op_type)
            counts[label] = counts.get(label, 0) + 1
    if changed:
        replace_nodes(graph, nodes)


def _label(operator: str) -> str:
    return f"{operator} written plainly"


def _rewrite_norm_windows(node: onnx.NodeProto, scope: Scope) -> list[onnx.NodeProto] | None:
    """LpPool: padding is made explicit first, because the other rule skips windows that extend beyond it."""
    return rewrite_pooling(node, scope) or rewrite_norm_pool(node, scope)


_RULES: dict[str, Rule] = {
    "AveragePool": rewrite_pooling,
    "ConvTranspose": rewrite_deconvolution,
    "DequantizeLinear": rewrite_quantizer,
    "GRU": rewrite_recurrence,
    "GlobalLpPool": rewrite_lp_pool,
    "LSTM": rewrite_recurrence,
    "Loop": rewrite_loop,
    "LpPool": _rewrite_norm_windows,
    "MatMul": rewrite_matmul,
    "MaxPool": rewrite_pooling,
    "QuantizeLinear": rewrite_quantizer,
    "RNN": rewrite_recurrence,
    "ReduceL1": rewrite_reduction,
    "ReduceL2": rewrite_reduction,
    "ReduceLogSum": rewrite_reduction,
    "ReduceSumSquare": rewrite_reduction,
    "Resize": rewrite_resize,
    "ScatterElements": rewrite_scatter,
    "ScatterND": rewrite_scatter,
    "SpaceToDepth": rewrite_space_to_depth,
    "Trilu": rewrite_trilu,
}
