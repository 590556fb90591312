"""Counts nodes, weights and bytes of a typed ONNX model by element type, and the share in low precision.

Reads types and dims only, never the values of a weight.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import onnx_ir as ir

from trtpipe.precisions.casts.constants import constant_of
from trtpipe.precisions.casts.element_types import Types, element_types, graphs_of
from trtpipe.precisions.casts.free_types import dtype_name
from trtpipe.precisions.casts.signatures import FLOATS

if TYPE_CHECKING:
    from trtpipe.json_values import Json

_COUNTS_NOTHING = frozenset({"Cast", "Constant", "Shape", "Size"})
_QUANTIZES = ("QuantizeLinear", "DequantizeLinear", "DynamicQuantize")


@dataclass(frozen=True, slots=True)
class TypedAudit:
    """Counts by type for a typed model; a share is None when there is nothing to count."""

    nodes: Mapping[str, int]
    casts: int
    weights: Mapping[str, int]
    weight_elements: Mapping[str, int]
    weight_bytes: Mapping[str, int]
    low_nodes: float | None
    """The share of nodes that compute in a low precision."""
    low_elements: float | None
    """The share of the weights' elements that are kept in one."""

    def to_json(self) -> dict[str, Json]:
        """Plain data for a summary."""
        return {
            "nodes": self.nodes,
            "casts": self.casts,
            "weights": self.weights,
            "weight_elements": self.weight_elements,
            "weight_bytes": self.weight_bytes,
            "low_precision_share": {"nodes": self.low_nodes, "weight_elements": self.low_elements},
        }


def typed_audit(model: ir.Model) -> TypedAudit:
    """Counts nodes and weights of a model by type.

    A node is counted by the type of its first float output (else input). Casts, constants, shape queries and nodes that
    only quantize compute nothing and are not counted. Weights are initializers and Constant nodes.
    """
    types = element_types(model)
    nodes = [node for graph in graphs_of(model) for node in graph]
    computed = [found for node in nodes if not _counts_nothing(node) and (found := _type_of(node, types))]
    per_node = Counter(dtype_name(found) for found in computed)
    elements: Counter[str] = Counter()
    nbytes: Counter[str] = Counter()
    tensors: Counter[str] = Counter()
    for tensor in _weights(model):
        name = dtype_name(tensor.dtype)
        tensors[name] += 1
        elements[name] += tensor.size
        nbytes[name] += tensor.nbytes
    return TypedAudit(
        nodes=dict(sorted(per_node.items())),
        casts=sum(node.op_type == "Cast" for node in nodes),
        weights=dict(sorted(tensors.items())),
        weight_elements=dict(sorted(elements.items())),
        weight_bytes=dict(sorted(nbytes.items())),
        low_nodes=_low_share(per_node),
        low_elements=_low_share(elements),
    )


def _counts_nothing(node: ir.Node) -> bool:
    return node.op_type in _COUNTS_NOTHING or node.op_type.endswith(_QUANTIZES)


def _type_of(node: ir.Node, types: Types) -> ir.DataType | None:
    values = (*node.outputs, *(value for value in node.inputs if value is not None))
    return next((types[value] for value in values if types.get(value) in FLOATS), None)


def _weights(model: ir.Model) -> list[ir.TensorProtocol]:
    found = []
    for graph in graphs_of(model):
        found += [value.const_value for value in graph.initializers.values() if value.const_value is not None]
        made = (node.outputs[0] for node in graph if node.op_type == "Constant")
        found += [tensor for value in made if (tensor := constant_of(value)) is not None]
    return found


_LOW = frozenset({"float16", "bfloat16", "int8", "uint8", "int4", "uint4", "float8e4m3fn", "float4e2m1"})
_WIDE = frozenset({"float32", "float64"})


def _low_share(counts: Counter[str]) -> float | None:
    """The share in a low precision among float and quantized elements; integers used for counting are left out."""
    low = sum(count for name, count in counts.items() if name in _LOW)
    total = low + sum(count for name, count in counts.items() if name in _WIDE)
    return low / total if total else None
