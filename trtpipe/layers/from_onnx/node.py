"""Access to an ONNX node for conversion (constants, ranks, attributes), and the declared layers created from it.

A node that no declared layer can express raises NoForm with the reason. Independent of operators.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from trtpipe.canonical.names import fresh
from trtpipe.canonical.summary import Dim, TensorInfo, tensor_info
from trtpipe.canonical.tensors import array_of, dtype_name
from trtpipe.weights.safetensors import WRITABLE, Writable

if TYPE_CHECKING:
    import onnx

    from trtpipe.arrays import Array
    from trtpipe.json_values import Json

DECLARED_TYPES = {
    **{name: name for name in ("float32", "float16", "bfloat16", "int64", "int32", "int8", "uint8", "bool")},
    "float8_e4m3fn": "fp8",
    "int4": "int4",
    "float4_e2m1fn": "fp4",
}
"""ONNX's name of an element type → TensorRT's."""

_FEW = 8
"""Constants of so many elements are written into the spec, where they can be read; others go to the weights file."""

_WRITTEN_OUT = ("float32", "int64", "int32", "bool")

_MOST_READ = 1 << 16


class NoForm(Exception):
    """A node cannot be declared; the reason says why, if only this use of the operator cannot."""

    def __init__(self, reason: str = "", remedy: str = "") -> None:
        super().__init__(reason)
        self.reason, self.remedy = reason, remedy


class Undeclared:
    """A model during conversion: what is known of its tensors, and the layers and weights so far."""

    def __init__(self, graph: onnx.GraphProto, values: Mapping[str, TensorInfo], opset: int) -> None:
        self.values, self.opset = values, opset
        self.constants: dict[str, onnx.TensorProto] = {one.name: one for one in graph.initializer}
        self.inputs = [tensor_info(value) for value in graph.input if value.name not in self.constants]
        self.layers: list[dict[str, Json]] = []
        self.weights: dict[str, Writable] = {}
        self._tensors = {info.name for info in self.inputs} | set(self.constants)
        self._tensors |= {name for node in graph.node for name in node.output}
        self._names: set[str] = set()
        self._as_tensors: set[str] = set()

    def unique(self, wanted: str) -> str:
        """A name that no tensor and no layer has."""
        name, number = wanted, 0
        while name in self._tensors or name in self._names:
            number += 1
            name = f"{wanted}_{number}"
        self._tensors.add(name)
        self._names.add(name)
        return name

    def layer_name(self, wanted: str) -> str:
        """A name that no layer has; a tensor may have it."""
        return fresh(wanted, self._names)

    def weight(self, name: str) -> str:
        """Adds an initializer to the weights. Raises NoForm when the file cannot store its type."""
        tensor = self.constants[name]
        dtype = dtype_name(tensor.data_type)
        if dtype not in WRITABLE:
            raise NoForm(f"its weights '{name}' are {dtype}, which .safetensors does not support")
        self.weights[name] = Writable(dtype, tuple(tensor.dims), lambda: array_of(tensor))
        return name

    def derived(self, name: str, array: Array) -> str:
        """Adds computed weights that are not an initializer of the model."""
        name = self.unique(name)
        self.weights[name] = Writable(str(array.dtype.name), array.shape, lambda: array)
        return name

    def as_tensor(self, name: str) -> str:
        """A constant as a tensor, from a constant layer that is added once."""
        if name in self.constants and name not in self._as_tensors:
            self._as_tensors.add(name)
            self.layers.append({"layer": "constant", "name": self.layer_name(name), **self._constant(name)})
            if self.layers[-1]["name"] != name:
                self.layers[-1]["outputs"] = [name]
        return name

    def kept_output(self, name: str) -> str:
        """Adds a constant layer for a graph output that is a constant."""
        return self.as_tensor(name)

    def _constant(self, name: str) -> dict[str, Json]:
        tensor = self.constants[name]
        written = written_out(tensor)
        if written is None:
            return {"weights": self.weight(name)}
        return {"weights": written, "dtype": DECLARED_TYPES[dtype_name(tensor.data_type)]}


def written_out(tensor: onnx.TensorProto) -> Json:
    """A small constant as numbers that read back exactly; None for any other."""
    dtype = dtype_name(tensor.data_type)
    if not 0 < math.prod(tensor.dims) <= _FEW or dtype not in _WRITTEN_OUT:
        return None
    return numbers_of(array_of(tensor))


def numbers_of(array: Array) -> Json:
    """A few values as nested lists of numbers that read back exactly; None if that is impossible or they are many."""
    import numpy as np

    if not 0 < array.size <= _FEW or array.dtype.name not in _WRITTEN_OUT:
        return None
    if array.dtype.kind == "f" and (not np.isfinite(array).all() or (np.signbit(array) & (array == 0)).any()):
        return None
    return _numbers(array)


def _numbers(array: Array) -> Json:
    """Nested lists; a float32 with the fewest digits that identify it."""
    if array.ndim:
        return [_numbers(row) for row in array]
    number: Json = float(str(array)) if array.dtype.kind == "f" else array.item()
    return number


class NodeForm:
    """One node, and the layers that it is converted to."""

    def __init__(self, node: onnx.NodeProto, model: Undeclared) -> None:
        self.node, self.model = node, model
        self.operator: str = node.op_type
        self.name = model.layer_name(node.name or next(iter(node.output), node.op_type))
        self._attributes = {one.name: one for one in node.attribute}

    # Access to the node

    def attribute(self, name: str, default: Json = None) -> Any:  # noqa: ANN401 - the model decides its type
        """An attribute's value, of whatever type the model gives it; text for a string, a list for several."""
        import onnx

        if name not in self._attributes:
            return default
        value = onnx.helper.get_attribute_value(self._attributes[name])
        if isinstance(value, bytes):
            return value.decode(errors="replace")
        return list(value) if isinstance(value, Sequence) and not isinstance(value, str) else value

    def only(self, **expected: Json) -> None:
        """Rejects the node if an attribute is present with another value than the expected one."""
        for name, value in expected.items():
            given = self.attribute(name, value)
            if given != value:
                self.refuse(f"{name} is {given}")

    def has(self, index: int) -> bool:
        """Whether the node has this input."""
        return index < len(self.node.input) and self.node.input[index] != ""

    def uses_output(self, index: int) -> bool:
        """Whether the node names this output."""
        return index < len(self.node.output) and self.node.output[index] != ""

    def is_constant(self, index: int) -> bool:
        """Whether an input is there and constant."""
        return self.has(index) and self.node.input[index] in self.model.constants

    def tensor(self, index: int = 0) -> str:
        """An input as a tensor that a layer may read."""
        return self.model.as_tensor(self.node.input[index])

    def operand(self, index: int) -> Json:
        """An input as a tensor's name, or a small constant written out."""
        name = self.node.input[index]
        written = written_out(self.model.constants[name]) if name in self.model.constants else None
        return self.tensor(index) if written is None else written

    def weight(self, index: int, what: str) -> str | None:
        """An input as weights; None when it is left out. Raises NoForm when it is computed."""
        if not self.has(index):
            return None
        self.constant_tensor(index, what)
        return self.model.weight(self.node.input[index])

    def constant_tensor(self, index: int, what: str) -> onnx.TensorProto:
        """A constant input whose values are not read. Raises NoForm when it is computed."""
        if not self.is_constant(index):
            self.refuse(f"its {what} is computed, but must be constant in a declared layer")
        return self.model.constants[self.node.input[index]]

    def array(self, index: int, what: str) -> Array | None:
        """A small constant input's values; None when it is left out. Raises NoForm when it is computed or large."""
        if not self.has(index):
            return None
        tensor = self.constant_tensor(index, what)
        if math.prod(tensor.dims) > _MOST_READ:
            self.refuse(f"its {what} has too many values")
        return array_of(tensor)

    def ints(self, index: int, what: str) -> list[int] | None:
        """Whole numbers of a constant input; None when it is left out."""
        array = self.array(index, what)
        return None if array is None else [int(one) for one in array.reshape(-1)]

    def integers_or_tensor(self, index: int) -> list[int] | str | None:
        """A list of whole numbers if the input is a constant, otherwise the tensor's name."""
        return self.ints(index, "input") if self.is_constant(index) else self.tensor(index)

    def number_or_tensor(self, index: int) -> int | list[int] | str | None:
        """A whole number if the input is a constant with one element, otherwise the tensor's name."""
        values = self.integers_or_tensor(index)
        return values[0] if isinstance(values, list) and len(values) == 1 else values

    def dims(self, index: int = 0) -> tuple[Dim, ...]:
        """An input's dims. Raises NoForm when not even its rank is known."""
        name = self.node.input[index]
        if name in self.model.constants:
            return tuple(self.model.constants[name].dims)
        info = self.model.values.get(name)
        if info is None or info.dims is None:
            self.refuse(f"the rank of '{name}' is not known")
        return info.dims

    def rank(self, index: int = 0) -> int:
        """An input's rank. Raises NoForm when it is not known."""
        return len(self.dims(index))

    def dtype(self, index: int = 0) -> str:
        """An input's element type; `undefined` when it is not known."""
        name = self.node.input[index]
        if name in self.model.constants:
            return dtype_name(self.model.constants[name].data_type)
        info = self.model.values.get(name)
        return info.dtype if info else "undefined"

    def axis(self, default: int, index: int = 0, more: int = 0) -> int:
        """The attribute `axis` counted from the front, for an input's rank plus `more` axes."""
        axis = int(self.attribute("axis", default))
        return axis if axis >= 0 else axis + self.rank(index) + more

    def refuse(self, reason: str) -> NoReturn:
        """Raises NoForm: says why this node cannot be declared."""
        raise NoForm(reason)

    def refuse_dynamic(self, reason: str) -> NoReturn:
        """Raises NoForm: the node could be declared if its dims were fixed."""
        raise NoForm(reason, "fix the input's dims with transform: set_shapes")

    # Layers created from it

    def step(self, kind: str, hint: str, **fields: Json) -> str:
        """Adds an intermediate layer; returns the name of its output."""
        name = self.model.unique(f"{self.name}/{hint}")
        self._add(kind, name, fields)
        return name

    def constant(self, hint: str, value: Json, dtype: str = "int64") -> str:
        """Adds a constant that the conversion needs; returns the name of its tensor."""
        return self.step("constant", hint, weights=value, dtype=dtype)

    def elementwise(self, op: str, one: Json, other: Json, hint: str) -> str:
        """Adds an intermediate elementwise layer."""
        return self.step("elementwise", hint, op=op, inputs=[one, other])

    def last(self, kind: str, count: int = 1, /, **fields: Json) -> None:
        """Adds the layer that produces the node's outputs; `count` outputs, those that the node omits get new names."""
        given = [one or self.model.unique(f"{self.name}/unused") for one in self.node.output[:count]]
        if count > 1:
            given += [self.model.unique(f"{self.name}/unused") for _ in range(count - len(given))]
        self._add(kind, self.name, fields if given == [self.name] else {"outputs": given, **fields})

    def yields(self, index: int, kind: str, **fields: Json) -> None:
        """Adds a layer that produces one of several outputs of the node; nothing if the node omits it."""
        if self.uses_output(index):
            output = self.node.output[index]
            name = self.model.layer_name(output)
            self._add(kind, name, fields if name == output else {"outputs": [output], **fields})

    def _add(self, kind: str, name: str, fields: Mapping[str, Json]) -> None:
        given = {key: value for key, value in fields.items() if value is not None}
        self.model.layers.append({"layer": kind, "name": name, **given})
