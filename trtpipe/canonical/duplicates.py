"""Removes duplicate and unused computations (common subexpressions, no-ops): the extra pass of `simplify`.

Uses only rewrites that keep every result identical to the last bit; operator fusion is left to TensorRT.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trtpipe.canonical.edits import integer_of, integers_of, keep_nodes, rename_reads, subgraphs
from trtpipe.canonical.folding import infer_values
from trtpipe.canonical.summary import TensorInfo
from trtpipe.canonical.tensors import is_external, number_of_dtype

if TYPE_CHECKING:
    import onnx

_RANDOM_OPERATORS = (
    "Bernoulli Dropout Multinomial RandomNormal RandomNormalLike RandomUniform RandomUniformLike"
)
_RANDOM = frozenset(_RANDOM_OPERATORS.split())


def merge_duplicates(model: onnx.ModelProto) -> int:
    """Merges equal small constants, and equal nodes with equal inputs in the main graph; how many were removed."""
    removed = _merge_constants(model)
    outputs = {value.name for value in model.graph.output}
    first: dict[tuple[object, ...], onnx.NodeProto] = {}
    names: dict[str, str] = {}
    gone: set[str] = set()
    for node in model.graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        if node.op_type in _RANDOM or any(True for _ in subgraphs(node)) or outputs & set(node.output):
            continue
        twin = first.setdefault(_key(node), node)
        if twin is not node:
            names.update(zip(node.output, twin.output, strict=True))
            gone.add(node.output[0])
    names.pop("", None)
    rename_reads(model, names)
    return removed + keep_nodes(model.graph, lambda node: node.output[0] not in gone)


def _key(node: onnx.NodeProto) -> tuple[object, ...]:
    attributes = sorted(attribute.SerializeToString(deterministic=True) for attribute in node.attribute)
    return node.domain, node.op_type, tuple(node.input), tuple(map(bool, node.output)), tuple(attributes)


def _merge_constants(model: onnx.ModelProto) -> int:
    outputs = {value.name for value in model.graph.output}
    first: dict[tuple[object, ...], str] = {}
    names: dict[str, str] = {}
    for tensor in model.graph.initializer:
        if is_external(tensor) or tensor.name in outputs or tensor.data_type == tensor.STRING:
            continue
        twin = first.setdefault((tensor.data_type, tuple(tensor.dims), tensor.raw_data), tensor.name)
        if twin != tensor.name:
            names[tensor.name] = twin
    rename_reads(model, names)
    kept = type(model.graph)(initializer=[t for t in model.graph.initializer if t.name not in names])
    model.graph.ClearField("initializer")
    model.graph.initializer.extend(kept.initializer)
    return len(names)


def remove_idle(model: onnx.ModelProto) -> int:
    """Removes casts to the same type, transposes without effect and concatenations of one tensor; how many."""
    types = infer_values(model)
    outputs = {value.name for value in model.graph.output}
    names: dict[str, str] = {}
    for node in model.graph.node:
        if not node.domain and _is_idle(node, types) and node.output[0] not in outputs:
            names[node.output[0]] = names.get(node.input[0], node.input[0])
    rename_reads(model, names)
    return keep_nodes(model.graph, lambda node: node.output[0] not in names)


def _is_idle(node: onnx.NodeProto, types: dict[str, TensorInfo]) -> bool:
    if node.op_type == "Cast":
        info = types.get(node.input[0])
        return info is not None and number_of_dtype(info.dtype) == integer_of(node, "to") != 0
    if node.op_type == "Transpose":
        permutation = integers_of(node, "perm")
        return bool(permutation) and permutation == sorted(permutation)
    return node.op_type == "Concat" and len(node.input) == 1
