"""The interface of layer readers: attributes as in TensorRT's Python API, tensors, and the nodes that they create.

The weights of a network have the names `NUMBER.ATTRIBUTE`, so that declared layers can refer to them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from trtpipe.canonical.wire import LARGE
from trtpipe.layers.parameters import Parameters, numpy_type
from trtpipe.layers.scope import Scope
from trtpipe.layers.values import Value, may_equal, shape_text
from trtpipe.networks.contents import BITS, bytes_of
from trtpipe.spec.network.fields import Declared

if TYPE_CHECKING:
    from trtpipe.arrays import Array
    from trtpipe.json_values import Json
    from trtpipe.networks.network import Layer, ParsedNetwork, Tensor, WeightsRef
    from trtpipe.networks.network import Value as Attribute

OPSET = 23
"""The first with attention, rotary embedding and float4."""

_PROJECT_NAMES = {
    "float8e4m3fn": "float8_e4m3fn",
    "float8e8m0": "float8_e8m0fnu",
    "float4e2m1": "float4_e2m1fn",
}
_FEW = 128


def dtype_of(name: str) -> str:
    """The project's name of a tensor's element type."""
    return _PROJECT_NAMES.get(name, name)


class Undeclared(Declared):
    """A layer that is read directly, without a declared equivalent."""

    layer: str
    """Its type, in small letters."""


@dataclass
class NetworkWeights:
    """The weights of a network by name."""

    network: ParsedNetwork
    refs: Mapping[str, WeightsRef]
    names: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        self.names = tuple(self.refs)

    def shape_of(self, name: str) -> tuple[int, ...] | None:
        """None, because weights are flat; the layer knows their dims."""
        return None

    def dtype_of(self, name: str) -> str:
        """Their element type."""
        return dtype_of(self.refs[name].dtype)

    def count_of(self, name: str) -> int:
        """How many elements."""
        return self.refs[name].count

    def array(self, name: str) -> Array:
        """Their values, of NumPy's or ml_dtypes' type."""
        values: Array = self.network.contents.values(self.refs[name])
        return values.astype(numpy_type(self.dtype_of(name)))

    def location(self, name: str) -> tuple[Path, int] | None:
        """Where they are in the file; None for small ones, whose values ONNX's inference may need."""
        ref = self.refs[name]
        if bytes_of(ref.dtype, ref.count) < LARGE:
            return None
        return self.network.contents.path, self.network.contents.pieces[ref.digest].offset


def weights_of(network: ParsedNetwork) -> Parameters:
    """The weights of all layers, as parameters of declared ones."""
    refs = {
        f"{layer.number}.{name}": ref
        for layer in network.layers
        for name, ref in layer.weights.items()
        if ref.count and ref.dtype in BITS
    }
    return Parameters({"": NetworkWeights(network, refs)})


@dataclass(slots=True)
class LayerScope(Scope):
    """The context of one layer of a parsed network while it is read."""

    parsed: Layer = field(kw_only=True)
    tensors: Sequence[Value | None] = field(kw_only=True)
    """What it reads, by position."""
    made: Sequence[Tensor] = field(kw_only=True)
    """What it makes."""
    notes: list[str] = field(default_factory=list, kw_only=True)

    def read(self, index: int) -> Value:
        """An input that must exist. Raises ModelError."""
        found = self.maybe(index)
        if found is None:
            self.refuse(f"has no input {index}")
        return found

    def maybe(self, index: int) -> Value | None:
        """An optional input."""
        return self.tensors[index] if index < len(self.tensors) else None

    def name_of(self, index: int) -> str | None:
        """The name of an optional input."""
        found = self.maybe(index)
        return None if found is None else found.name

    def attribute(self, name: str) -> Attribute:
        """An attribute. Raises ModelError when the worker could not read it."""
        if name not in self.parsed.attributes:
            why = self.parsed.unread.get(name, "")
            self.refuse(f"has no {name}" + (f": {why}" if why else ""))
        return self.parsed.attributes[name]

    def text(self, name: str) -> str:
        """The member of an enumeration in lower case, or an element type."""
        found = self.attribute(name)
        if not isinstance(found, str):
            self.refuse(f"has {name} {found}, which is not text")
        return found

    def member(self, name: str) -> str:
        """The member of an enumeration in lower case, as declared layers write it."""
        return self.text(name).lower()

    def number(self, name: str) -> float:
        """A number."""
        found = self.attribute(name)
        if not isinstance(found, (int, float)):
            self.refuse(f"has {name} {found}, which is not a number")
        return float(found)

    def whole(self, name: str) -> int:
        """An integer; for a boolean, 0 or 1."""
        found = self.attribute(name)
        if not isinstance(found, int):
            self.refuse(f"has {name} {found}, which is not a whole number")
        return int(found)

    def flag(self, name: str) -> bool:
        """True or false."""
        return bool(self.whole(name))

    def sizes(self, name: str) -> tuple[int, ...] | None:
        """Dims; None if an input gives them, or nothing does."""
        found = self.attribute(name)
        if found is None:
            return None
        if not isinstance(found, tuple) or not all(isinstance(one, int) for one in found):
            self.refuse(f"has {name} {found}, which are not dims")
        return tuple(int(one) for one in found if isinstance(one, int))

    def axes_in(self, name: str) -> list[int]:
        """The axes that a bit mask names."""
        mask = self.whole(name)
        return [axis for axis in range(mask.bit_length()) if mask >> axis & 1]

    def weights_named(self, name: str) -> str | None:
        """The name of its weights; None when there are none. Raises ModelError when they could not be read."""
        if name in self.parsed.unread:
            self.refuse(f"has {name} that could not be read: {self.parsed.unread[name]}")
        called = f"{self.parsed.number}.{name}"
        return called if called in self.parameters.names else None

    def weights(self, name: str, dims: Sequence[int], dtype: str | None = None) -> str | None:
        """The weights that a field names, or the tensor in their place."""
        if name not in _WEIGHTS_AS_INPUTS or self.weights_named(name) is not None:
            return Scope.weights(self, name, dims, dtype)
        tensor = self.maybe(_WEIGHTS_AS_INPUTS[name])
        if tensor is not None and not _may_be(tensor, dims):
            self.refuse(f"takes '{tensor.name}' {tensor.text} as {name} instead of {shape_text(dims)}")
        return None if tensor is None else tensor.name

    def dims_of_weights(self, written: Json, *where: str | int) -> tuple[int, ...]:
        """The stored dims of weights, or those of the tensor in their place."""
        index = _WEIGHTS_AS_INPUTS.get(str(where[0]) if where else "")
        if index is None or self.weights_named(str(where[0])) is not None:
            return Scope.dims_of_weights(self, written, *where)
        tensor = self.read(index)
        return tuple(self.size(tensor, axis, str(where[0])) for axis in range(self.rank(tensor)))

    def equal_ranks(self, *values: Value) -> None:
        """Rejects inputs of different ranks, which TensorRT does not accept."""
        if len({len(value.dims) for value in values if value.dims is not None}) > 1:
            shown = ", ".join(f"'{value.name}' {value.text}" for value in values)
            self.refuse(f"reads {shown}, which have unlike ranks: TensorRT does not take them")

    @property
    def rank_made(self) -> int:
        """The rank of its first output. Raises ModelError when that is not known."""
        shape = self.made[0].shape
        if shape is None:
            self.refuse(f"makes '{self.made[0].name}' of unknown rank")
        return len(shape)

    @property
    def dtype_made(self) -> str:
        """The element type of its first output."""
        return dtype_of(self.made[0].dtype)

    def cast(self, name: str, source: str, target: str) -> str:
        """A tensor in another element type; unchanged if it has that type already."""
        from trtpipe.canonical.tensors import number_of_dtype

        return name if source == target else self.emit("Cast", name, to=number_of_dtype(target))

    def int64(self, value: Value) -> str:
        """A tensor of whole numbers as int64, which ONNX wants for dims and axes."""
        return self.cast(value.name, value.dtype, "int64")


def layer_scope(
    network: ParsedNetwork,
    layer: Layer,
    label: str,
    parameters: Parameters,
    *,
    reads: Sequence[str | None] | None = None,
    makes: Sequence[str] | None = None,
) -> LayerScope:
    """The context of a layer, called `label`; `reads` and `makes` replace the layer's own tensors."""
    tensors, makers = network.tensors, network.producers
    names = layer.inputs if reads is None else reads
    values = [
        None
        if name is None
        else value_of(tensors[name], few(network, makers[name]) if name in makers else None)
        for name in names
    ]
    return LayerScope(
        layer=Undeclared(name=label, layer=layer.type.lower()),
        place=(),
        reads={("inputs", index): one for index, one in enumerate(values) if one is not None},
        parameters=parameters,
        opset=OPSET,
        parsed=layer,
        tensors=values,
        made=[tensors[name] for name in (layer.outputs if makes is None else makes)],
    )


_WEIGHTS_AS_INPUTS = {"bias": 2}
"""Weights that TensorRT takes as an input, too, and which."""


def _may_be(tensor: Value, dims: Sequence[int]) -> bool:
    """Whether a tensor can have these dims."""
    given = tensor.dims
    return given is None or (len(given) == len(dims) and all(map(may_equal, given, dims)))


def value_of(tensor: Tensor, array: Array | None = None) -> Value:
    """A tensor of the network as a lowering `Value`."""
    dims = None if tensor.shape is None else tuple(None if size < 0 else size for size in tensor.shape)
    return Value(tensor.name, dtype_of(tensor.dtype), dims, array)


def few(network: ParsedNetwork, layer: Layer) -> Array | None:
    """The values of a constant layer, if there are only a few."""
    ref = layer.weights.get("weights")
    shape = layer.attributes.get("shape")
    if layer.type != "CONSTANT" or ref is None or ref.count > _FEW or not isinstance(shape, tuple):
        return None
    dims = [one for one in shape if isinstance(one, int)]
    if math.prod(dims) != ref.count:
        return None
    flat: Array = network.contents.values(ref)
    return flat.reshape(dims)
