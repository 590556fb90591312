"""Operator signatures: which types each input and output of an ONNX operator may have, from ONNX's own schemas.

Used by `element_types` and `type_plan`; does not look at graphs.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import onnx.defs
import onnx_ir as ir

FLOATS = frozenset({ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.BFLOAT16, ir.DataType.DOUBLE})
"""The types between which a Cast only changes precision."""

TYPE_ATTRIBUTES = {
    "Cast": "to",
    "RandomNormal": "dtype",
    "RandomUniform": "dtype",
    "RandomNormalLike": "dtype",
    "RandomUniformLike": "dtype",
    "EyeLike": "dtype",
    "Bernoulli": "dtype",
    "Multinomial": "dtype",
    "BlackmanWindow": "output_datatype",
    "HammingWindow": "output_datatype",
    "HannWindow": "output_datatype",
    "MelWeightMatrix": "output_datatype",
    "QuantizeLinear": "output_dtype",
    "DequantizeLinear": "output_dtype",
}
"""Operators whose output type is an attribute."""

FLOAT_BY_DEFAULT = frozenset(
    {"RandomNormal", "RandomUniform", "BlackmanWindow", "HammingWindow", "HannWindow", "MelWeightMatrix"}
)
"""Those of them that make float32 when the attribute is left out."""
_STANDARD = ("", "ai.onnx")


@dataclass(frozen=True, slots=True)
class Signature:
    """The type names of one operator's inputs and outputs: a type variable (`T`) or one type (`tensor(float)`)."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    variadic_input: bool
    variadic_output: bool
    allowed: dict[str, frozenset[str]]

    def input_variable(self, index: int) -> str:
        """The type name of input `index`; the last one repeats when variadic."""
        return _at(self.inputs, index, self.variadic_input)

    def output_variable(self, index: int) -> str:
        """The type name of output `index`."""
        return _at(self.outputs, index, self.variadic_output)

    def allows(self, variable: str, dtype: ir.DataType) -> bool:
        """Whether this input or output may be a tensor of `dtype`."""
        return type_name(dtype) in self.allowed.get(variable, frozenset({variable}))

    def may_be_tensor(self, variable: str) -> bool:
        """Whether it may be a tensor, and not only a sequence or an optional value."""
        return any(name.startswith("tensor(") for name in self.allowed.get(variable, frozenset({variable})))

    def only(self, variable: str) -> ir.DataType | None:
        """The only tensor type that is allowed there; None when there are several."""
        allowed = self.allowed.get(variable, frozenset({variable}))
        return _dtype(next(iter(allowed))) if len(allowed) == 1 else None


def _at(names: tuple[str, ...], index: int, variadic: bool) -> str:
    if index < len(names):
        return names[index]
    return names[-1] if variadic and names else ""


@lru_cache(maxsize=1024)
def signature(op_type: str, domain: str, version: int) -> Signature | None:
    """The signature of an operator as of an opset version; None when ONNX knows no such operator."""
    try:
        schema = onnx.defs.get_schema(op_type, version, "" if domain in _STANDARD else domain)
    except onnx.defs.SchemaError:
        return None
    variadic = onnx.defs.OpSchema.FormalParameterOption.Variadic
    inputs, outputs = list(schema.inputs), list(schema.outputs)
    return Signature(
        inputs=tuple(parameter.type_str for parameter in inputs),
        outputs=tuple(parameter.type_str for parameter in outputs),
        variadic_input=bool(inputs) and inputs[-1].option == variadic,
        variadic_output=bool(outputs) and outputs[-1].option == variadic,
        allowed={c.type_param_str: frozenset(c.allowed_type_strs) for c in schema.type_constraints},
    )


def signature_of(node: ir.Node, opsets: dict[str, int]) -> Signature | None:
    """The signature of a node in a model with these opset imports."""
    version = opsets.get(node.domain, opsets.get("", 1) if node.domain in _STANDARD else 1)
    return signature(node.op_type, node.domain, version)


def is_standard(node: ir.Node) -> bool:
    """Whether the node's operator is of ONNX's default domain."""
    return node.domain in _STANDARD


def attribute_type(node: ir.Node) -> ir.DataType | None:
    """The output type that the node's attributes (or their absence) determine; None when the inputs do."""
    if node.op_type == "ConstantOfShape":
        value = node.attributes.get("value")
        return ir.DataType.FLOAT if value is None else tensor_in(value).dtype
    if node.op_type == "Constant":
        return constant_type(node)
    attribute = node.attributes.get(TYPE_ATTRIBUTES.get(node.op_type, ""))
    if attribute is not None and attribute.as_int() != 0:
        return ir.DataType(attribute.as_int())
    return ir.DataType.FLOAT if node.op_type in FLOAT_BY_DEFAULT else None


def tensor_in(attribute: ir.Attr) -> ir.TensorProtocol:
    """An attribute's tensor. Raises TypeError when it has none.

    onnx-ir's own type test is avoided where possible: it looks up every member of a tensor, which takes longer than
    everything else that is done with a constant.
    """
    if attribute.type is ir.AttributeType.TENSOR and attribute.value is not None:
        found: ir.TensorProtocol = attribute.value
        return found
    tensor: ir.TensorProtocol = attribute.as_tensor()
    return tensor


def constant_type(node: ir.Node) -> ir.DataType | None:
    """The type of a Constant node's tensor."""
    kinds = {"value_float": "FLOAT", "value_floats": "FLOAT", "value_int": "INT64", "value_ints": "INT64"}
    for name, attribute in node.attributes.items():
        if name == "value":
            return ir.DataType(tensor_in(attribute).dtype)
        if name in kinds:
            return ir.DataType[kinds[name]]
    return None


def type_name(dtype: ir.DataType) -> str:
    """`tensor(float16)`, as ONNX's schemas write it."""
    return f"tensor({dtype.name.lower()})"


def _dtype(name: str) -> ir.DataType | None:
    inner = name.removeprefix("tensor(").removesuffix(")").upper()
    return ir.DataType[inner] if inner in ir.DataType.__members__ else None
