"""The data model of a parsed network: layers with all their attributes, tensors, loops and conditionals.

The names of layers' types and attributes, and of the members of enumerations, are those of TensorRT's Python API
("CONVOLUTION", "stride_nd", "SAME_UPPER"); element types have ONNX's names ("float32", "float8e4m3fn").

A layer is identified by its number, a tensor by its name: layers may share a name, tensors do not. Layers are in the
order in which the parser created them, which need not be an order in which they can be computed: the layer that ends a
loop's iteration comes after the recurrence that it feeds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from trtpipe.networks.contents import Contents


@dataclass(frozen=True, slots=True)
class TensorName:
    """An attribute that is a tensor, by its name."""

    name: str


Value: TypeAlias = "bool | int | float | str | TensorName | tuple[Value, ...] | None"
"""What an attribute is.

Dims and permutations are tuples of integers, members of enumerations and element types are texts, None is what
TensorRT has no value for: dims that an input gives (a slice's `start`), a reshape that was not asked for.
"""


@dataclass(frozen=True, slots=True)
class WeightsRef:
    """Weights of a layer: type, count, and the digest by which `Contents` finds them."""

    dtype: str
    count: int
    """Elements; 0 where the layer has none, or has them as an input."""
    digest: str
    """SHA-256 of the bytes, in hex."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor of the network."""

    name: str
    dtype: str
    shape: tuple[int, ...] | None
    """-1 where a size is known only when the engine runs; None when even the rank is unknown."""
    shape_tensor: bool
    execution_tensor: bool
    dimension_names: tuple[str | None, ...]
    """Of a network's input, as the model calls them; empty for other tensors."""


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer before fusion."""

    number: int
    name: str
    type: str
    """A member of LayerType."""
    node: str | None
    """The ONNX node that it was made for; None for what the parser added on its own, such as constants."""
    metadata: str
    inputs: tuple[str | None, ...]
    """Tensors in order; None where an optional one is absent."""
    outputs: tuple[str, ...]
    attributes: Mapping[str, Value]
    weights: Mapping[str, WeightsRef]
    """By the attribute's name: kernel, bias, weights, scale, …"""
    loop: int | None
    """The loop whose boundary it is a part of, by number; likewise the next two."""
    conditional: int | None
    attention: int | None
    unread: Mapping[str, str]
    """What could not be read: attribute → why. A network with any is not known in full."""


@dataclass(frozen=True, slots=True)
class Loop:
    """A loop by the numbers of its boundary layers; the layers between them are its body."""

    name: str
    trip_limits: tuple[int, ...]
    iterators: tuple[int, ...]
    recurrences: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Conditional:
    """An If by the numbers of its boundary layers."""

    name: str
    conditions: tuple[int, ...]
    """One, in every network that TensorRT builds."""
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Attention:
    """A fused attention: its boundary layers, its tensors in order, and its own attributes."""

    name: str
    input_layers: tuple[int, ...]
    output_layers: tuple[int, ...]
    inputs: tuple[str | None, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Value]
    unread: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ParserWarning:
    """A message that TensorRT logged as WARNING while parsing."""

    message: str


@dataclass(frozen=True)
class ParsedNetwork:
    """Everything that TensorRT's parser created for a model."""

    flavour: str
    version: str
    """Of TensorRT."""
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    tensors: Mapping[str, Tensor]
    layers: tuple[Layer, ...]
    loops: tuple[Loop, ...]
    conditionals: tuple[Conditional, ...]
    attentions: tuple[Attention, ...]
    warnings: tuple[ParserWarning, ...]
    contents: Contents

    @cached_property
    def producers(self) -> Mapping[str, Layer]:
        """The layer that produces each tensor; the network's inputs have none."""
        return {name: layer for layer in self.layers for name in layer.outputs}

    @cached_property
    def unread(self) -> tuple[Layer, ...]:
        """The layers that could not be read completely."""
        of_attentions = {number for number, one in enumerate(self.attentions) if one.unread}
        return tuple(layer for layer in self.layers if layer.unread or layer.attention in of_attentions)
