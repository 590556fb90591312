"""UFF's messages, decoded from protobuf's wire format: a MetaGraph with its nodes, fields and referenced data.

A blob stays in the file: only its position is kept. Every length is checked against the file before it is used, and the
memory that a file can occupy is limited. Field numbers were derived from existing files of the format. The meaning of
nodes is not interpreted.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from trtpipe.canonical.wire import I64, LEN, VARINT, Field, WireError, WireReader

Buffer = mmap.mmap | bytes
_Number = TypeVar("_Number", int, float)

MOST_NODES = 200_000
MOST_VALUES = 1 << 20
"""Numbers and texts in lists, all nodes together."""
_INPUT_COSTS = 4  # the same limit as for values, because each input may become a node
LONGEST_TEXT = 4096
"""Bytes in an identifier or a text."""

_DATA_KINDS = {
    1: "s", 2: "s_list", 3: "d", 4: "d_list", 5: "b", 6: "b_list", 7: "i", 8: "i_list", 9: "blob",
    100: "ref", 101: "dtype", 102: "dtype_list", 103: "dim_orders", 104: "dim_orders_list",
}  # fmt: skip
_WIRE_OF_KIND = {"d": I64, "b": VARINT, "i": VARINT, "dtype": VARINT}
_WORD = (1 << 64) - 1


class UffError(ValueError):
    """The bytes are protobuf, but not a MetaGraph that makes sense."""


@dataclass(frozen=True, slots=True)
class Blob:
    """The position of some bytes in the file."""

    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class Data:
    """A value. `kind` is the name of the alternative: `i`, `s_list`, `blob`, `ref`, …; empty when none is set.

    Orders are mappings from a rank, or -1 for any, to a tuple of dimensions.
    """

    kind: str = ""
    value: Any = None


@dataclass(frozen=True, slots=True)
class Node:
    """An operation. It makes one tensor, named as the node."""

    id: str
    operation: str
    inputs: tuple[str, ...] = ()
    fields: Mapping[str, Data] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Graph:
    """Nodes in the file's order, which is not topological."""

    id: str
    nodes: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A set of operations that the file uses beside the core ones."""

    id: str
    version: int
    optional: bool


@dataclass(frozen=True, slots=True)
class MetaGraph:
    """A whole file."""

    version: int
    core_version: int
    descriptors: tuple[Descriptor, ...]
    graphs: tuple[Graph, ...]
    referenced: Mapping[str, Data]


def decode(data: Buffer) -> MetaGraph:
    """The MetaGraph in `data`. Raises WireError for bytes that are not protobuf, UffError for a wrong message."""
    return _Decoder(data).metagraph()


def looks_like_uff(data: Buffer) -> bool:
    """Whether the bytes begin like a MetaGraph, and continue like one as far as protobuf's framing is intact.

    A MetaGraph begins with two versions, both numbers, and its graph has an id and nodes. An ONNX model has its
    producer's name in place of the second version, and a GraphDef or Caffe net has no number in place of the first.
    """
    reader = WireReader(data)
    begun, graphs = set(), 0
    try:
        for one in reader.fields(0, len(data)):
            if one.wire != _TOP_LEVEL.get(one.number):
                return False
            begun.add(one.number)
            if one.number == 4:
                graphs += _is_graph(reader, one)
    except WireError:
        return data[:5] in _CUT_SHORT
    return {1, 2} <= begun and graphs > 0


_TOP_LEVEL = {1: VARINT, 2: VARINT, 3: LEN, 4: LEN, 5: LEN, 100: LEN}
_CUT_SHORT = [b"\x08\x01\x10\x01" + bytes([number << 3 | LEN]) for number in (3, 4, 5)]


def _is_graph(reader: WireReader, graph: Field) -> bool:
    wires = {one.number: one.wire for one in reader.fields(graph.value, graph.end)}
    return wires.get(1) == LEN and all(wires[number] == LEN for number in wires if number in (2, 100))


class _Decoder:
    """Decodes messages, each nested one by a method of its own: the format has a fixed depth."""

    def __init__(self, data: Buffer) -> None:
        self.data = data
        self.wire = WireReader(data)
        self.values = 0

    def metagraph(self) -> MetaGraph:
        versions = {1: 0, 2: 0}
        descriptors, graphs, referenced = [], [], {}
        for one in self.wire.fields(0, len(self.data)):
            if one.number in versions:
                versions[one.number] = self.integer(one)
            elif one.number == 3:
                descriptors.append(self.descriptor(one))
            elif one.number == 4:
                graphs.append(self.graph(one))
            elif one.number == 5:
                key, value = self.entry(one)
                referenced[key] = value
                self.count(1)
        return MetaGraph(versions[1], versions[2], tuple(descriptors), tuple(graphs), referenced)

    def descriptor(self, at: Field) -> Descriptor:
        name, numbers = "", {2: 0, 3: 0}
        for one in self.inside(at):
            if one.number == 1:
                name = self.text(one)
            elif one.number in numbers:
                numbers[one.number] = self.integer(one)
        return Descriptor(name, numbers[2], bool(numbers[3]))

    def graph(self, at: Field) -> Graph:
        name, nodes = "", []
        for one in self.inside(at):
            if one.number == 1:
                name = self.text(one)
            elif one.number == 2:
                nodes.append(self.node(one))
                if len(nodes) > MOST_NODES:
                    raise UffError(f"graph '{name}' has more than {MOST_NODES} nodes")
        return Graph(name, tuple(nodes))

    def node(self, at: Field) -> Node:
        name, operation, inputs, fields = "", "", [], {}
        for one in self.inside(at):
            if one.number == 1:
                name = self.text(one)
            elif one.number == 2:
                inputs.append(self.text(one))
                self.count(_INPUT_COSTS)
            elif one.number == 3:
                operation = self.text(one)
            elif one.number == 4:
                key, value = self.entry(one)
                fields[key] = value
                self.count(1)
        if not name:
            raise UffError(f"a node '{operation}' has no id")
        return Node(name, operation, tuple(inputs), fields)

    def entry(self, at: Field) -> tuple[str, Data]:
        """An entry of map<string, Data>."""
        key, value = "", Data()
        for one in self.inside(at):
            if one.number == 1:
                key = self.text(one)
            elif one.number == 2:
                value = self.datum(one)
        return key, value

    def datum(self, at: Field) -> Data:
        made = Data()
        for one in self.inside(at):
            kind = _DATA_KINDS.get(one.number)
            if kind is not None:
                if one.wire != _WIRE_OF_KIND.get(kind, LEN):
                    raise UffError(f"the value at byte {one.begin} is no {kind}")
                made = Data(kind, self.value_of(kind, one))
        return made

    def value_of(self, kind: str, one: Field) -> object:
        if kind == "blob":
            return Blob(one.value, one.end - one.value)
        if kind in ("s", "ref"):
            return self.text(one)
        if kind == "dim_orders":
            return self.orders(one)
        if kind == "d":
            return self.double_at(one.value, one.end)[0]
        if kind.endswith("_list"):
            return tuple(self.list_of(kind, one))
        return bool(one.number_value) if kind == "b" else _signed(one.number_value)

    def list_of(self, kind: str, one: Field) -> Iterator[object]:
        if kind == "s_list":
            return map(self.text, self.items(one))
        if kind == "dim_orders_list":
            return map(self.orders, self.items(one))
        if kind == "d_list":
            return self.numbers(one, I64, self.double_at)
        numbers = self.numbers(one, VARINT, self.signed_at)
        return map(bool, numbers) if kind == "b_list" else numbers

    def orders(self, at: Field) -> dict[int, tuple[int, ...]]:
        """DimensionOrders: map<int32, int64 list>."""
        found: dict[int, tuple[int, ...]] = {}
        for entry in self.items(at):
            key = 0
            dims: tuple[int, ...] = ()
            for one in self.inside(entry):
                if one.number == 1:
                    key = self.integer(one)
                elif one.number == 2:
                    dims = tuple(self.numbers(one, VARINT, self.signed_at))
            found[key] = dims
        return found

    def items(self, at: Field) -> Iterator[Field]:
        """The messages or texts of a list."""
        for one in self.inside(at):
            if one.number == 1:
                self.count(1)
                yield one

    def numbers(
        self, at: Field, wire: int, read: Callable[[int, int], tuple[_Number, int]]
    ) -> Iterator[_Number]:
        """The numbers of a list, packed or one by one."""
        for one in self.inside(at):
            if one.number != 1:
                continue
            if one.wire not in (wire, LEN):
                raise UffError(f"the list at byte {at.begin} contains other files than numbers")
            position = one.value
            while position < one.end:
                value, position = read(position, one.end)
                self.count(1)
                yield value

    def inside(self, at: Field) -> Iterator[Field]:
        if at.wire != LEN:
            raise UffError(f"the field at byte {at.begin} is not a message")
        return self.wire.fields(at.value, at.end)

    def text(self, at: Field) -> str:
        if at.wire != LEN:
            raise UffError(f"the field at byte {at.begin} is not text")
        if at.end - at.value > LONGEST_TEXT:
            raise UffError(f"the text at byte {at.begin} is longer than {LONGEST_TEXT} bytes")
        try:
            return self.data[at.value : at.end].decode()
        except UnicodeDecodeError:
            raise UffError(f"the text at byte {at.begin} is not UTF-8") from None

    def integer(self, at: Field) -> int:
        if at.wire != VARINT:
            raise UffError(f"the field at byte {at.begin} is not a number")
        return _signed(at.number_value)

    def signed_at(self, position: int, end: int) -> tuple[int, int]:
        value, after = self.wire.varint(position, end)
        return _signed(value), after

    def double_at(self, position: int, end: int) -> tuple[float, int]:
        if position + 8 > end:
            raise UffError(f"a list ends within the number at byte {position}")
        return struct.unpack("<d", self.data[position : position + 8])[0], position + 8

    def count(self, number: int) -> None:
        self.values += number
        if self.values > MOST_VALUES:
            raise UffError(f"it holds more than {MOST_VALUES} numbers and texts")


def _signed(value: int) -> int:
    """Two's complement of 64 bits, as protobuf writes negative numbers."""
    value &= _WORD
    return value - (1 << 64) if value >> 63 else value
