"""Infers the shapes and types of a few nodes with ONNX's own inference, and checks what their operators accept.

Works on nodes and values; independent of layers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from trtpipe.canonical.propagation import values_fit
from trtpipe.canonical.summary import Dim, TensorInfo, tensor_info
from trtpipe.canonical.tensors import number_of_dtype
from trtpipe.errors import ModelError
from trtpipe.layers.values import Value, shape_text
from trtpipe.problem_codes import Code

if TYPE_CHECKING:
    import onnx

    from trtpipe.arrays import Array

_FACT = re.compile(r"\[(?:Shape|Type)InferenceError\]\s*(?P<fact>.*)", re.DOTALL)
_FEW = 128


def infer_nodes(
    nodes: Sequence[onnx.NodeProto], known: Iterable[Value], opset: int, domains: Iterable[str] = ()
) -> dict[str, TensorInfo]:
    """The inferred outputs of the nodes. Raises ModelError with ONNX's message."""
    import onnx

    values = list(known)
    _check_types(nodes, values, opset)
    constants = [value for value in values if value.array is not None and value.array.size <= _FEW]
    held = {value.name for value in constants}
    graph = onnx.GraphProto(
        name="layer",
        node=nodes,
        input=[_value_info(value) for value in values if value.name not in held],
        initializer=[_tensor(value.name, value.array) for value in constants],
    )
    opsets = [onnx.helper.make_opsetid("", opset), *(onnx.helper.make_opsetid(one, 1) for one in domains)]
    model = onnx.helper.make_model(graph, opset_imports=opsets)
    try:
        inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=values_fit(model))
    except (onnx.shape_inference.InferenceError, RuntimeError, ValueError) as error:
        raise ModelError(Code.SHAPES_NOT_TAKEN, _words(str(error))) from error
    found = (tensor_info(value) for value in inferred.graph.value_info)
    return {info.name: replace(info, dims=known_dims(info.dims)) for info in found}


def known_dims(dims: tuple[Dim, ...] | None) -> tuple[Dim, ...] | None:
    """Inferred dims without ONNX's generated names, which it uses again for other dims."""
    if dims is None:
        return None
    return tuple(None if isinstance(dim, str) and dim.startswith("unk__") else dim for dim in dims)


def _tensor(name: str, array: Array | None) -> onnx.TensorProto:
    import onnx

    assert array is not None
    made: onnx.TensorProto = onnx.numpy_helper.from_array(array, name)
    return made


def _value_info(value: Value) -> onnx.ValueInfoProto:
    import onnx

    made: onnx.ValueInfoProto = onnx.helper.make_tensor_value_info(
        value.name, number_of_dtype(value.dtype), value.dims
    )
    return made


def _words(message: str) -> str:
    """The last and innermost of ONNX's messages, on one line."""
    found = _FACT.search(message)
    fact = " ".join((found["fact"] if found else message).split()).rstrip(".")
    fact = re.sub(r"\(op_type:.*?\):?\s*", "", fact)
    return fact[:1].lower() + fact[1:] if fact[1:2].islower() else fact


def _check_types(nodes: Sequence[onnx.NodeProto], values: Sequence[Value], opset: int) -> None:
    """Rejects a data type that an operator does not accept; ONNX's inference checks only shapes."""
    known = {value.name: value for value in values}
    for node in nodes:
        if not node.domain:
            _check_node(node, known, opset)


def _check_node(node: onnx.NodeProto, known: Mapping[str, Value], opset: int) -> None:
    import onnx

    schema = onnx.defs.get_schema(node.op_type, opset, "")
    allowed = {one.type_param_str: one.allowed_type_strs for one in schema.type_constraints}
    bound: dict[str, Value] = {}
    for index, name in enumerate(node.input):
        value = known.get(name)
        formal = schema.inputs[min(index, len(schema.inputs) - 1)]
        if value is None:
            continue
        types = allowed.get(formal.type_str, [formal.type_str])
        if f"tensor({_schema_name(value.dtype)})" not in types:
            shown = ", ".join(sorted(_plain(one) for one in types if one.startswith("tensor(")))
            raise ModelError(
                Code.SHAPES_NOT_TAKEN,
                f"{node.op_type} does not take {value.dtype} ('{name}')",
                f"it takes {shown}",
            )
        other = bound.setdefault(formal.type_str, value)
        if other.dtype != value.dtype and formal.is_homogeneous:
            fact = (
                f"'{other.name}' {shape_text(other.dims)} is {other.dtype}, but '{name}' {shape_text(value.dims)} "
                f"is {value.dtype}"
            )
            raise ModelError(Code.SHAPES_NOT_TAKEN, fact, "insert a cast layer before one of them")


def _schema_name(dtype: str) -> str:
    return {
        "float32": "float",
        "float64": "double",
        "float8_e4m3fn": "float8e4m3fn",
        "float4_e2m1fn": "float4e2m1",
    }.get(dtype, dtype)


def _plain(type_text: str) -> str:
    inner = type_text.removeprefix("tensor(").removesuffix(")")
    return {"float": "float32", "double": "float64"}.get(inner, inner)
