"""Attention, written out, and rotary embeddings.

Products are computed in the tensors' type, as the typed model has them; the mask is added to them or, when it is
boolean, lets through what is true. The layer has no scale: the parser puts it before query and key.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from trtpipe.networks.lowering.scope import LayerScope

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trtpipe.networks.network import Attention
    from trtpipe.networks.network import Value as Attribute

PLAIN = {"num_ranks": 1, "query_form": "PADDED_BHND", "key_value_form": "PADDED_BHND"}
"""What attributes must be for the layer to be read: padded tensors, on one device."""
ABSENT = ("normalization_quantize_scale", "query_lengths", "key_value_lengths")


def refuse_other_forms(at: LayerScope, described: Attention) -> None:
    """Packed, quantized and distributed attentions have no ONNX form here."""
    for name, value in PLAIN.items():
        if described.attributes.get(name, value) != value:
            at.refuse(f"has {name} {described.attributes[name]}, which has no ONNX form")
    for name in ABSENT:
        if described.attributes.get(name) is not None:
            at.refuse(f"has {name}, which has no ONNX form")


def attention(at: LayerScope, described: Attention) -> list[str]:
    """softmax(query * key^T + mask) * value; heads of key and value repeat where the query has more."""
    refuse_other_forms(at, described)
    query = at.read(0)
    named = described.attributes
    keys, values = _repeated(at, 1), _repeated(at, 2)
    products = at.emit("MatMul", query.name, at.emit("Transpose", keys, perm=[0, 1, 3, 2]))
    kind = _kind(named)
    mask = at.maybe(3)
    if mask is not None:
        products = _masked(at, products, mask.name, mask.dtype)
    if kind != "none":
        products = _masked(at, products, _causal(at, kind), "bool")
    if str(named.get("norm_op", "SOFTMAX")).lower() == "softmax":
        products = at.emit("Softmax", products, axis=-1)
    return [at.emit("MatMul", products, values)]


def _kind(named: Mapping[str, Attribute]) -> str:
    kind = named.get("causal_kind")
    if kind is None:
        return "upper_left" if named.get("causal") else "none"
    return str(kind).lower()


def _masked(at: LayerScope, products: str, mask: str, dtype: str) -> str:
    if dtype != "bool":
        return at.emit("Add", products, mask)
    least = at.constant(-math.inf, "least", at.read(0).dtype)
    return at.emit("Where", mask, products, least)


def _causal(at: LayerScope, kind: str) -> str:
    """Which key a query may see: those up to its own place, counted from the first or from the last key."""
    rows, columns = (
        at.emit("Squeeze", at.emit("Shape", at.read(index).name, start=2, end=3), at.constant([0], "axes"))
        for index in (0, 1)
    )
    zero, one = at.constant(0, "zero"), at.constant(1, "one")
    places = at.emit("Range", zero, rows, one)
    if kind == "lower_right":
        places = at.emit("Add", places, at.emit("Sub", columns, rows))
    row = at.emit("Unsqueeze", places, at.constant([1], "behind"))
    return at.emit("LessOrEqual", at.emit("Range", zero, columns, one), row)


def _repeated(at: LayerScope, index: int) -> str:
    """Keys or values with as many heads as the query has, whose number may be known only when the network runs."""
    query, few = at.read(0), at.read(index)
    heads = [at.dims(one)[1] for one in (query, few)]
    if None not in heads and heads[0] == heads[1]:
        return few.name
    many, some = (at.emit("Shape", one.name, start=1, end=2) for one in (query, few))
    one = at.constant([1], "one")
    times = at.emit("Concat", one, one, at.emit("Div", many, some), one, one, axis=0)
    wide = at.emit("Expand", at.emit("Unsqueeze", few.name, at.constant([2], "apart")), times)
    batch, rest = at.emit("Shape", few.name, end=1), at.emit("Shape", few.name, start=2)
    return at.emit("Reshape", wide, at.emit("Concat", batch, many, rest, axis=0))


def rotary_embedding(at: LayerScope) -> list[str]:
    """RotaryEmbedding of batch x heads x length x size."""
    names = [at.read(0).name, at.read(1).name, at.read(2).name]
    places = at.maybe(3)
    made = at.emit(
        "RotaryEmbedding", *names, at.int64(places) if places else None,
        interleaved=int(at.flag("interleaved")), rotary_embedding_dim=at.whole("rotary_embedding_dim"),
    )  # fmt: skip
    return [made]
