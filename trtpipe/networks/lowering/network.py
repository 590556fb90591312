"""Lowers a whole network: reads it, cuts it at layers without a reader, and builds the ONNX model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trtpipe.networks.lowering.checks import contradictions
from trtpipe.networks.lowering.emission import Emission
from trtpipe.networks.lowering.result import Lowered

if TYPE_CHECKING:
    from trtpipe.networks.network import ParsedNetwork


def onnx_of(network: ParsedNetwork) -> Lowered:
    """The network as an ONNX model that ONNX Runtime can run; large weights stay in the network's own file."""
    emission = Emission(network)
    emission.read()
    cut = emission.cut()
    outputs = [name for name in network.outputs if name not in cut]
    emission.needed = emission.nesting.needed(outputs)
    graph = emission.graph
    emission.add_items(frozenset(), graph.nodes, emission.needed)
    tensors = network.tensors
    made = {name for node in graph.nodes for name in node.output}
    known = [tensors[name] for name in sorted(made & tensors.keys()) if name not in outputs]
    model = graph.model(
        [tensors[name] for name in network.inputs], [tensors[name] for name in outputs], known
    )
    return Lowered(
        model,
        len(network.layers),
        tuple(emission.unread[number] for number in sorted(emission.unread)),
        tuple(name for name in network.outputs if name in cut),
        tuple(emission.notes),
        dict(emission.origins()),
        tuple(contradictions(model, network)),
    )
