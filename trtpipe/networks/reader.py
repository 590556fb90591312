"""Reads parsed.json and parsed.weights into a ParsedNetwork, or rejects them; the files are untrusted.

Checked while reading: every named tensor is described, every number is that of a layer or loop, every digest has its
bytes in the file. So code that has a ParsedNetwork can rely on this.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from trtpipe.errors import ModelError
from trtpipe.json_values import (
    Json,
    JsonObject,
    Malformed,
    as_integer,
    as_object,
    flag_in,
    integer_in,
    integers_in,
    list_in,
    object_in,
    objects_in,
    read_object,
    text_in,
    texts_in,
)
from trtpipe.networks.contents import BITS, Contents, Piece, bytes_of
from trtpipe.networks.network import (
    Attention,
    Conditional,
    Layer,
    Loop,
    ParsedNetwork,
    ParserWarning,
    Tensor,
    TensorName,
    Value,
    WeightsRef,
)
from trtpipe.problem_codes import Code

SCHEMA = 1
NETWORK, WEIGHTS = "parsed.json", "parsed.weights"
_LARGEST = 1 << 30
_FLOATS = {"inf": float("inf"), "-inf": float("-inf"), "nan": float("nan")}
_DEEPEST = 8


def read_network(folder: Path) -> ParsedNetwork:
    """The network whose two files lie in a folder. Raises ModelError."""
    return read_network_files(folder / NETWORK, folder / WEIGHTS)


def read_network_files(network: Path, weights: Path) -> ParsedNetwork:
    """The network in two files. Raises ModelError."""
    try:
        if network.stat().st_size > _LARGEST:
            raise _damaged(network, "it is larger than 1 GiB")
        text, size = network.read_bytes(), weights.stat().st_size
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ModelError(
            Code.CANNOT_READ, f"cannot read the network in '{network}': {reason.lower()}"
        ) from error
    try:
        record = read_object(text)
        if record.get("schema") != SCHEMA:
            raise Malformed(f"its schema is not {SCHEMA}")
        return _network_from(record, Contents(weights, _pieces_from(record, size)))
    except Malformed as error:
        raise _damaged(network, str(error)) from error


def _damaged(path: Path, why: str) -> ModelError:
    return ModelError(Code.RECORD_DAMAGED, f"'{path}' is not a network that trtpipe has read back: {why}")


def _pieces_from(record: JsonObject, size: int) -> Mapping[str, Piece]:
    pieces = {
        text_in(one, "digest"): Piece(integer_in(one, "offset"), integer_in(one, "size"))
        for one in objects_in(record, "contents")
    }
    for digest, piece in pieces.items():
        if piece.offset < 0 or piece.size < 0 or piece.offset + piece.size > size:
            raise Malformed(f"the weights {digest[:12]} lie outside the file of {size} bytes")
    return pieces


def _network_from(record: JsonObject, contents: Contents) -> ParsedNetwork:
    described = [_tensor_from(one) for one in objects_in(record, "tensors")]
    network = ParsedNetwork(
        flavour=text_in(record, "flavour"),
        version=text_in(record, "version"),
        name=text_in(record, "name"),
        inputs=tuple(texts_in(record, "inputs")),
        outputs=tuple(texts_in(record, "outputs")),
        tensors={tensor.name: tensor for tensor in described},
        layers=tuple(
            _layer_from(number, one, contents) for number, one in enumerate(objects_in(record, "layers"))
        ),
        loops=tuple(_loop_from(one) for one in objects_in(record, "loops")),
        conditionals=tuple(_conditional_from(one) for one in objects_in(record, "conditionals")),
        attentions=tuple(_attention_from(one) for one in objects_in(record, "attentions")),
        warnings=tuple(ParserWarning(text) for text in texts_in(record, "warnings")),
        contents=contents,
    )
    if len(network.tensors) != len(described):
        raise Malformed("two tensors have the same name")
    _check_names(network)
    _check_numbers(network)
    return network


def _tensor_from(record: JsonObject) -> Tensor:
    shape = None if record.get("shape", 0) is None else tuple(integers_in(record, "shape"))
    if shape is not None and min(shape, default=0) < -1:
        raise Malformed("a size of a shape is below -1")
    return Tensor(
        text_in(record, "name"),
        text_in(record, "dtype"),
        shape,
        flag_in(record, "shape_tensor"),
        flag_in(record, "execution_tensor"),
        tuple(_text_or_none(one, "dimension_names") for one in list_in(record, "dimension_names")),
    )


def _layer_from(number: int, record: JsonObject, contents: Contents) -> Layer:
    return Layer(
        number,
        text_in(record, "name"),
        text_in(record, "type"),
        _text_or_none(record.get("node", 0), "node"),
        text_in(record, "metadata"),
        _inputs_in(record),
        tuple(texts_in(record, "outputs")),
        _attributes_in(record),
        {
            name: _weights_from(as_object(one, "weights"), contents)
            for name, one in object_in(record, "weights").items()
        },
        _number_or_none(record, "loop"),
        _number_or_none(record, "conditional"),
        _number_or_none(record, "attention"),
        _reasons_in(record),
    )


def _weights_from(record: JsonObject, contents: Contents) -> WeightsRef:
    ref = WeightsRef(text_in(record, "dtype"), integer_in(record, "count"), text_in(record, "digest"))
    if ref.dtype not in BITS:
        raise Malformed("weights have a type that TensorRT does not have")
    piece = contents.pieces.get(ref.digest)
    if piece is None or ref.count < 0 or piece.size != bytes_of(ref.dtype, ref.count):
        raise Malformed("weights have no bytes, or not as many as their type and count say")
    return ref


def _loop_from(record: JsonObject) -> Loop:
    parts = (_numbers_in(record, name) for name in ("trip_limits", "iterators", "recurrences", "outputs"))
    return Loop(text_in(record, "name"), *parts)


def _conditional_from(record: JsonObject) -> Conditional:
    parts = (_numbers_in(record, name) for name in ("conditions", "inputs", "outputs"))
    return Conditional(text_in(record, "name"), *parts)


def _attention_from(record: JsonObject) -> Attention:
    return Attention(
        text_in(record, "name"),
        _numbers_in(record, "input_layers"),
        _numbers_in(record, "output_layers"),
        _inputs_in(record),
        tuple(texts_in(record, "outputs")),
        _attributes_in(record),
        _reasons_in(record),
    )


def _numbers_in(record: JsonObject, name: str) -> tuple[int, ...]:
    return tuple(integers_in(record, name))


def _inputs_in(record: JsonObject) -> tuple[str | None, ...]:
    return tuple(_text_or_none(one, "an entry of inputs") for one in list_in(record, "inputs"))


def _reasons_in(record: JsonObject) -> dict[str, str]:
    reasons = object_in(record, "unread")
    return {name: text_in(reasons, name) for name in reasons}


def _attributes_in(record: JsonObject) -> dict[str, Value]:
    return {name: _value_from(one) for name, one in object_in(record, "attributes").items()}


def _value_from(value: Json, depth: int = 0) -> Value:
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Mapping):
        if len(value) == 1 and isinstance(value.get("tensor"), str):
            return TensorName(text_in(value, "tensor"))
        if len(value) == 1 and value.get("float") in (*_FLOATS,):
            return _FLOATS[text_in(value, "float")]
        raise Malformed("an attribute is neither a value nor the name of a tensor")
    if depth > _DEEPEST:
        raise Malformed("an attribute is nested too deep")
    return tuple(_value_from(one, depth + 1) for one in value)


def _text_or_none(value: Json, name: str) -> str | None:
    if value is not None and not isinstance(value, str):
        raise Malformed(f"{name} is neither a text nor null")
    return value


def _number_or_none(record: JsonObject, name: str) -> int | None:
    value = record.get(name, "")
    return None if value is None else as_integer(value, name)


# -- consistency between the parts ------------------------------------------------------------------------------


def _check_names(network: ParsedNetwork) -> None:
    """Checks that every tensor is described, and produced once, by a layer or as an input of the network."""
    made = [*network.inputs, *(name for layer in network.layers for name in layer.outputs)]
    if len(made) != len(set(made)):
        raise Malformed("a tensor is made twice")
    named = [*made, *network.outputs]
    parts: list[Layer | Attention] = [*network.layers, *network.attentions]
    for part in parts:
        named += [*(name for name in part.inputs if name is not None), *part.outputs]
        named += [value.name for value in part.attributes.values() if isinstance(value, TensorName)]
    for name in named:
        if name not in network.tensors:
            raise Malformed("a tensor is named and not described")


def _check_numbers(network: ParsedNetwork) -> None:
    """Checks that boundary layers and their constructs refer to each other."""
    for kind, parts in _bounded(network).items():
        for number, layers in enumerate(parts):
            for one in layers:
                if not 0 <= one < len(network.layers) or getattr(network.layers[one], kind) != number:
                    raise Malformed(f"a {kind} names a layer that is not its own")
        ends = {one for layers in parts for one in layers}
        for layer in network.layers:
            if getattr(layer, kind) is not None and layer.number not in ends:
                raise Malformed(f"a layer names a {kind} that it is not a part of")


def _bounded(network: ParsedNetwork) -> dict[str, list[Sequence[int]]]:
    return {
        "loop": [(*one.trip_limits, *one.iterators, *one.recurrences, *one.outputs) for one in network.loops],
        "conditional": [(*one.conditions, *one.inputs, *one.outputs) for one in network.conditionals],
        "attention": [(*one.input_layers, *one.output_layers) for one in network.attentions],
    }
