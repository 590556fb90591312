"""Inlines the If branches that bound inputs or known shapes decide, so that shape inference sees their nodes.

A condition is evaluated by ONNX's reference implementation, on the few nodes that it depends on. Conditions that cannot
be evaluated, or that depend on run-time data, are left alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from trtpipe.canonical.branches import resolve_branches
from trtpipe.canonical.constants import lift_constants
from trtpipe.canonical.edits import remove_unused, values_read
from trtpipe.canonical.inference import Inferred
from trtpipe.canonical.tensors import is_external

if TYPE_CHECKING:
    import onnx

    from trtpipe.arrays import Array
    from trtpipe.json_values import Json

_MOST_NODES = 64
_DEEPEST = 8


def decide_branches(model: onnx.ModelProto, bound: Mapping[str, Json]) -> None:
    """Replaces, in place, each If of the main graph whose condition the values of bound inputs decide."""
    for _ in range(_DEEPEST):
        lift_constants(model)
        decided = [_decide(model, node.input[0], bound) for node in model.graph.node if node.op_type == "If"]
        if not any(decided) or not resolve_branches(model):
            return
        remove_unused(model)


def decide_by_shapes(model: onnx.ModelProto, inferred: Inferred) -> bool:
    """Replaces, in place, each If whose condition follows from the inferred shapes; returns whether there was one."""
    if not any(node.op_type == "If" for node in model.graph.node):
        return False
    lift_constants(model)
    _fix_shapes(model, inferred)
    decided = [_decide(model, node.input[0], {}) for node in model.graph.node if node.op_type == "If"]
    if not any(decided) or not resolve_branches(model):
        return False
    remove_unused(model)
    return True


def without_branches(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy without its Ifs and everything that depends on them; its outputs differ accordingly."""
    copy = type(model)()
    copy.CopyFrom(model)
    unknown: set[str] = set()
    kept = []
    for node in model.graph.node:
        if node.op_type == "If" or not unknown.isdisjoint(values_read(node)):
            unknown.update(node.output)
        else:
            kept.append(node)
    del copy.graph.node[:], copy.graph.output[:]
    copy.graph.node.extend(kept)
    copy.graph.output.extend(one for one in model.graph.output if one.name not in unknown)
    return copy


def _fix_shapes(model: onnx.ModelProto, inferred: Inferred) -> None:
    """Makes every Shape and Size of a tensor whose shape is known a constant."""
    import numpy as np
    import onnx

    kept = []
    for node in model.graph.node:
        dims = inferred.shape(node.input[0]) if node.op_type in ("Shape", "Size") and node.input else None
        sizes = [dim for dim in dims or () if isinstance(dim, int)]
        if dims is None or len(sizes) != len(dims) or node.domain not in ("", "ai.onnx"):
            kept.append(node)
            continue
        ends = {attribute.name: attribute.i for attribute in node.attribute}
        told = sizes[ends.get("start", 0) : ends.get("end", len(sizes))]
        value = np.asarray(told if node.op_type == "Shape" else np.prod(sizes, dtype=np.int64), np.int64)
        model.graph.initializer.append(onnx.numpy_helper.from_array(value, node.output[0]))
    if len(kept) != len(model.graph.node):
        kept = [onnx.NodeProto.FromString(node.SerializeToString()) for node in kept]
        del model.graph.node[:]
        model.graph.node.extend(kept)


def _decide(model: onnx.ModelProto, condition: str, bound: Mapping[str, Json]) -> bool:
    """Makes the condition an initializer if its value is known; returns whether it is one now."""
    import numpy as np
    import onnx

    if any(tensor.name == condition for tensor in model.graph.initializer):
        return True
    value = _value(model, condition, bound)
    if value is None:
        return False
    for node in model.graph.node:
        if condition in node.output:
            node.output[:] = ["" if name == condition else name for name in node.output]
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(value, np.bool_), condition))
    return True


def _value(model: onnx.ModelProto, condition: str, bound: Mapping[str, Json]) -> Array | None:
    import numpy as np
    import onnx
    from onnx.reference import ReferenceEvaluator

    needed = _ancestors(model.graph, condition)
    given = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name in needed and value.name not in given]
    weights = [tensor for tensor in model.graph.initializer if tensor.name in needed]
    nodes = [node for node in model.graph.node if needed & set(node.output)]
    if (
        any(value.name not in bound for value in inputs)
        or any(map(is_external, weights))
        or len(nodes) > _MOST_NODES
    ):
        return None
    output = onnx.helper.make_tensor_value_info(condition, onnx.TensorProto.BOOL, None)
    graph = onnx.helper.make_graph(nodes, "condition", inputs, [output], weights)
    feeds = {
        value.name: np.asarray(
            bound[value.name], onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
        )
        for value in inputs
    }
    try:
        small = onnx.helper.make_model(graph, opset_imports=model.opset_import, functions=model.functions)
        (found,) = ReferenceEvaluator(small).run(None, feeds)
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError):
        return None  # the reference does not support the operator, or the bound value does not fit it
    value: Array = found
    return value


def _ancestors(graph: onnx.GraphProto, name: str) -> set[str]:
    producers = {output: node for node in graph.node for output in node.output if output}
    found: set[str] = set()
    waiting = [name]
    while waiting:
        value = waiting.pop()
        if value in found:
            continue
        found.add(value)
        if value in producers:
            waiting += values_read(producers[value])
    return found
