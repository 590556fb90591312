"""Where to cut a model whose last steps TensorRT-RTX cannot build, such as a non-maximum suppression.

A cut is proposed only if nearly all of the model's matrix products and convolutions stay in the engine: cutting off
everything but the first layer would be no useful proposal.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from trtpipe.canonical.edits import values_read
from trtpipe.errors import Problem
from trtpipe.inspection.operations import PRODUCTS
from trtpipe.proofs.model import ModelView
from trtpipe.proofs.refused_forms import Forms
from trtpipe.proofs.rtx_operators import operator_refusals

if TYPE_CHECKING:
    import onnx

_VERSION = "1.7"
_LEAST_SHARE = 0.9
"""Of the products, by number; of all nodes where there are no products."""


def refused_tail(view: ModelView) -> tuple[tuple[str, ...], Problem] | None:
    """The outputs at which to cut, and why; None if there is nothing to cut off, or the cut would remove too much."""
    live = view.live_nodes()
    forms = Forms(view.proto, live)
    refusals = {
        index: problem
        for index, node in enumerate(live)
        for problem in [*operator_refusals([node], _VERSION), *forms.among([node])]
        if problem.severity == "error"
    }
    if not refusals:
        return None
    refused = [live[index] for index in refusals]
    lost = _reached(live, refused)
    kept = [node for node in live if not lost.intersection(node.output)]
    if _weight(kept) < _LEAST_SHARE * _weight(live):
        return None
    made = {name for node in kept for name in node.output if name}
    read = [name for node in refused for name in values_read(node) if name in made]
    ends = [info.name for info in view.outputs if info.name in made]
    cut = tuple(dict.fromkeys([*read, *ends]))
    return (cut, next(iter(refusals.values()))) if cut else None


def _reached(live: Sequence[onnx.NodeProto], refused: Sequence[onnx.NodeProto]) -> set[str]:
    """The outputs of the rejected nodes, and everything computed from them."""
    reached = {name for node in refused for name in node.output if name}
    for node in live:
        if not reached.isdisjoint(values_read(node)):
            reached.update(filter(None, node.output))
    return reached


def _weight(nodes: Sequence[onnx.NodeProto]) -> int:
    """The weight of a node: products count most, other nodes far less."""
    return sum(1000 if node.op_type in PRODUCTS else 1 for node in nodes)
