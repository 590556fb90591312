"""Attention expanded into basic operators, and rotary embeddings.

Products are computed in the tensors' type, as in the typed model. The mask is added to them; a boolean mask keeps the
elements where it is true. The layer has no scale: the parser multiplies query and key by it before the layer.

Tensors are batch x heads x tokens x size (padded), where the lengths of keys and values may limit the number of
tokens, or tokens x heads x size (packed), where sequences are concatenated and the lengths are cumulative, so they give
the start of each sequence. Packed tensors become one padded batch in which queries see only their sequence's keys.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from trtpipe.canonical.tensors import number_of_dtype
from trtpipe.networks.lowering.scope import LayerScope

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from trtpipe.networks.network import Attention
    from trtpipe.networks.network import Value as Attribute

_PADDED, _PACKED = "PADDED_BHND", "PACKED_NHD"
_MASK, _QUERY_LENGTHS, _KEY_LENGTHS = 3, 4, 5
"""Where a layer's scope has them, see `nesting.places_of`."""


def refuse_other_forms(at: LayerScope, described: Attention) -> None:
    """Raises ModelError for quantized or distributed attention and inconsistent forms, which are not supported here."""
    named = described.attributes
    if named.get("num_ranks", 1) != 1:
        at.refuse(f"has num_ranks {named['num_ranks']}, which has no ONNX form")
    if named.get("normalization_quantize_scale") is not None:
        at.refuse("has normalization_quantize_scale, which has no ONNX form")
    forms = [named.get(name, _PADDED) for name in ("query_form", "key_value_form")]
    if forms not in ([_PADDED, _PADDED], [_PACKED, _PACKED]):
        at.refuse(
            f"has query_form {forms[0]} and key_value_form {forms[1]}, which have no ONNX form together"
        )
    if forms[0] == _PACKED and at.maybe(_MASK):
        at.refuse("has a mask of packed tensors, whose shape TensorRT does not say")
    if forms[0] == _PADDED and at.maybe(_KEY_LENGTHS) and _kind(named) == "lower_right":
        at.refuse(
            "has key_value_lengths and causal_kind LOWER_RIGHT, and TensorRT does not say which key is the last"
        )


def attention(at: LayerScope, described: Attention) -> list[str]:
    """softmax(query * key^T + mask) * value; heads of key and value repeat where the query has more."""
    refuse_other_forms(at, described)
    named = described.attributes
    packed = named.get("query_form") == _PACKED
    query = _padded(at, at.read(0).name, packed)
    keys, values = _repeated(at, 1, packed), _repeated(at, 2, packed)
    products = at.emit("MatMul", query, at.emit("Transpose", keys, perm=[0, 1, 3, 2]))
    mask = at.maybe(_MASK)
    if mask is not None:
        products = _masked(at, products, mask.name, mask.dtype)
    for allowed in _allowed(at, _kind(named), packed):
        products = _masked(at, products, allowed, "bool")
    if str(named.get("norm_op", "SOFTMAX")).lower() == "softmax":
        products = at.emit("Softmax", products, axis=-1)
    made = at.emit("MatMul", products, values)
    if not packed:
        return [made]
    return [at.emit("Squeeze", at.emit("Transpose", made, perm=[2, 0, 1, 3]), at.constant([1], "batch"))]


def _padded(at: LayerScope, name: str, packed: bool) -> str:
    """Tokens x heads x size as a batch of one."""
    if not packed:
        return name
    return at.emit("Unsqueeze", at.emit("Transpose", name, perm=[1, 0, 2]), at.constant([0], "batch"))


def _allowed(at: LayerScope, kind: str, packed: bool) -> Iterator[str]:
    """A boolean mask of the keys that a query may see, apart from the given mask."""
    if packed:
        yield _of_one_sequence(at, kind)
        return
    if kind != "none":
        yield _causal(at, kind)
    lengths = at.maybe(_KEY_LENGTHS)
    if lengths is not None:
        many = at.emit("Reshape", at.int64(lengths), at.constant([-1, 1, 1, 1], "by_batch"))
        yield at.emit("Less", _counted(at, 1, 2), many)


def _counted(at: LayerScope, index: int, axis: int) -> str:
    """The positions of a tensor's tokens: 0, 1, 2, …."""
    size = at.emit("Shape", at.read(index).name, start=axis, end=axis + 1)
    end = at.emit("Squeeze", size, at.constant([0], "axes"))
    return at.emit("Range", at.constant(0, "zero"), end, at.constant(1, "one"))


def _of_one_sequence(at: LayerScope, kind: str) -> str:
    """The mask for packed tokens: those of one sequence see each other; if causal, only those up to their position."""
    column, row = at.constant([1], "column"), at.constant([0], "row")
    sequences, places = zip(*(_sequences(at, index) for index in (0, 1)), strict=True)
    queries, keys = at.emit("Unsqueeze", sequences[0], column), at.emit("Unsqueeze", sequences[1], row)
    together = at.emit("Equal", queries, keys)
    if kind == "none":
        return together
    last = places[0]
    if kind == "lower_right":
        lengths = [
            at.emit("Sub", at.emit("Gather", _sums(at, index), at.emit("Add", sequences[0], column), axis=0),
                    at.emit("Gather", _sums(at, index), sequences[0], axis=0))
            for index in (0, 1)
        ]  # fmt: skip
        last = at.emit("Add", last, at.emit("Sub", lengths[1], lengths[0]))
    seen = at.emit("LessOrEqual", at.emit("Unsqueeze", places[1], row), at.emit("Unsqueeze", last, column))
    return at.emit("And", together, seen)


def _sums(at: LayerScope, index: int) -> str:
    """The start of each sequence of queries (0) or keys (1), and the end of the last one."""
    return at.int64(at.read((_QUERY_LENGTHS, _KEY_LENGTHS)[index]))


def _sequences(at: LayerScope, index: int) -> tuple[str, str]:
    """The sequence of each packed token, and its position in the sequence."""
    tokens, sums = _counted(at, index, 0), _sums(at, index)
    ends = at.emit("Slice", sums, at.constant([1], "second"), at.constant([-1], "last"))
    passed = at.emit("GreaterOrEqual", at.emit("Unsqueeze", tokens, at.constant([1], "behind")), ends)
    number = at.emit(
        "ReduceSum",
        at.emit("Cast", passed, to=number_of_dtype("int64")),
        at.constant([1], "over"),
        keepdims=0,
    )
    return number, at.emit("Sub", tokens, at.emit("Gather", sums, number, axis=0))


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
    """Which keys a query may see: those up to its position, aligned with the first or the last key."""
    places, keys = _counted(at, 0, 2), _counted(at, 1, 2)
    if kind == "lower_right":
        rows, columns = (at.emit("Size", one) for one in (places, keys))
        places = at.emit("Add", places, at.emit("Sub", columns, rows))
    return at.emit("LessOrEqual", keys, at.emit("Unsqueeze", places, at.constant([1], "behind")))


def _repeated(at: LayerScope, index: int, packed: bool) -> str:
    """Keys or values with as many heads as the query has, whose number may only be known at run time."""
    query, few = at.read(0), at.read(index)
    padded = _padded(at, few.name, packed)
    heads = [at.dims(one)[1] for one in (query, few)]
    if None not in heads and heads[0] == heads[1]:
        return padded
    many, some = (at.emit("Shape", one.name, start=1, end=2) for one in (query, few))
    one = at.constant([1], "one")
    times = at.emit("Concat", one, one, at.emit("Div", many, some), one, one, axis=0)
    wide = at.emit("Expand", at.emit("Unsqueeze", padded, at.constant([2], "apart")), times)
    batch, rest = at.emit("Shape", padded, end=1), at.emit("Shape", padded, start=2)
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
