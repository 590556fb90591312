"""Names that TensorRT generated: `(Unnamed Layer* 12) [Convolution]_output` is the output of the network's layer 12.

Such a number identifies a tensor of the model only where the order of layers is unambiguous. The unnamed layers of one
kind are compared with the model's nodes of that kind that no other entry names. If the counts are equal, a node that
every other node of its kind feeds or is fed by has the same position in every valid order of the network, and is
matched with the layer at that position. All other names are left unmatched and reported.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from trtpipe.calibration.caches.graph_names import LAYER_KINDS, ModelNames, NodeNames

_UNNAMED = re.compile(r"\(Unnamed Layer\* (\d{1,9})\) \[([^\]]{1,64})\](?:_output(?:_(\d{1,4}))?)?")
_MOST_NODES, _MOST_OF_KIND = 20_000, 4_000
"""Of larger models the order is not looked at: what feeds what would take too much memory."""


@dataclass(frozen=True, slots=True)
class UnnamedLayer:
    """The parts of such a name."""

    number: int
    kind: str
    """Letters only, in lower case: `fullyconnected`."""
    output: int


def unnamed_layer(name: str) -> UnnamedLayer | None:
    """The parts of a name that TensorRT generated; None for any other name."""
    found = _UNNAMED.fullmatch(name)
    if found is None:
        return None
    letters = "".join(one for one in found[2].lower() if one.isalnum())
    return UnnamedLayer(int(found[1]), letters, int(found[3] or 0))


def tensors_of_layers(
    names: Iterable[str], model: ModelNames, taken: Collection[str]
) -> tuple[dict[str, str], dict[str, str]]:
    """Generated name → the tensor that it refers to; and generated name → why that is unknown.

    `taken` are the tensors that other entries refer to.
    """
    known = {name: layer for name in names if (layer := unnamed_layer(name)) is not None}
    found: dict[str, str] = {}
    refused: dict[str, str] = {}
    for kind in dict.fromkeys(layer.kind for layer in known.values()):
        of_kind = {name: layer for name, layer in known.items() if layer.kind == kind}
        if kind not in LAYER_KINDS:
            refused |= dict.fromkeys(
                of_kind, "it is a generated name, and the operator of such a layer is uncertain"
            )
            continue
        nodes = [node for node in model.nodes if _may_be(node, kind, taken)]
        placed, why = _placed(of_kind, nodes, model)
        found |= placed
        refused |= {name: why for name in of_kind if name not in placed}
    return found, refused


def _may_be(node: NodeNames, kind: str, taken: Collection[str]) -> bool:
    return node.operator in LAYER_KINDS[kind] and len(node.outputs) == 1 and node.outputs[0] not in taken


def _placed(
    layers: Mapping[str, UnnamedLayer], nodes: Sequence[NodeNames], model: ModelNames
) -> tuple[dict[str, str], str]:
    """The layers of one kind with a unique position, and why the others have none."""
    if len(layers) != len(nodes):
        return (
            {},
            f"it is a generated name; there are {len(layers)} such layers, but {len(nodes)} nodes that they could be",
        )
    numbers = [layer.number for layer in layers.values()]
    if len(set(numbers)) != len(numbers) or any(layer.output for layer in layers.values()):
        return {}, "it is a generated name, and some layers have several entries"
    if len(model.nodes) > _MOST_NODES or len(nodes) > _MOST_OF_KIND:
        return {}, "it is a generated name, and the model is too large for comparing orders of layers"
    in_order = sorted(layers, key=lambda name: layers[name].number)
    places = _fixed_places(nodes, model)
    found = {in_order[place]: nodes[index].outputs[0] for index, place in places.items()}
    return found, "it is a generated name, and parallel branches make the node ambiguous"


def _fixed_places(nodes: Sequence[NodeNames], model: ModelNames) -> dict[int, int]:
    """Index of a node among `nodes` → its position, if it is the same in every valid order."""
    bit_of = {node.outputs[0]: 1 << index for index, node in enumerate(nodes)}
    before: dict[str, int] = {}  # tensor → those of `nodes` that it depends on, itself among them
    for node in model.nodes:
        fed = 0
        for name in node.inputs:
            fed |= before.get(name, 0)
        for name in node.outputs:
            before[name] = fed | bit_of.get(name, 0)
    ancestors = [before[node.outputs[0]] & ~(1 << index) for index, node in enumerate(nodes)]
    descendants = [0] * len(nodes)
    for above in ancestors:
        for index in _bits(above):
            descendants[index] += 1
    places = [above.bit_count() for above in ancestors]
    return {
        index: place for index, place in enumerate(places) if place + descendants[index] == len(nodes) - 1
    }


def _bits(value: int) -> Iterable[int]:
    return (index for index, bit in enumerate(reversed(bin(value)[2:])) if bit == "1")
