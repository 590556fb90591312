"""Element types that TensorRT-RTX rejects: for network tensors in general, and for individual operators.

The types that operators accept are in a tested table (`targets/operator_types.py`). Each row is a type variable of
ONNX's schemas, varied alone; where an operator has several, the row `all` has them varied together, and any other
combination is left to the parser.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING

from trtpipe.proofs.engine_limits.refusal import CUT, NAME, Refusal
from trtpipe.proofs.engine_limits.values import NodeView, TypedGraph
from trtpipe.targets.operator_types import ALL, TypeRefusal, refuses_type, tried_versions

if TYPE_CHECKING:
    import onnx.defs

_NEVER = frozenset({
    "int16", "uint16", "uint32", "uint64", "uint4", "int2", "uint2", "float8_e4m3fnuz", "float8_e5m2",
    "float8_e5m2fnuz", "float8_e8m0fnu",
})  # fmt: skip
"""Types that no tensor of a network has. Strings and the like are told elsewhere (`foreign_types`)."""
_STORED = frozenset({"float8_e4m3fn", "int4", "float4_e2m1fn"})
"""Types in which nothing is computed: only quantizing makes them, only dequantizing reads them."""
_QUANTIZED = _STORED | {"int8"}
_FLOATS = frozenset({"float32", "float16", "bfloat16"})
_STORING = frozenset({
    "Concat", "DequantizeLinear", "Flatten", "Identity", "QuantizeLinear", "Reshape", "Slice", "Squeeze", "Transpose",
    "Unsqueeze",
})  # fmt: skip
"""Operators that may have a constant of such a type; others were tried and refused."""
_DOMAINS = ("", "ai.onnx")
_INSTEAD = "export it with int32 there, which TensorRT takes"
_BORDER = "export the model with a type there that TensorRT takes: float32, float16, bfloat16, int8, int32, int64, bool"


def refused_tensors(graph: TypedGraph) -> Iterator[Refusal]:
    """Inputs, outputs and weights of types that no network can have."""
    ends = [(value.name, "input") for value in graph.proto.graph.input]
    ends += [(value.name, "output") for value in graph.proto.graph.output]
    for name, role in ends:
        if graph.dtype(name) in _NEVER:
            why = f"{role} '{name}' is {graph.dtype(name)}, which TensorRT's parser does not take"
            yield Refusal(why, _INSTEAD if "int" in graph.dtype(name) else _BORDER, value=name)


def refused_types(node: NodeView, version: str) -> Iterator[tuple[str, str]]:
    """Why the input or output types of a node are rejected."""
    read = [node.dtype(index) for index in range(len(node.node.input))]
    made = [node.graph.dtype(name) for name in node.node.output if name]
    never = sorted({one for one in (*read, *made) if one in _NEVER})
    if never:
        yield f"it has {' and '.join(never)}, which no tensor of a network has", CUT
        return
    if node.op == "Cast" and (stored := sorted(_STORED.intersection((*read, *made)))):
        yield f"it casts {stored[0]}, which TensorRT only quantizes to and dequantizes from", CUT
        return
    # operators of TensorRT's own domain store such constants
    if node.op not in _STORING and not node.node.domain:
        constants = [name for name in node.node.input if name in node.graph.constants]
        kinds = sorted({node.graph.dtype(name) for name in constants} & _QUANTIZED)
        if kinds:
            yield (
                f"it reads a constant of {kinds[0]}, which TensorRT's builder takes before DequantizeLinear only",
                CUT,
            )
            return
    refused = _by_table(node, version)
    if refused is not None:
        dtype, found = refused
        instead = [one for one in found.taken if one != "float64"]
        who = (
            f"TensorRT's {found.by}" if found.versions == tried_versions() else f"the {found.by} of {version}"
        )
        yield (
            f"it computes in {dtype}, and {who} takes {_either(instead)} there",
            _in_another(dtype, instead, found),
        )


def _either(types: list[str]) -> str:
    return f"{', '.join(types[:-1])} or {types[-1]}" if len(types) > 1 else "".join(types)


def _in_another(dtype: str, taken: list[str], found: TypeRefusal) -> str:
    """The remedy: float32, a newer version, or another type."""
    newer = f", or build with TensorRT-RTX {tried_versions()[-1]}"
    newer = "" if tried_versions()[-1] in found.versions else newer
    if dtype in _FLOATS and "float32" in taken:
        return f"have it compute in float32: keep: {{fp32: [{NAME}]}} in the variant{newer}"
    return f"export it in {taken[0]}{newer}, or {CUT}" if taken else CUT


def _by_table(node: NodeView, version: str) -> tuple[str, TypeRefusal] | None:
    schema = _schema(node.op, node.graph.opset) if node.node.domain in _DOMAINS else None
    if schema is None:
        return None
    bound = bindings(node, schema)
    floats = {variable: dtype for variable, dtype in bound.items() if dtype in _FLOATS}
    asked = [(variable, dtype) for variable, dtype in bound.items() if dtype not in _FLOATS]
    if len(floats) > 1 and len(set(floats.values())) == 1:
        asked.insert(0, (ALL, next(iter(floats.values()))))
    elif sum(dtype != "float32" for dtype in floats.values()) <= 1:
        asked = [*floats.items(), *asked]
    for variable, dtype in asked:
        if found := refuses_type(version, node.op, variable, dtype):
            return dtype, found
    return None


def bindings(node: NodeView, schema: onnx.defs.OpSchema) -> dict[str, str]:
    """Type variable → the type that the node's inputs give it, as far as known."""
    found: dict[str, str] = {}
    last = len(schema.inputs) - 1
    for index in range(len(node.node.input)):
        dtype = node.dtype(index)
        if dtype and last >= 0:
            found.setdefault(str(schema.inputs[min(index, last)].type_str), dtype)
    return found


@lru_cache(maxsize=1024)
def _schema(op: str, opset: int) -> onnx.defs.OpSchema | None:
    import onnx.defs

    try:
        return onnx.defs.get_schema(op, opset)
    except onnx.defs.SchemaError:
        return None
