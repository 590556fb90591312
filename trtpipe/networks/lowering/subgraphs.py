"""Assigns layers to loops and conditionals, and sorts them into an order in which they can be computed.

TensorRT marks only the boundary layers: layers that depend on the inner side of an input boundary are inside. Layers
that a loop's body reads but that do not depend on the loop are outside, wherever the parser created them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from typing import TYPE_CHECKING, NamedTuple

from trtpipe.networks.network import TensorName

if TYPE_CHECKING:
    from trtpipe.networks.network import Layer, ParsedNetwork


class Construct(NamedTuple):
    """A loop or a conditional."""

    kind: str
    number: int


Item = int | Construct
"""What stands in a graph: a layer, by its number, or a construct."""
Level = frozenset[Construct]
"""The constructs that something stands in."""
_LEAVING = ("LOOP_OUTPUT", "CONDITIONAL_OUTPUT")


def construct_of(layer: Layer) -> Construct | None:
    """The construct of which a layer is a boundary."""
    if layer.loop is not None:
        return Construct("loop", layer.loop)
    return None if layer.conditional is None else Construct("conditional", layer.conditional)


def places_of(network: ParsedNetwork, layer: Layer) -> list[str | None]:
    """The tensors that a layer reads, each at its place; for an attention, its last layer reads all of them.

    An attention reads query, key and value, the mask, and the lengths of queries and of keys.
    """
    if layer.attention is None:
        return [*layer.inputs]
    if layer.type != "ATTENTION_OUTPUT":
        return []
    attention = network.attentions[layer.attention]
    given = (attention.attributes.get(name) for name in ("mask", "query_lengths", "key_value_lengths"))
    return [*attention.inputs[:3], *(one.name if isinstance(one, TensorName) else None for one in given)]


def reads_of(network: ParsedNetwork, layer: Layer) -> list[str]:
    """The tensors that a layer reads."""
    return [name for name in places_of(network, layer) if name is not None]


def outputs_of(network: ParsedNetwork, layer: Layer) -> tuple[str, ...]:
    """The tensors that a layer makes; for an attention, its last layer makes them."""
    if layer.attention is None:
        return layer.outputs
    return network.attentions[layer.attention].outputs if layer.type == "ATTENTION_OUTPUT" else ()


@dataclass
class Nesting:
    """The constructs around each layer's outputs."""

    network: ParsedNetwork
    levels: list[Level] = field(default_factory=list)
    """By number of layer."""
    outer: dict[Construct, Level] = field(default_factory=dict)
    """The constructs around a construct."""
    borders: dict[Construct, list[Layer]] = field(default_factory=dict)
    makers: dict[str, Layer] = field(default_factory=dict)

    def __post_init__(self) -> None:
        layers = self.network.layers
        for layer in layers:
            self.makers.update(dict.fromkeys(outputs_of(self.network, layer), layer))
            construct = construct_of(layer)
            if construct is not None:
                self.borders.setdefault(construct, []).append(layer)
        self.levels = [frozenset()] * len(layers)
        self.outer = dict.fromkeys(self.borders, frozenset())
        while self._deepened():
            pass

    def _deepened(self) -> bool:
        """Propagates nesting from tensors to the layers that read them; whether anything changed."""
        before = (list(self.levels), dict(self.outer))
        for layer in self.network.layers:
            construct = construct_of(layer)
            if construct is None:
                self.levels[layer.number] |= self.around(reads_of(self.network, layer))
                continue
            self.outer[construct] |= self.around(reads_of(self.network, layer)) - {construct}
            entered = frozenset() if layer.type in _LEAVING else frozenset({construct})
            self.levels[layer.number] = self.outer[construct] | entered
        return before != (self.levels, self.outer)

    def around(self, tensors: Iterable[str]) -> Level:
        """The constructs around all of these tensors."""
        makers = (self.makers[name] for name in tensors if name in self.makers)
        return frozenset().union(*(self.levels[one.number] for one in makers))

    def inside(self, construct: Construct) -> list[Layer]:
        """The layers inside a construct, and its boundary layers."""
        within = [layer for layer in self.network.layers if construct in self.levels[layer.number]]
        return [*within, *(one for one in self.borders[construct] if one.type in _LEAVING)]

    def needed(self, tensors: Iterable[str], within: Construct | None = None) -> set[int]:
        """The layers that these tensors depend on, by number; constructs not around them with all boundaries."""
        found: set[int] = set()
        pending = [self.makers[name] for name in tensors if name in self.makers]
        while pending:
            layer = pending.pop()
            if layer.number in found:
                continue
            found.add(layer.number)
            construct = construct_of(layer)
            together = [layer] if construct in (None, within) else self.borders[construct]
            found |= {one.number for one in together}
            pending += [
                self.makers[name]
                for one in together
                for name in reads_of(self.network, one)
                if name in self.makers
            ]
        return found

    def items(self, level: Level, needed: set[int]) -> list[Item]:
        """The layers and constructs directly in a graph, each after its inputs."""
        layers = [
            layer
            for layer in self.network.layers
            if layer.number in needed
            and construct_of(layer) is None
            and self.levels[layer.number] == level
            and outputs_of(self.network, layer)
        ]
        constructs = [
            construct
            for construct, outer in self.outer.items()
            if outer == level and any(one.number in needed for one in self.borders[construct])
        ]
        before: dict[Item, list[Item]] = {}
        for layer in layers:
            before[layer.number] = self._before(reads_of(self.network, layer), level)
        for construct in constructs:
            read = [name for one in self.inside(construct) for name in reads_of(self.network, one)]
            before[construct] = [one for one in self._before(read, level) if one != construct]
        return [one for one in TopologicalSorter(before).static_order() if one in before]

    def _before(self, tensors: Sequence[str], level: Level) -> list[Item]:
        found: list[Item] = []
        for name in tensors:
            maker = self.makers.get(name)
            if maker is None or self.levels[maker.number] != level:
                continue
            construct = construct_of(maker)
            if construct is None:
                found.append(maker.number)
            elif maker.type in _LEAVING:
                found.append(construct)
        return found
