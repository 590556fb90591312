"""Size limits for ONNX files, so that a small malicious file cannot cause hours of work.

The limits are far above what real models have, and are checked while the file is read, before it is processed. The
limit on the length of names is TensorRT's own, whose parser would report it only at the end. The limit on nesting depth
is protobuf's. Independent of paths.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx

LONGEST_NAME = 4095
"""Bytes; TensorRT takes 4096 with the zero at the end."""
DEEPEST = 100
"""Levels of messages in messages; a graph in a graph is three."""
MOST_ENDS = 4096
"""Inputs of a model, and outputs."""

_MOST: Mapping[str, Mapping[int, tuple[str, int]]] = {
    "model": {8: ("opset imports", 1_000), 14: ("entries of metadata_props", 10_000)},
    "node": {1: ("inputs of one node", 10_000), 2: ("outputs of one node", 10_000)},
}
"""Kind of a message -> number of a field -> what the field is, and how often it may stand there."""

_NAMES: Mapping[str, frozenset[int]] = {
    "node": frozenset({1, 2, 3, 4, 7}),
    "attribute": frozenset({1}),
    "tensor": frozenset({8}),
    "value": frozenset({1}),
    "function": frozenset({1, 4, 5}),
}
"""Kind of a message -> the fields that are names."""


class TooLarge(ValueError):
    """A limit is exceeded; the caller adds the file's name to the text."""


class Tally:
    """The counts for one message."""

    def __init__(self, kind: str) -> None:
        self._most, self._names = _MOST.get(kind, {}), _NAMES.get(kind, frozenset())
        self._seen = dict.fromkeys(self._most, 0)

    def add(self, number: int, length: int) -> None:
        """Counts a field with a payload of this many bytes. Raises TooLarge."""
        if number in self._names and length > LONGEST_NAME:
            raise TooLarge(f"has a name of {length:,} bytes, and TensorRT takes {LONGEST_NAME:,} at most")
        if number in self._seen:
            self._seen[number] += 1
            what, most = self._most[number]
            if self._seen[number] > most:
                raise TooLarge(f"has more than {most:,} {what}")


def refuse_many_ends(graph: onnx.GraphProto) -> None:
    """Raises TooLarge when there are too many inputs or outputs; weights that are listed as inputs do not count."""
    if len(graph.input) > MOST_ENDS:
        weights = {tensor.name for tensor in graph.initializer}
        if sum(value.name not in weights for value in graph.input) > MOST_ENDS:
            raise TooLarge(f"has more than {MOST_ENDS:,} inputs")
    if len(graph.output) > MOST_ENDS:
        raise TooLarge(f"has more than {MOST_ENDS:,} outputs")


def too_deep() -> TooLarge:
    """The error for deep nesting; messages nest because graphs nest in nodes and types in types."""
    return TooLarge(
        f"is nested deeper than {DEEPEST} levels of protobuf messages (graphs in nodes, types in types)"
    )
