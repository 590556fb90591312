"""Describes a parsed network as a record: every layer with its attributes and outputs, and totals."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

from trtpipe.networks.contents import bytes_of
from trtpipe.networks.network import TensorName

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from trtpipe.json_values import Json
    from trtpipe.networks.network import (
        Attention,
        Conditional,
        Layer,
        Loop,
        ParsedNetwork,
        Tensor,
        Value,
        WeightsRef,
    )


def network_record(network: ParsedNetwork) -> dict[str, Json]:
    """The whole network as plain JSON; of weights only type, count and digest."""
    return {
        "toolchain": f"{network.flavour} {network.version}",
        "inputs": [_tensor(network.tensors[name]) for name in network.inputs],
        "outputs": [_tensor(network.tensors[name]) for name in network.outputs],
        "layers": [_layer(layer, network) for layer in network.layers],
        "loops": [
            _construct(one, "trip_limits", "iterators", "recurrences", "outputs") for one in network.loops
        ],
        "conditionals": [_construct(one, "conditions", "inputs", "outputs") for one in network.conditionals],
        "attentions": [
            {
                **_construct(one, "input_layers", "output_layers", "inputs", "outputs"),
                "attributes": _attributes(one.attributes),
            }
            for one in network.attentions
        ],
        "unread": [*_unread(network)],
        "totals": _totals(network),
        "warnings": [one.message for one in network.warnings],
    }


def _construct(one: Loop | Conditional | Attention, *parts: str) -> dict[str, Json]:
    """The name of a loop, conditional or attention, and the layers or tensors that it consists of."""
    return {"name": one.name, **{part: list(getattr(one, part)) for part in parts}}


def _tensor(tensor: Tensor) -> dict[str, Json]:
    return {
        "name": tensor.name,
        "dtype": tensor.dtype,
        "shape": None if tensor.shape is None else list(tensor.shape),
        "shape_tensor": tensor.shape_tensor,
    }


def _layer(layer: Layer, network: ParsedNetwork) -> dict[str, Json]:
    return {
        "number": layer.number,
        "type": layer.type,
        "name": layer.name,
        "node": layer.node,
        "inputs": list(layer.inputs),
        "outputs": [_tensor(network.tensors[name]) for name in layer.outputs],
        "attributes": _attributes(layer.attributes),
        "weights": {
            name: {"dtype": ref.dtype, "count": ref.count, "digest": ref.digest}
            for name, ref in layer.weights.items()
            if ref.count
        },
        "loop": layer.loop,
        "conditional": layer.conditional,
        "attention": layer.attention,
    }


def _attributes(attributes: Mapping[str, Value]) -> dict[str, Json]:
    return {name: _value(one) for name, one in attributes.items()}


def _value(value: Value) -> Json:
    if isinstance(value, TensorName):
        return {"tensor": value.name}
    if isinstance(value, tuple):
        return [_value(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": str(value)}
    return value


def _unread(network: ParsedNetwork) -> Iterable[dict[str, Json]]:
    """The layers that could not be read completely, and what is missing."""
    for layer in network.unread:
        reasons = dict(layer.unread)
        if layer.attention is not None:
            reasons |= network.attentions[layer.attention].unread
        why = "; ".join(f"{name}: {reason}" for name, reason in reasons.items())
        yield {"number": layer.number, "name": layer.name, "type": layer.type, "why": why}


def _totals(network: ParsedNetwork) -> dict[str, Json]:
    return {
        "layers": len(network.layers),
        "by_type": dict(sorted(Counter(layer.type for layer in network.layers).items())),
        "weights_bytes": sum(map(_size, _contents(network))),
        "loops": len(network.loops),
        "conditionals": len(network.conditionals),
        "attentions": len(network.attentions),
    }


def _contents(network: ParsedNetwork) -> Iterable[WeightsRef]:
    """The weights of all layers, without duplicates."""
    return {ref.digest: ref for layer in network.layers for ref in layer.weights.values()}.values()


def _size(ref: WeightsRef) -> int:
    return bytes_of(ref.dtype, ref.count)
