"""Unique names: one for each value in the whole model, for each node, and for each dynamic dimension.

Existing names are kept where possible, because TensorRT writes node and tensor names into the engine and people search
for them. New names depend on the graph alone.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

from trtpipe.canonical.edits import subgraphs
from trtpipe.canonical.tensors import nodes_of

if TYPE_CHECKING:
    import onnx


def fresh(name: str, taken: set[str]) -> str:
    """`name`, or `name_1`, `name_2`, … whichever is free; it is taken from now on."""
    candidate, number = name, 0
    while candidate in taken:
        number += 1
        candidate = f"{name}_{number}"
    taken.add(candidate)
    return candidate


class FreshNames:
    """Hands out unique names like `fresh`; repeated requests for the same name take constant time."""

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self.taken = set(taken)
        self._numbers: dict[str, int] = {}  # wanted name → the last suffix that was given to it

    def __call__(self, wanted: str) -> str:
        """`wanted`, or `wanted_1`, `wanted_2`, … whichever is free; taken from now on."""
        name, number = wanted, self._numbers.get(wanted, 0)
        while name in self.taken:
            number += 1
            name = f"{wanted}_{number}"
        self._numbers[wanted] = number
        self.taken.add(name)
        return name


def make_values_unique(model: onnx.ModelProto) -> int:
    """Renames inner values that share a name with another value of the model; how many."""
    graph = model.graph
    taken = {value.name for value in graph.input} | {tensor.name for tensor in graph.initializer}
    taken |= {name for node in graph.node for name in node.output if name}
    renamed = 0
    for node in graph.node:
        for inner in subgraphs(node):
            renamed += _rename_scope(inner, taken, {})
    return renamed


def _rename_scope(graph: onnx.GraphProto, taken: set[str], outer: dict[str, str]) -> int:
    names = dict(outer)
    defined = [value.name for value in graph.input] + [tensor.name for tensor in graph.initializer]
    defined += [name for node in graph.node for name in node.output if name]
    for name in dict.fromkeys(defined):
        names[name] = fresh(name, taken)
    for value in (*graph.input, *graph.initializer, *graph.output, *graph.value_info):
        value.name = names.get(value.name, value.name)
    renamed: int = sum(names[name] != name for name in set(defined))
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
        for inner in subgraphs(node):
            renamed += _rename_scope(inner, taken, names)
    return renamed


def name_nodes(model: onnx.ModelProto) -> int:
    """Names unnamed nodes `Op_N`, N counted per operator, and adds suffixes to shared names; returns how many.

    Call this before showing nodes of a source or reading node names from a user, so that importing, `check`, the
    reference and `inspect` use the same names. Nodes must be in topological order.
    """
    taken: set[str] = set()
    numbers: Counter[str] = Counter()
    unnamed: list[onnx.NodeProto] = []
    changed = 0
    for node in nodes_of(model):
        if not node.name:
            unnamed.append(node)
            continue
        name = fresh(node.name, taken)
        changed += name != node.name
        node.name = name
    for node in unnamed:
        node.name = fresh(f"{node.op_type}_{numbers[node.op_type]}", taken)
        numbers[node.op_type] += 1
    return changed + len(unnamed)


_SYMBOL = re.compile(r"[A-Za-z_][\w .*+/()-]*")
_MADE_UP = re.compile(r"unk__\d+|None|unknown|dynamic", re.IGNORECASE)


def distinguish_dims(model: onnx.ModelProto) -> tuple[str, ...]:
    """Names every dynamic dimension of an input so that equal names mean equal sizes only where the model says so.

    TensorRT requires dimensions of one name to be equal. A placeholder (`?`, `-1`, `unk__7`), or a name that occurs
    twice in one input, becomes `INPUT_AXIS`; a plausible one shared between inputs is kept. Returns the changes.
    """
    changes: list[str] = []
    dropped: set[str] = set()
    for value in model.graph.input:
        tensor = value.type.tensor_type
        counts = Counter(dim.dim_param for dim in tensor.shape.dim)
        for axis, dim in enumerate(tensor.shape.dim):
            if dim.HasField("dim_value") and dim.dim_value >= 0:
                continue
            old = dim.dim_param
            if _plausible(old) and counts[old] == 1:
                continue
            dim.dim_param = f"{value.name}_{axis}"
            dropped |= {old} if old and not _plausible(old) else set()
            changes.append(f"axis {axis} of '{value.name}': '{old or -1}' became '{dim.dim_param}'")
    _forget(model, dropped)
    return tuple(changes)


def repeated_dims(model: onnx.ModelProto) -> dict[str, str]:
    """The name that `distinguish_dims` gives a dimension → the original name, which another axis of that input has too.

    The model does not guarantee that they are equal, but the author probably meant one size.
    """
    shared: dict[str, str] = {}
    for value in model.graph.input:
        names = [dim.dim_param for dim in value.type.tensor_type.shape.dim]
        for axis, name in enumerate(names):
            if _plausible(name) and names.count(name) > 1:
                shared[f"{value.name}_{axis}"] = name
    return shared


def _plausible(name: str) -> bool:
    return bool(_SYMBOL.fullmatch(name)) and not _MADE_UP.fullmatch(name)


def _forget(model: onnx.ModelProto, names: set[str]) -> None:
    """Removes the dimension from outputs with a dropped name or a size below 0."""
    for value in model.graph.output:
        if value.type.WhichOneof("value") != "tensor_type":
            continue
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param in names or (dim.HasField("dim_value") and dim.dim_value < 0):
                dim.ClearField("value")
