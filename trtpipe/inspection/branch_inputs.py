"""Finds scalar inputs that decide a branch, such as a sample rate, and the constants that they are compared with.

TensorRT could build both branches; binding the input to a constant leaves one, which is smaller and usually intended.
Works on a model whose constants are initializers.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeAlias

from trtpipe.canonical.summary import TensorInfo, tensor_info

if TYPE_CHECKING:
    import onnx

Number: TypeAlias = bool | int | float
_COMPARISONS = frozenset({"Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"})


def branch_inputs(proto: onnx.ModelProto) -> dict[str, Number]:
    """Each input of one element that an If's condition depends on, with a value to bind it to.

    The value is the first constant that the input is compared with; True for a boolean; 1 otherwise.
    """
    scalars = {value.name: info for value in proto.graph.input if _is_scalar(info := tensor_info(value))}
    found: dict[str, Number] = {}
    for node in proto.graph.node:
        if node.op_type == "If":
            inputs, compared = _behind(proto, node.input[0])
            for name in inputs & scalars.keys():
                found.setdefault(name, _proposal(scalars[name], compared))
    return dict(sorted(found.items()))


def _is_scalar(info: TensorInfo) -> bool:
    sizes = [dim for dim in info.dims or () if isinstance(dim, int)]
    return info.dims is not None and len(sizes) == len(info.dims) and math.prod(sizes) == 1


def _proposal(info: TensorInfo, compared: list[Number]) -> Number:
    if info.dtype == "bool":
        return True
    number = compared[0] if compared else 1
    return float(number) if "float" in info.dtype else int(number)


def _behind(proto: onnx.ModelProto, condition: str) -> tuple[set[str], list[Number]]:
    """The names that a condition depends on, and the scalar constants of comparisons on the way."""
    producers = {name: node for node in proto.graph.node for name in node.output if name}
    weights = {tensor.name: tensor for tensor in proto.graph.initializer}
    names, waiting, compared = set[str](), [condition], list[Number | None]()
    while waiting:
        name = waiting.pop()
        node = producers.get(name)
        if name in names:
            continue
        names.add(name)
        if node is not None:
            waiting += [source for source in node.input if source]
            if node.op_type in _COMPARISONS:
                compared += [_scalar(weights[source]) for source in node.input if source in weights]
    return names, [value for value in compared if value is not None]


def _scalar(tensor: onnx.TensorProto) -> Number | None:
    from trtpipe.canonical.tensors import array_of

    array = array_of(tensor)
    value: Number | None = array.reshape(-1)[0].item() if array.size == 1 else None
    return value
