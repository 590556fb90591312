"""Moves DequantizeLinear in front of operators that select or move elements of a quantized constant.

Quantizers leave an embedding table in eight bits and dequantize the rows that were looked up. TensorRT accepts an int8
constant only directly before DequantizeLinear, and has no uint8 between nodes. Each element is dequantized
independently, so the order makes no difference; the table stays in eight bits in the file.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from trtpipe.canonical.edits import sort_nodes, values_read
from trtpipe.canonical.names import FreshNames
from trtpipe.canonical.node_types import constants_in
from trtpipe.canonical.tensors import dtype_name, graphs_of, nodes_of
from trtpipe.legalization.quantized_moves import moves

if TYPE_CHECKING:
    import onnx

_WHOLE = ("int8", "uint8")


def dequantize_tables(model: onnx.ModelProto) -> int:
    """Moves DequantizeLinear before what moves elements of a constant, in place; how many constants."""
    if not any(node.op_type == "DequantizeLinear" for node in nodes_of(model)):
        return 0
    taken = FreshNames(name for node in nodes_of(model) for name in (*node.input, *node.output))
    taken.taken |= {one.name for graph in graphs_of(model) for one in (*graph.input, *graph.initializer)}
    count = sum(_dequantize(graph, taken) for graph in graphs_of(model))
    if count:
        sort_nodes(model)  # a scale may be computed by a node that came after the moved one
    return count


def _dequantize(graph: onnx.GraphProto, fresh: FreshNames) -> int:
    constants = dict(constants_in(graph))
    scalars = {name for name, tensor in constants.items() if not tensor.dims}
    tables = [name for name, tensor in constants.items() if dtype_name(tensor.data_type) in _WHOLE]
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in values_read(node):
            readers.setdefault(name, []).append(node)
    ends = {value.name for value in graph.output}
    count = 0
    for table in tables:
        reached = _reached(table, readers, ends)
        given = {tuple(node.input[1:]) for node in reached if node.op_type == "DequantizeLinear"}
        moving = [node for node in reached if node.op_type != "DequantizeLinear"]
        if moving and len(given) == 1 and scalars.issuperset(*given):
            _put_first(graph, table, reached, fresh(f"{table}/dequantized"))
            count += 1
    return count


def _reached(
    table: str, readers: dict[str, list[onnx.NodeProto]], ends: Iterable[str]
) -> list[onnx.NodeProto]:
    """All nodes that move or dequantize elements of a table; none if another node reads one of their outputs."""
    found: list[onnx.NodeProto] = []
    front = [table]
    while front:
        name = front.pop()
        for node in readers.get(name, []):
            dequantizes = node.op_type == "DequantizeLinear" and not node.domain
            first = bool(node.input) and node.input[0] == name and name not in node.input[1:]
            if name in ends or not first or not (dequantizes or moves(node)):
                return []
            found.append(node)
            front += [] if dequantizes else node.output
    return found


def _put_first(graph: onnx.GraphProto, table: str, reached: list[onnx.NodeProto], floats: str) -> None:
    """Dequantizes the table; the later DequantizeLinear nodes become pass-through."""
    import onnx

    moved = {name for node in reached if node.op_type != "DequantizeLinear" for name in node.output}
    first = next(node for node in reached if node.op_type == "DequantizeLinear")
    scale = first.input[1:]
    name = f"{first.name}/table" if first.name else None
    made = onnx.helper.make_node("DequantizeLinear", [table, *scale], [floats], name=name)
    for node in reached:
        if node.input[0] == table:
            node.input[0] = floats
        if node.op_type == "DequantizeLinear":
            node.op_type = "Identity"
            del node.input[1:], node.attribute[:]
    place = min(index for index, node in enumerate(graph.node) if node in reached)
    kept = [value for value in graph.value_info if value.name not in moved]
    del graph.value_info[:]
    graph.value_info.extend(kept)
    graph.node.insert(place, made)
