"""The valid range of inputs that index a table: a token id, a type, a position.

Traces the indices of every lookup back to a model input, through operators that move or shift them. Random inputs stay
within these ranges, because otherwise most models with an embedding would fail. Indices that are computed in other ways
(compared, counted, summed) are not traced; lookups inside branches and bodies are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from trtpipe.canonical.folding import infer_values
from trtpipe.canonical.tensors import array_of, graphs_of, is_external, nodes_of

if TYPE_CHECKING:
    import onnx

    from trtpipe.canonical.summary import TensorInfo

Range: TypeAlias = "tuple[int, int]"
"""The least value, and one more than the largest."""

_LOOKUPS = frozenset({"Gather", "GatherElements", "GatherND", "ScatterElements", "ScatterND"})
_MOVES = frozenset({
    "Cast", "Expand", "Flatten", "Identity", "Pad", "Reshape", "Slice", "Split", "Squeeze", "Tile", "Transpose",
    "Unsqueeze",
})  # fmt: skip
"""Operators whose output holds elements of their first input."""
_CHOOSES = {"Concat": slice(0, None), "Where": slice(1, 3)}
"""Operator → those of its inputs whose elements come out."""
_MOST_STEPS = 10_000


def index_ranges(model: onnx.ModelProto) -> dict[str, Range]:
    """Input → the range of its values, 0 or more, for which every lookup that it reaches stays inside its table."""
    graph = model.graph
    tables = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    inputs = {value.name for value in graph.input} - tables.keys()
    trace = _Trace(
        _constants(model), {name: node for node in nodes_of(model) for name in node.output if name}
    )
    values = infer_values(model)
    found: dict[str, Range] = {}
    for node in nodes_of(model):
        rows = _rows(node, tables, values)
        for name, (low, high) in trace.back(node.input[1], (0, rows)) if rows else ():
            if name in inputs:
                least, most = found.get(name, (0, high))
                found[name] = (max(least, low), min(most, high))
    return {name: (low, high) for name, (low, high) in found.items() if low < high}


def _rows(
    node: onnx.NodeProto, tables: Mapping[str, tuple[int, ...]], values: Mapping[str, TensorInfo]
) -> int:
    """The number of rows of a lookup's table; 0 if it is not a table or the number is unknown."""
    if node.op_type not in _LOOKUPS or node.domain not in ("", "ai.onnx") or len(node.input) < 2:
        return 0
    info = values.get(node.input[0])
    dims = tables.get(node.input[0]) or (info.dims if info is not None else None) or ()
    if node.op_type.endswith("ND"):
        return min((dim for dim in dims if isinstance(dim, int)), default=0)
    axis = next((one.i for one in node.attribute if one.name == "axis"), 0)
    size = dims[axis] if -len(dims) <= axis < len(dims) else 0
    return size if isinstance(size, int) else 0


def _constants(model: onnx.ModelProto) -> dict[str, Range]:
    """The least and the largest value of every small integer constant."""
    found: dict[str, Range] = {}
    tensors = [(one.name, one) for graph in graphs_of(model) for one in graph.initializer]
    tensors += [
        (node.output[0], attribute.t)
        for node in nodes_of(model)
        if node.op_type == "Constant"
        for attribute in node.attribute
        if attribute.HasField("t")
    ]
    for name, tensor in tensors:
        array = None if is_external(tensor) else array_of(tensor)
        if array is not None and array.size and array.dtype.kind in "iu":
            found[name] = (int(array.min()), int(array.max()))
    return found


@dataclass(frozen=True, slots=True)
class _Trace:
    """Traces a value back to the values that it is computed from."""

    constants: Mapping[str, Range]
    makers: Mapping[str, onnx.NodeProto]

    def back(self, name: str, wanted: Range) -> Iterator[tuple[str, Range]]:
        """The inputs that `name` is computed from, each with the range that keeps `name` in the range `wanted`."""
        pending = [(name, wanted)]
        for _ in range(_MOST_STEPS):
            if not pending:
                return
            value, bounds = pending.pop()
            node = self.makers.get(value)
            if node is None:
                yield value, bounds
            else:
                pending += self._operands(node, bounds)

    def _operands(self, node: onnx.NodeProto, bounds: Range) -> Iterator[tuple[str, Range]]:
        if node.op_type in _MOVES:
            yield node.input[0], bounds
        elif node.op_type in _CHOOSES:
            for name in node.input[_CHOOSES[node.op_type]]:
                yield name, bounds
        elif node.op_type in ("Add", "Sub"):
            yield from self._shifted(node, bounds)

    def _shifted(self, node: onnx.NodeProto, bounds: Range) -> Iterator[tuple[str, Range]]:
        """The ranges of an addition's operands: a constant shifts the range; two variables get half of it each."""
        (first, second), (low, high) = node.input, bounds
        sign = 1 if node.op_type == "Add" else -1
        if second in self.constants:
            least, most = sorted(sign * one for one in self.constants[second])
            yield first, (low - least, high - most)
        elif first in self.constants and sign > 0:
            least, most = self.constants[first]
            yield second, (low - least, high - most)
        elif sign > 0:
            yield first, (low, (high + 1) // 2)
            yield second, (low, (high + 1) // 2)
