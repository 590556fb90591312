"""Models of one node, and the same in other element types: what the sweep over types builds.

A specimen is a typed model of ONNX's backend suite with a single node: its shapes, attributes and constants are those
of the suite, so that nothing but the type is new.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import NamedTuple

import numpy as np
import onnx
import onnx.defs

TYPES = ("float32", "float16", "bfloat16", "float64", "int8", "uint8", "int32", "int64", "bool")
"""The types that tensors of a network may have, and float64, which TensorRT takes for float32."""
ALL = "all"
"""Stands for every type variable that has floats, set together."""
_FLOATS = ("float32", "float16", "bfloat16", "float64")

_BY_HAND = """
y = Log(x) | float[2,3] x
y = Sign(x) | float[2,3] x
y = Round(x) | float[2,3] x
y = Tanh(x) | float[2,3] x
y = Cosh(x) | float[2,3] x
y = Atanh(x) | float[2,3] x
y = Softsign(x) | float[2,3] x
y = Hardmax(x) | float[2,3] x
y = MeanVarianceNormalization(x) | float[2,3,4,4] x
y = GlobalLpPool(x) | float[2,3,4,4] x
y = LpPool<kernel_shape = [2, 2]>(x) | float[2,3,4,4] x
y = ReduceL1<keepdims = 0>(x, a) | float[2,3] x | int64[1] a = {1}
y = ReduceL2<keepdims = 0>(x, a) | float[2,3] x | int64[1] a = {1}
y = ReduceMax<keepdims = 0>(x, a) | float[2,3] x | int64[1] a = {1}
y = ReduceMin<keepdims = 0>(x, a) | float[2,3] x | int64[1] a = {1}
y = Min(x, z) | float[2,3] x, float[2,3] z
y = Max(x, z) | float[2,3] x, float[2,3] z
y = Concat<axis = 0>(x, z) | float[2,3] x, float[2,3] z
y = ReduceLogSumExp<keepdims = 0>(x, a) | float[2,3] x | int64[1] a = {1}
y = Sum(x, z) | float[2,3] x, float[2,3] z
y = Mean(x, z) | float[2,3] x, float[2,3] z
y = DepthToSpace<blocksize = 2>(x) | float[1,4,2,2] x
y = Squeeze(x, a) | float[2,1,3] x | int64[1] a = {1}
y = ReverseSequence(x, n) | float[4,2] x, int64[2] n
y = GatherElements<axis = 1>(x, i) | float[2,3] x, int64[2,3] i
y = ScatterND(x, i, u) | float[4,3] x, int64[2,1] i, float[2,3] u
y = InstanceNormalization(x, s, b) | float[1,3,4,4] x | float[3] s = {1, 1, 1}, float[3] b = {0, 0, 0}
y = LayerNormalization(x, s, b) | float[2,3] x | float[3] s = {1, 1, 1}, float[3] b = {0, 0, 0}
y = Attention(q, k, v) | float[1,2,4,8] q, float[1,2,4,8] k, float[1,2,4,8] v
y = Einsum<equation = "ij,jk->ik">(x, z) | float[2,3] x, float[3,4] z
y = Einsum<equation = "ij->ji">(x) | float[2,3] x
y = Shape(x) | float[2,3] x
y = Size(x) | float[2,3] x
y = Resize<mode = "nearest">(x, , s) | float[1,1,2,2] x | float[4] s = {1, 1, 2, 2}
y = Resize<mode = "linear">(x, , s) | float[1,1,2,2] x | float[4] s = {1, 1, 2, 2}
y = Resize<mode = "cubic">(x, , s) | float[1,1,8,8] x | float[4] s = {1, 1, 2, 2}
y = TensorScatter(x, u, i) | float[2,1,4,3] x, float[2,1,1,3] u, int64[2] i
y = RandomNormalLike(x) | float[2,3] x
y = RandomUniformLike(x) | float[2,3] x
y = GridSample(x, g) | float[1,1,4,4] x, float[1,2,2,2] g
y = Pow(x, z) | float[2,3] x, float[2,3] z
y = Conv(x, w) | float[1,3,8,8] x, float[2,3,3,3] w
y = Gemm(x, w, b) | float[2,3] x, float[3,4] w, float[4] b
y = Mod<fmod = 1>(x, z) | float[2,3] x, float[2,3] z
y = Where(c, x, z) | bool[2,3] c, float[2,3] x, float[2,3] z
y = QuantizeLinear(x, s, z) | float[2,3] x | float s = {0.1}, int8 z = {0}
y = Clip(x, l, h) | float[2,3] x | float l = {0}, float h = {1}
y = PRelu(x, s) | float[2,3] x | float[3] s = {0.1, 0.2, 0.3}
"""
"""Nodes of operators of which the learnt half has no model of one node, or too few: node | inputs | constants."""


class Specimen(NamedTuple):
    """A model of one node, the type variable of the node's operator that was set, and to what."""

    op: str
    variable: str
    dtype: str
    model: onnx.ModelProto


def single(model: onnx.ModelProto) -> onnx.NodeProto | None:
    """The one node of a model that has one, without a body; else None."""
    nodes = list(model.graph.node)
    if len(nodes) != 1 or nodes[0].domain not in ("", "ai.onnx"):
        return None
    kinds = (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS)
    return None if any(one.type in kinds for one in nodes[0].attribute) else nodes[0]


def form_of(node: onnx.NodeProto) -> tuple[object, ...]:
    """What tells uses of an operator apart: which attributes are written, and which inputs are given."""
    return (
        node.op_type,
        tuple(sorted(one.name for one in node.attribute)),
        tuple(bool(one) for one in node.input),
    )


def variants(model: onnx.ModelProto) -> Iterator[Specimen]:
    """The model with every type that ONNX allows for each type variable of its node's inputs; as it is, too."""
    node = single(model)
    if node is None:
        return
    schema = _schema(model, node)
    if schema is None or _hands_through(node, schema):
        return
    bound = bindings(model, node, schema)
    allowed = {one.type_param_str: frozenset(one.allowed_type_strs) for one in schema.type_constraints}
    for variable, dtype in bound.items():
        if "tensor(float)" not in allowed.get(variable, ()):
            continue  # indices, axes, truth values: how they are taken depends on more than their type
        for wanted in TYPES:
            if f"tensor({spelled(wanted)})" not in allowed.get(variable, ()):
                continue
            made = model if wanted == dtype else _retyped(model, schema, {variable}, wanted)
            if made is not None:
                yield Specimen(node.op_type, variable, wanted, made)
    floats = {variable for variable, dtype in bound.items() if dtype in _FLOATS}
    if len(floats) > 1:
        for wanted in ("float32", "float16", "bfloat16"):
            made = _retyped(model, schema, floats, wanted)
            if made is not None:
                yield Specimen(node.op_type, ALL, wanted, made)


def _hands_through(node: onnx.NodeProto, schema: onnx.defs.OpSchema) -> bool:
    """Whether an operator of any number of inputs has one, so that nothing is computed in whatever type."""
    variadic = onnx.defs.OpSchema.FormalParameterOption.Variadic
    return schema.inputs[-1].option == variadic and len(node.input) == 1 and len(schema.inputs) == 1


def by_hand() -> Iterator[onnx.ModelProto]:
    """The models of the list above."""
    for line in filter(None, _BY_HAND.splitlines()):
        node, inputs, constants = [*(part.strip() for part in line.split("|")), ""][:3]
        opset = 24 if "TensorScatter" in node or "Attention" in node else 22
        text = (
            f'<ir_version: 10, opset_import: ["" : {opset}]> g ({inputs}) => (y) <{constants}> {{ {node} }}'
        )
        text = text.replace("<>", "")
        model = onnx.parser.parse_model(text.replace("=> (y)", "=> (float y)"))
        model.graph.node[0].name = "n"
        yield _inferred(model) or model


def spelled(dtype: str) -> str:
    """ONNX's schemas say `float` and `double`."""
    return {"float32": "float", "float64": "double"}.get(dtype, dtype)


def bindings(model: onnx.ModelProto, node: onnx.NodeProto, schema: onnx.defs.OpSchema) -> dict[str, str]:
    """Type variable → the type that the node's inputs give it."""
    known = {value.name: value.type.tensor_type.elem_type for value in model.graph.input}
    known |= {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    found: dict[str, str] = {}
    for index, name in enumerate(node.input):
        if name in known:
            found.setdefault(_variable(schema, index), _called(known[name]))
    return found


def _called(number: int) -> str:
    name = onnx.TensorProto.DataType.Name(number).lower()
    return {"float": "float32", "double": "float64"}.get(name, name)


def _number(dtype: str) -> int:
    return int(onnx.TensorProto.DataType.Value(spelled(dtype).upper()))


def _variable(schema: onnx.defs.OpSchema, index: int) -> str:
    return str(schema.inputs[min(index, len(schema.inputs) - 1)].type_str)


def _schema(model: onnx.ModelProto, node: onnx.NodeProto) -> onnx.defs.OpSchema | None:
    opset = next((item.version for item in model.opset_import if item.domain in ("", "ai.onnx")), 1)
    try:
        return onnx.defs.get_schema(node.op_type, opset)
    except onnx.defs.SchemaError:
        return None


def _retyped(
    model: onnx.ModelProto, schema: onnx.defs.OpSchema, variables: Collection[str], dtype: str
) -> onnx.ModelProto | None:
    made = onnx.ModelProto()
    made.CopyFrom(model)
    node, number = made.graph.node[0], _number(dtype)
    names = {name for index, name in enumerate(node.input) if name and _variable(schema, index) in variables}
    for value in made.graph.input:
        if value.name in names:
            value.type.tensor_type.elem_type = number
    try:
        tensors = [_cast(one, number) if one.name in names else one for one in made.graph.initializer]
    except (ValueError, TypeError, OverflowError):
        return None
    held = onnx.GraphProto(initializer=tensors)
    del made.graph.initializer[:]
    made.graph.initializer.extend(held.initializer)
    return _inferred(made)


def _cast(tensor: onnx.TensorProto, number: int) -> onnx.TensorProto:
    array = onnx.numpy_helper.to_array(tensor)
    with np.errstate(all="ignore"):
        return onnx.numpy_helper.from_array(
            array.astype(onnx.helper.tensor_dtype_to_np_dtype(number)), tensor.name
        )


def _inferred(model: onnx.ModelProto) -> onnx.ModelProto | None:
    """The model with the types of its outputs inferred anew; None where ONNX does not know them."""
    del model.graph.value_info[:]
    for value in model.graph.output:
        value.type.Clear()
    try:
        made = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
        onnx.checker.check_model(made)
    except Exception:
        return None
    if any(not value.type.tensor_type.elem_type for value in made.graph.output):
        return None
    return made
