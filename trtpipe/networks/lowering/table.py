"""The table of layer readers: as an equivalent declared layer, or as ONNX nodes."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pydantic import ValidationError

from trtpipe.layers.table import LOWERINGS
from trtpipe.networks.lowering import attention, combinations, elements, quantization, shapes, slices, windows
from trtpipe.networks.lowering.declared import DECLARED
from trtpipe.networks.lowering.scope import LayerScope
from trtpipe.spec.network.fields import tensors_of

Read = Callable[[LayerScope], list[str]]
"""Reads a layer: emits its nodes, and names what it makes."""

NODES: Mapping[str, Read] = {
    "IDENTITY": elements.identity,
    "CAST": elements.cast,
    "SELECT": elements.select,
    "PARAMETRIC_RELU": elements.parametric_relu,
    "SQUEEZE": shapes.squeeze,
    "UNSQUEEZE": shapes.unsqueeze,
    "ONE_HOT": shapes.one_hot,
    "REVERSE_SEQUENCE": shapes.reverse_sequence,
    "FILL": shapes.fill,
    "KV_CACHE_UPDATE": shapes.kv_cache_update,
    "SLICE": slices.slice_,
    "EINSUM": combinations.einsum,
    "CUMULATIVE": combinations.cumulative,
    "NORMALIZATION": combinations.normalization,
    "NMS": combinations.nms,
    "RAGGED_SOFTMAX": combinations.ragged_softmax,
    "QUANTIZE": quantization.quantize,
    "DEQUANTIZE": quantization.dequantize,
    "DYNAMIC_QUANTIZE": quantization.dynamic_quantize,
    "ROTARY_EMBEDDING": attention.rotary_embedding,
}
"""By type of layer, those that become nodes."""

BORDERS = frozenset(
    {
        "TRIP_LIMIT", "RECURRENCE", "ITERATOR", "LOOP_OUTPUT",
        "CONDITION", "CONDITIONAL_INPUT", "CONDITIONAL_OUTPUT", "ATTENTION_INPUT", "ATTENTION_OUTPUT",
    }
)  # fmt: skip
"""Types that are regrouped: loops, conditionals and attentions."""

IGNORED: Mapping[str, str] = {"ASSERTION": "is not computed: what it asserts is the builder's to find"}
"""Types that compute nothing, and why they are left out."""


def read_layer(at: LayerScope) -> list[str]:
    """Reads a layer that is not a boundary. Raises ModelError with the reason if it cannot be read."""
    special = _special(at)
    if special is not None:
        return special(at)
    if at.parsed.type in NODES:
        return NODES[at.parsed.type](at)
    if at.parsed.type not in DECLARED:
        at.refuse("is of a type that has no reader")
    return _as_declared(at)


def _special(at: LayerScope) -> Read | None:
    """Readers for forms that the equivalent declared layer of a type cannot express."""
    kind, attributes = at.parsed.type, at.parsed.attributes
    if kind == "ACTIVATION" and attributes.get("type") == "CLIP":
        return elements.clip
    if kind == "POOLING":
        return windows.pooling if windows.may_reach_beyond(at) else None
    if kind == "CONSTANT" and 0 in (at.sizes("shape") or ()):
        return elements.nothing
    batched = kind == "GATHER" and attributes.get("mode") == "DEFAULT"
    return shapes.gather_in_batches if batched and attributes.get("num_elementwise_dims") else None


def _as_declared(at: LayerScope) -> list[str]:
    model, fields = DECLARED[at.parsed.type]
    written = {name: value for name, value in fields(at).items() if value is not None}
    kind = model.model_fields["layer"].annotation
    try:
        layer = model.model_validate({"name": at.layer.name, "layer": _literal(kind), **written})
    except ValidationError as error:
        at.refuse(f"cannot be said as a declared layer: {error.errors()[0]['msg']}")
    at.layer = layer
    by_name = {value.name: value for value in at.tensors if value is not None}
    at.reads = {path: by_name[name] for path, name in tensors_of(layer)}
    return LOWERINGS[model](layer, at)


def _literal(annotation: object) -> str:
    from typing import get_args

    return str(get_args(annotation)[0])
