"""Writes UFF files by hand, message by message in protobuf's wire format, for tests and for the example.

A node is what `node` gives, a file what `uff` gives. Knows the format's field numbers and nothing of the reader.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

INCREMENT = 2147483647
ORDERS = {
    "NC+": [0, 1, 2, INCREMENT], "N+C": [0, 2, INCREMENT, 1], "+CK": [2, INCREMENT, 1, 0],
    "+KC": [2, INCREMENT, 0, 1], "KC+": [0, 1, 2, INCREMENT], "NC": [0, 1], "CN": [1, 0], "CK": [1, 0], "KC": [0, 1],
}  # fmt: skip
DTYPES = {"int8": 65544, "int16": 65552, "int32": 65568, "int64": 65600, "float16": 131088, "float32": 131104}


def varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def number(tag: int, value: int) -> bytes:
    return varint(tag << 3) + varint(value)


def message(tag: int, payload: bytes | str) -> bytes:
    payload = payload.encode() if isinstance(payload, str) else payload
    return varint(tag << 3 | 2) + varint(len(payload)) + payload


@dataclass(frozen=True)
class Ref:
    """A reference to a value in the file."""

    name: str


@dataclass(frozen=True)
class Dtype:
    """A data type."""

    number: int


@dataclass(frozen=True)
class Orders:
    """Orders of dimensions, one an input."""

    orders: Sequence[Mapping[int, Sequence[int]]]


def data(value: Any) -> bytes:
    """A Data message."""
    write = next((write for kind, write in _WRITERS.items() if isinstance(value, kind)), _list)
    return write(value)


_WRITERS: dict[type, Callable[[Any], bytes]] = {
    bool: lambda value: number(5, value),
    int: lambda value: number(7, value),
    float: lambda value: varint(3 << 3 | 1) + struct.pack("<d", value),
    str: lambda value: message(1, value),
    bytes: lambda value: message(9, value),
    Ref: lambda value: message(100, value.name),
    Dtype: lambda value: number(101, value.number),
    Orders: lambda value: message(104, b"".join(message(1, _orders(one)) for one in value.orders)),
}


def _list(value: Sequence[Any]) -> bytes:
    if any(isinstance(one, str) for one in value):
        return message(2, b"".join(message(1, one) for one in value))
    if any(isinstance(one, float) for one in value):
        return message(4, message(1, b"".join(struct.pack("<d", one) for one in value)))
    return message(8, message(1, b"".join(map(varint, value))) if value else b"")


def _orders(orders: Mapping[int, Sequence[int]]) -> bytes:
    return b"".join(
        message(1, number(1, rank) + message(2, message(1, b"".join(map(varint, dims)))))
        for rank, dims in orders.items()
    )


def entry(key: str, value: Any) -> bytes:
    """An entry of map<string, Data>."""
    return message(1, key) + message(2, data(value))


@dataclass
class Node:
    """A node in the making; `refs` are values that it puts into the file."""

    id: str
    operation: str
    inputs: Sequence[str] = ()
    fields: Mapping[str, Any] = field(default_factory=dict)
    refs: Mapping[str, Any] = field(default_factory=dict)

    def encoded(self) -> bytes:
        parts = [message(1, self.id), *(message(2, one) for one in self.inputs), message(3, self.operation)]
        return b"".join([*parts, *(message(4, entry(*one)) for one in self.fields.items())])


def node(operation: str, id_: str, *inputs: str, orders: Sequence[str] = (), **fields: Any) -> Node:
    """A node; `orders` are names as in `ORDERS`, and `implicit_padding` and the rest are fields."""
    if not orders:
        return Node(id_, operation, inputs, fields)
    name = "orders_" + "_".join(orders)
    value = Orders([{-1: ORDERS[one]} for one in orders])
    return Node(id_, operation, inputs, {"inputs_orders": Ref(name), **fields}, {name: value})


def const(id_: str, value: Any, dtype: str | None = None) -> Node:
    array = np.asarray(value, dtype)
    fields = {
        "dtype": Dtype(DTYPES[array.dtype.name]),
        "shape": list(array.shape),
        "values": Ref(f"weights_{id_}"),
    }
    return Node(
        id_, "Const", (), fields, {f"weights_{id_}": array.astype(array.dtype.newbyteorder("<")).tobytes()}
    )


def placeholder(id_: str, shape: Sequence[int], dtype: str = "float32") -> Node:
    return Node(id_, "Input", (), {"shape": list(shape), "dtype": Dtype(DTYPES[dtype])})


def mark(*names: str) -> list[Node]:
    return [Node(f"MarkOutput_{index}", "MarkOutput", (name,)) for index, name in enumerate(names)]


def uff(
    nodes: Iterable[Node], *, version: int = 1, core: int = 1, graph: str = "main",
    descriptors: Mapping[str, int] | None = None,
) -> bytes:  # fmt: skip
    """A file: nodes in the order given, which readers must not rely on."""
    nodes = list(nodes)
    refs = {name: value for one in nodes for name, value in one.refs.items()}
    known = {"tensorflow_extension": 1} if descriptors is None else descriptors
    return b"".join(
        [
            number(1, version),
            number(2, core),
            *(message(3, message(1, name) + number(2, one)) for name, one in known.items()),
            message(4, message(1, graph) + b"".join(message(2, one.encoded()) for one in nodes)),
            *(message(5, entry(*one)) for one in refs.items()),
        ]
    )
