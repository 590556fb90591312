"""Finds NaN and infinities among the weights of a model: a broken checkpoint, which no comparison would show.

The reference computes with the same NaN, so its outputs are as broken as the engine's and compare equal; a Clip or a
Max after it even hides them. So the values themselves are checked, in chunks, so that memory holds one chunk.

Whether such a value is intended is judged by the operators that read it:

    NaN              an error, except for a single NaN as fill value (Where, Pad, ConstantOfShape): a warning
    infinities       an error where they are multiplied and summed (Conv, MatMul, normalizations, ...), because they
                     reach every output or become NaN; no message for a mask (infinities and at most one other value,
                     which are added, chosen or compared); otherwise a warning

Independent of files and of positions in a spec.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trtpipe.canonical.tensors import graphs_of, has_size, nodes_of
from trtpipe.errors import Problem, Severity
from trtpipe.problem_codes import Code
from trtpipe.shapes import format_shape
from trtpipe.weights.pieces import WeightStream, stream_of

if TYPE_CHECKING:
    import onnx

    Readers = Mapping[str, Sequence[onnx.NodeProto]]

_FLOATS = frozenset({"float16", "bfloat16", "float32", "float64", "float8_e4m3fn", "float8_e5m2"})
_PASSES_ON = frozenset({
    "Cast", "CastLike", "Concat", "DequantizeLinear", "Expand", "Flatten", "Gather", "Identity", "QuantizeLinear",
    "Reshape", "Slice", "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze",
})  # fmt: skip
"""Operators behind which the values are looked for at the next reader."""
_SUMS = frozenset({
    "Attention", "BatchNormalization", "Conv", "ConvTranspose", "DeformConv", "Einsum", "GRU", "Gemm",
    "GroupNormalization", "InstanceNormalization", "LSTM", "LayerNormalization", "MatMul", "PRelu", "RMSNormalization",
    "RNN",
})  # fmt: skip
"""Operators that take weights; an infinite one reaches their outputs, or meets a 0 and becomes NaN."""
_MASKS = frozenset({
    "Add", "And", "Clip", "ConstantOfShape", "Equal", "Greater", "GreaterOrEqual", "IsInf", "Less", "LessOrEqual",
    "Max", "Min", "Pad", "ScatterElements", "ScatterND", "Sub", "Trilu", "Where",
})  # fmt: skip
"""Operators to which people give infinities on purpose."""
_FILLS = frozenset({"ConstantOfShape", "Pad", "ScatterElements", "ScatterND", "Where"})


@dataclass(frozen=True, slots=True)
class _Census:
    """How many values of a tensor are NaN and infinite, and whether all others are equal."""

    nan: int
    infinite: int
    uniform: bool


def prove_weights(model: onnx.ModelProto) -> list[Problem]:
    """Every float constant of a model or skeleton with NaN or infinities that cannot be intended.

    Only constants that a node reads or that are outputs count. Raises ModelError when a file cannot be read.
    """
    readers = _readers(model)
    problems = []
    for tensor, node in _constants(model):
        name = str(tensor.name) if node is None else str(node.output[0])
        itself = [node] if node is not None and node.op_type != "Constant" else None
        users = itself or _real_readers(name, readers)
        stream = stream_of(tensor, name)
        if users and stream.dtype in _FLOATS and (problem := _judged(stream, users)) is not None:
            problems.append(problem)
    return problems


def _constants(model: onnx.ModelProto) -> Iterator[tuple[onnx.TensorProto, onnx.NodeProto | None]]:
    """Initializers, and the tensors of nodes with their node."""
    for graph in graphs_of(model):
        for tensor in graph.initializer:
            if has_size(tensor):
                yield tensor, None
    for node in nodes_of(model):
        for attribute in node.attribute:
            if attribute.HasField("t") and has_size(attribute.t) and node.output:
                yield attribute.t, node


def _readers(model: onnx.ModelProto) -> dict[str, list[onnx.NodeProto]]:
    found: dict[str, list[onnx.NodeProto]] = defaultdict(list)
    for node in nodes_of(model):
        for name in node.input:
            found[name].append(node)
    return found


def _real_readers(name: str, readers: Readers) -> list[onnx.NodeProto]:
    """The nodes that compute with a value, skipping nodes that only pass it on, unless nothing follows these."""
    found: list[onnx.NodeProto] = []
    seen, pending = {name}, [name]
    while pending:
        for node in readers.get(pending.pop(), ()):
            further = [one for one in node.output if one in readers and node.op_type in _PASSES_ON]
            if not further:
                found.append(node)
            pending += [one for one in further if one not in seen]
            seen.update(further)
    return found


def _judged(stream: WeightStream, users: Sequence[onnx.NodeProto]) -> Problem | None:
    census = _census(stream)
    operators = {node.op_type for node in users}
    if census.nan:
        filling = stream.count == 1 and operators <= _FILLS
        return _problem(stream, users, f"{census.nan} NaN", "warning" if filling else "error")
    if not census.infinite or (operators <= _MASKS and census.uniform):
        return None
    heavy = [node for node in users if node.op_type in _SUMS]
    many = f"{census.infinite} {'infinity' if census.infinite == 1 else 'infinities'}"
    return _problem(stream, heavy or users, many, "error" if heavy else "warning")


_BROKEN = (
    "export the model again from finite weights: the checkpoint, or what was computed from it, is broken"
)
_MEANT = "nothing is to be done if that is meant; else export the model again from finite weights"


def _problem(stream: WeightStream, users: Sequence[onnx.NodeProto], what: str, severity: Severity) -> Problem:
    first = users[0]
    reader = f"node '{first.name}' ({first.op_type})" if first.name else f"a {first.op_type}"
    more = f" and {len(users) - 1} more" if len(users) > 1 else ""
    shape = format_shape(stream.dims or ()) or "scalar"
    many = f"{what} among {stream.count} values"
    fact = f"constant '{stream.name}' ({shape}), which {reader}{more} reads, holds {many}"
    remedy = _BROKEN if severity == "error" else _MEANT
    return Problem(Code.NONFINITE_WEIGHTS, fact, remedy, path=("model", "source"), severity=severity)


def _census(stream: WeightStream) -> _Census:
    """Counts a tensor's NaN and infinities: one pass for a clean tensor, two for one that has some."""
    import numpy as np

    if all(np.isfinite(piece).all() for piece in stream.pieces()):
        return _Census(0, 0, uniform=False)
    nan = infinite = 0
    least, most = float("inf"), float("-inf")
    for piece in stream.pieces():
        finite, broken = np.isfinite(piece), int(np.count_nonzero(np.isnan(piece)))
        nan, infinite = nan + broken, infinite + int(piece.size - np.count_nonzero(finite)) - broken
        kept = piece[finite]
        if kept.size:
            least, most = min(least, float(kept.min())), max(most, float(kept.max()))
    return _Census(nan, infinite, least >= most)
