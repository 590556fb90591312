"""Emits a network's layers into the graph: each is read once and put into its graph, constructs with their contents."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import TYPE_CHECKING

from trtpipe.canonical.names import FreshNames
from trtpipe.errors import ModelError
from trtpipe.networks.lowering.attention import attention
from trtpipe.networks.lowering.conditionals import add_conditional, unreadable_if
from trtpipe.networks.lowering.graph import MainGraph, Piece, piece_of
from trtpipe.networks.lowering.loops import add_loop, unreadable
from trtpipe.networks.lowering.result import Unread
from trtpipe.networks.lowering.scope import LayerScope, layer_scope, weights_of
from trtpipe.networks.lowering.subgraphs import (
    Construct,
    Level,
    Nesting,
    construct_of,
    outputs_of,
    places_of,
    reads_of,
)
from trtpipe.networks.lowering.table import BORDERS, IGNORED, read_layer

if TYPE_CHECKING:
    import onnx

    from trtpipe.layers.parameters import Parameters
    from trtpipe.networks.network import Layer, ParsedNetwork

Reader = Callable[[LayerScope], list[str]]


@dataclass
class Emission:
    """A network while it is emitted into a graph."""

    network: ParsedNetwork
    pieces: dict[int, Piece] = field(default_factory=dict)
    """What reading each layer gave, by its number; borders have none."""
    unread: dict[int, Unread] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    needed: set[int] = field(default_factory=set)
    """The layers that outputs depend on."""
    _labels: FreshNames = field(default_factory=FreshNames)

    @cached_property
    def nesting(self) -> Nesting:
        """The loops and conditionals that contain each layer."""
        return Nesting(self.network)

    @cached_property
    def graph(self) -> MainGraph:
        """The graph under construction."""
        return MainGraph(self.network.name, frozenset(self.network.outputs))

    @cached_property
    def _parameters(self) -> Parameters:
        return weights_of(self.network)

    def read(self) -> None:
        """Reads every layer; those that cannot be read are noted with their reason."""
        for layer in self.network.layers:
            if layer.type in IGNORED:
                self.notes.append(f"layer '{layer.name}' ({layer.type.lower()}) {IGNORED[layer.type]}")
            elif layer.unread and layer.type in BORDERS and layer.attention is None:
                self._give_up(layer, "; ".join(f"{name}: {why}" for name, why in layer.unread.items()))
            elif layer.type == "ATTENTION_OUTPUT" and layer.attention is not None:
                self._try(layer, partial(attention, described=self.network.attentions[layer.attention]))
            elif layer.type not in BORDERS:
                self._try(layer, read_layer)
        for construct in self.nesting.borders:
            found = (unreadable if construct.kind == "loop" else unreadable_if)(self, construct)
            if found is not None:
                self._give_up(*found)

    def _try(self, layer: Layer, reader: Reader) -> None:
        try:
            self.pieces[layer.number] = piece = self._piece(layer, reader)
        except ModelError as error:
            self._give_up(layer, error.problems[0].fact)
        else:
            self.notes += piece.notes

    def _give_up(self, layer: Layer, why: str) -> None:
        self.unread[layer.number] = Unread(layer.name, layer.type, layer.node, why)

    def _piece(self, layer: Layer, reader: Reader) -> Piece:
        at = self._scope(layer)
        return piece_of(at, reader(at), outputs_of(self.network, layer))

    def _scope(self, layer: Layer) -> LayerScope:
        label = self._labels(layer.name or f"layer {layer.number}")
        reads = places_of(self.network, layer)
        makes = outputs_of(self.network, layer)
        return layer_scope(self.network, layer, label, self._parameters, reads=reads, makes=makes)

    def cut(self) -> set[str]:
        """The tensors that cannot be computed: outputs of unreadable layers, and everything that depends on them."""
        found: set[str] = set()
        size = -1
        while size != len(found):
            size = len(found)
            for layer in self.network.layers:
                construct = construct_of(layer)
                together = [layer] if construct is None else self.nesting.borders[construct]
                if any(self._is_cut(one, found) for one in together):
                    found.update(outputs_of(self.network, layer))
        return found

    def _is_cut(self, layer: Layer, cut: set[str]) -> bool:
        return layer.number in self.unread or any(name in cut for name in reads_of(self.network, layer))

    def add_items(self, level: Level, into: list[onnx.NodeProto], needed: set[int]) -> None:
        """Adds the layers and constructs that are directly in a graph to it, in order."""
        for item in self.nesting.items(level, needed):
            if isinstance(item, Construct):
                (add_loop if item.kind == "loop" else add_conditional)(self, item, level, into)
            else:
                self.graph.add(self.pieces[item], into)

    def add_layer(self, layer: Layer, into: list[onnx.NodeProto], reader: Reader) -> None:
        """Adds a boundary layer that becomes nodes to a graph."""
        self.graph.add(self._piece(layer, reader), into)

    def origins(self) -> Iterator[tuple[str, str]]:
        """Each tensor that was created for an ONNX node, and that node."""
        for layer in self.network.layers:
            if layer.node is not None:
                yield from ((name, layer.node) for name in outputs_of(self.network, layer))
