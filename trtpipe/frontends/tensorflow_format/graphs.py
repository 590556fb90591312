"""Reads the nodes, inputs and outputs of a TensorFlow graph or SavedModel, without TensorFlow.

Names, operators, inputs, and the type and shape of placeholders; weights are skipped. Field numbers are those of
graph.proto, node_def.proto, function.proto, tensor_shape.proto, meta_graph.proto and saved_model.proto of TensorFlow.
"""

from __future__ import annotations

import mmap
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from trtpipe.canonical.wire import LEN, VARINT, WireError
from trtpipe.errors import ModelError
from trtpipe.frontends.tensorflow_format.output_counts import COUNTED, output_count
from trtpipe.frontends.tensorflow_format.wire import Buffer, Field, fields
from trtpipe.problem_codes import Code

SAVED_MODEL = "saved_model.pb"
_MOST_NODES = 1_000_000
_MOST_OUTPUTS = 1000
# a node's operator may be the name of a function in the library
_OPERATOR = re.compile(r"[A-Za-z_][A-Za-z0-9_>]*")
_GRAPH_FIELDS = {1: LEN, 2: LEN, 3: VARINT, 4: LEN}  # node, library, version, versions; 5 is debug_info
_DEBUG_INFO = 5
_DTYPE, _SHAPE = "dtype", "shape"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Node:
    """A node; `dims` is a placeholder's shape, -1 where dynamic, None without a rank. `inputs` as TensorFlow writes
    them: `name`, `name:1`, `^name` for control."""

    name: str
    operator: str
    inputs: tuple[str, ...]
    dtype: int = 0
    dims: tuple[int, ...] | None = None
    outputs: int = 1
    """How many it has, as far as that is known."""


@dataclass(frozen=True, slots=True)
class Graph:
    """The nodes of a graph, and the operators of the functions in its library."""

    nodes: tuple[Node, ...]
    library: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Signature:
    """The inputs and outputs of a SavedModel's signature, by the signature's names."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class MetaGraph:
    """One graph of a SavedModel: the tags that name it, its signatures, the files that it refers to."""

    tags: tuple[str, ...]
    signatures: dict[str, Signature]
    assets: tuple[str, ...]
    graph: Graph


def read_graph(path: Path) -> Graph:
    """The frozen graph in a file. Raises ModelError when the file has another format."""
    return _read(path, _graph, "a TensorFlow graph")


def read_saved_model(folder: Path) -> tuple[MetaGraph, ...]:
    """The graphs of the SavedModel in a directory. Raises ModelError when it holds none."""
    if not (folder / SAVED_MODEL).is_file():
        said = f"'{folder.name}' is not a SavedModel: there is no {SAVED_MODEL} in it"
        raise ModelError(
            Code.NOT_TENSORFLOW,
            said,
            "name the directory that model.export or tf.saved_model.save has written",
        )
    return _read(folder / SAVED_MODEL, _saved_model, "a SavedModel")


def _read(path: Path, parse: Callable[[Buffer, int, int], T], noun: str) -> T:
    try:
        with path.open("rb") as file:
            if not path.stat().st_size:
                raise WireError("it is empty")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                return parse(data, 0, len(data))
    except WireError as error:
        raise ModelError(
            Code.NOT_TENSORFLOW, f"'{path.name}' does not hold {noun}: {error}", _other_format(path)
        ) from error


def _other_format(path: Path) -> str:
    with path.open("rb") as file:
        head = file.read(8)
    if head == b"\x89HDF\r\n\x1a\n" or (head.startswith(b"PK") and path.suffix == ".keras"):
        return "it is a Keras file; save it as a SavedModel: model.export('DIRECTORY')"
    return "freeze the graph to a binary .pb, or name the directory of a SavedModel"


def _graph(data: Buffer, begin: int, end: int) -> Graph:
    nodes: list[Node] = []
    library: set[str] = set()
    for field in fields(data, begin, end):
        if field.number == _DEBUG_INFO and field.wire == LEN:
            continue
        if _GRAPH_FIELDS.get(field.number) != field.wire:
            raise WireError(f"field {field.number} is none of a graph's")
        if field.number == 1:
            nodes.append(_node(data, field))
        elif field.number == 2:
            library |= set(_library_operators(data, field))
        if len(nodes) > _MOST_NODES:
            raise WireError(f"there are more than {_MOST_NODES} nodes")
    if not nodes:
        raise WireError("there are no nodes")
    return Graph(tuple(nodes), frozenset(library))


def _node(data: Buffer, message: Field) -> Node:
    name = operator = ""
    inputs: list[str] = []
    attributes: list[Field] = []
    for field in message.within(data):
        if field.number == 1:
            name = field.text(data)
        elif field.number == 2:
            operator = field.text(data)
        elif field.number == 3:
            inputs.append(field.text(data))
        elif field.number == 5 and (operator.startswith("Placeholder") or operator in COUNTED):
            attributes.append(field)
    if not name or not _OPERATOR.fullmatch(operator):
        raise WireError("a node has no name or no operator")
    return Node(name, operator, tuple(inputs), *_told(data, operator, attributes))


def _told(data: Buffer, operator: str, attributes: list[Field]) -> tuple[int, tuple[int, ...] | None, int]:
    """From a node's attributes: a placeholder's type and shape, and the number of outputs."""
    dtype, dims, counts = 0, None, dict[str, int]()
    for field in attributes:
        key, value = _entry(data, field)
        if value is None:
            continue
        if operator in COUNTED:
            counts |= {key: _number_or_length(data, value)} if key == COUNTED[operator] else {}
        elif key == _DTYPE:
            dtype = next((one.value for one in value.within(data) if one.number == 6), 0)
        elif key == _SHAPE:
            dims = next((_dims(data, one) for one in value.within(data) if one.number == 7), None)
    return dtype, dims, output_count(operator, counts)


def _entry(data: Buffer, message: Field) -> tuple[str, Field | None]:
    """Key and value of a map's entry."""
    key, value = "", None
    for field in message.within(data):
        if field.number == 1:
            key = field.text(data)
        elif field.number == 2:
            value = field
    return key, value


def _number_or_length(data: Buffer, value: Field) -> int:
    """An attribute's value: a number, or the number of types in a list."""
    for one in value.within(data):
        if one.number == 3:
            return min(one.value, _MOST_OUTPUTS)
        if one.number == 1:
            types = (inner for inner in one.within(data) if inner.number == 6)
            count = sum(inner.end - inner.begin if inner.wire == LEN else 1 for inner in types)
            return min(count, _MOST_OUTPUTS)  # packed types are one byte each: references count from 101
    return 1


def _dims(data: Buffer, message: Field) -> tuple[int, ...] | None:
    sizes: list[int] = []
    for field in message.within(data):
        if field.number == 3 and field.value:
            return None  # unknown_rank
        if field.number == 2:
            sizes.append(next((one.signed for one in field.within(data) if one.number == 1), 0))
    return tuple(max(size, -1) for size in sizes)


def _library_operators(data: Buffer, message: Field) -> Iterator[str]:
    for function in message.within(data):
        if function.number != 1:
            continue
        for node in function.within(data):
            if node.number == 3:  # FunctionDef.node_def
                yield from (one.text(data) for one in node.within(data) if one.number == 2)


def _saved_model(data: Buffer, begin: int, end: int) -> tuple[MetaGraph, ...]:
    found = [field for field in fields(data, begin, end) if field.number == 2]
    if not found:
        raise WireError("there is no graph in it")
    return tuple(_meta_graph(data, field) for field in found)


def _meta_graph(data: Buffer, message: Field) -> MetaGraph:
    tags: list[str] = []
    signatures: dict[str, Signature] = {}
    assets: list[str] = []
    graph = Graph(())
    for field in message.within(data):
        if field.number == 1:
            tags = [one.text(data) for one in field.within(data) if one.number == 4]
        elif field.number == 2:
            graph = _graph(data, field.begin, field.end)
        elif field.number == 5:
            key, value = _entry(data, field)
            signatures[key] = _signature(data, value)
        elif field.number == 6:
            assets += [one.text(data) for one in field.within(data) if one.number == 2]
    return MetaGraph(tuple(tags), signatures, tuple(assets), graph)


def _signature(data: Buffer, message: Field | None) -> Signature:
    sides: dict[int, list[str]] = {1: [], 2: []}
    for field in message.within(data) if message is not None else ():
        if field.number in sides:
            sides[field.number].append(_entry(data, field)[0])
    return Signature(tuple(sorted(sides[1])), tuple(sorted(sides[2])))
