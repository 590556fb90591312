"""A table of a model's nodes: outputs with types and shapes, the number of weights read, and the cost."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trtpipe.canonical.inference import Inferred
from trtpipe.canonical.summary import Dim
from trtpipe.inspection.costs import flops_of_nodes
from trtpipe.inspection.operations import COUNTED
from trtpipe.proofs.corners import nbytes_of_info

if TYPE_CHECKING:
    import onnx


@dataclass(frozen=True, slots=True)
class NodeLine:
    """One node of the main graph. `outputs` are name, dtype and dims; None where unknown.

    `parameters` counts the weights that it reads itself; a shared weight is counted for each of its readers.
    """

    name: str
    op: str
    domain: str
    inputs: tuple[str, ...]
    outputs: tuple[tuple[str, str | None, tuple[Dim, ...] | None], ...]
    parameters: int
    flops: int | None
    """Operations; 0 where none are counted for the operator."""
    output_bytes: int | None


def node_lines(proto: onnx.ModelProto, inferred: Inferred) -> tuple[NodeLine, ...]:
    """The nodes of a model whose shapes were inferred, in the graph's order."""
    weights = {tensor.name: math.prod(tensor.dims) for tensor in proto.graph.initializer}
    flops = flops_of_nodes(proto, inferred, COUNTED)
    return tuple(
        _line(node, inferred, sum(weights.get(name, 0) for name in set(node.input)), flops.get(index, 0))
        for index, node in enumerate(proto.graph.node)
    )


def _line(node: onnx.NodeProto, inferred: Inferred, parameters: int, flops: int | None) -> NodeLine:
    names = [name for name in node.output if name]
    infos = [inferred.values.get(name) for name in names]
    sizes = [nbytes_of_info(info) for info in infos]
    return NodeLine(
        name=str(node.name),
        op=str(node.op_type),
        domain=str(node.domain),
        inputs=tuple(node.input),
        outputs=tuple(
            (name, None, None) if info is None else (name, info.dtype, info.dims)
            for name, info in zip(names, infos, strict=True)
        ),
        parameters=parameters,
        flops=flops,
        output_bytes=None if None in sizes else sum(size or 0 for size in sizes),
    )
