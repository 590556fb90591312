"""How messages name a node of a typed model: by the user's node, not by a name that trtpipe generated.

Importing expands operators (`/norm` into `/norm/Reshape` and others), and a precision inserts casts and quantizers
between the user's nodes. Such nodes are recognised by their generated names (`rewrites.py`, `precisions/`), and
messages name the user's node that they belong to. Uses names and edges only, no matter which check rejects the node.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx

_CAST = re.compile(r"cast_(?P<tensor>.+)")
_QUANTIZER = re.compile(r"(?P<tensor>.+)/(?P<what>quantize|dequantize)(?:_scales|_cast)?(?:_\d+)?")
_SUFFIX = re.compile(
    r"(?:_(?:fp32|fp16|bf16|dequantized|quantized)|/(?:quantize|dequantize)(?:_scales|_cast)?)(?:_\d+)?$"
)
_FAR = 8
"""How many nodes of trtpipe's stand in a row at most, with some to spare."""


def called(name: str, op: str, nodes: Sequence[onnx.NodeProto]) -> str:
    """A node of a typed model, by name and operator, in words: `node '/head/softmax' (Softmax)`."""
    known = {node.name: node for node in nodes if node.name}
    made = _made(known[name]) if name in known else ""
    if not made:
        whole = _whole(name, op, known)
        return f"node '{whole}', written out, at its {op}" if whole else f"node '{name}' ({op})"
    return f"{made}{_beside(known[name], nodes)}"


class Caller:
    """Names the nodes of one typed model by name alone, because messages of other tools do not give the operator."""

    def __init__(self, nodes: Sequence[onnx.NodeProto]) -> None:
        self._nodes = nodes
        self._operators = {node.name: node.op_type for node in nodes if node.name}

    def __call__(self, name: str) -> str:
        """The text of `called`, or the name in quotes when the model has no such node."""
        operator = self._operators.get(name)
        return f"node '{name}'" if operator is None else called(name, operator, self._nodes)

    def explained(self, said: str) -> str:
        """Describes the generated nodes that a text names, each in words: `'cast_x' is the cast of 'x' …`."""
        named = [part for word in _WORD.findall(said) for part in (word, *word.split("...")) if part]
        found = [name for name in (one.rstrip(".:") for one in named) if name in self._operators]
        words = {name: self(name) for name in found}
        own = [
            f"'{name}' is {word}" for name, word in words.items() if not word.startswith(f"node '{name}' (")
        ]
        return "; ".join(own[:_EXPLAINED])


_WORD = re.compile(r"[^\s'\"\[\]{}(),;+]+")
_EXPLAINED = 3


def is_made(node: onnx.NodeProto) -> bool:
    """Whether a precision inserted the node: a cast or a quantizer."""
    return bool(_made(node))


def _made(node: onnx.NodeProto) -> str:
    """A cast or a quantizer that trtpipe inserted, in words; empty for any other node.

    A user's node may have such a name too, so the tensors that the node reads and writes must match the name.
    """
    ends = {_tensor(name) for name in (*node.input, *node.output)}
    found = _QUANTIZER.fullmatch(node.name)
    if found is not None and any(_is_of(_tensor(found["tensor"]), end) for end in ends):
        verb = "quantization" if found["what"] == "quantize" else "dequantization"
        return f"the {verb} of '{_tensor(found['tensor'])}'"
    found = _CAST.fullmatch(node.name) if node.op_type == "Cast" else None
    if found is not None and ends == {_tensor(found["tensor"])}:
        return f"the cast of '{_tensor(found['tensor'])}'"
    return ""


def _is_of(tensor: str, name: str) -> bool:
    return name == tensor or name.startswith((f"{tensor}_", f"{tensor}/"))


def _tensor(name: str) -> str:
    """The user's tensor from which a generated name was derived."""
    shorter = _SUFFIX.sub("", name)
    return name if shorter == name or not shorter else _tensor(shorter)


def _whole(name: str, op: str, known: Mapping[str, onnx.NodeProto]) -> str:
    """The user's node that was expanded into this one and others; empty if it is the user's own."""
    stem, found, last = name.rpartition("/")
    written = bool(found) and re.fullmatch(rf"{re.escape(op)}(?:_\d+)?", last) is not None
    return stem if written and stem in known else ""


def _beside(node: onnx.NodeProto, nodes: Sequence[onnx.NodeProto]) -> str:
    """` in front of '/head/softmax'`: the first user's node after this one, or the last one before it."""
    behind = next(_users(node, nodes, forwards=True), None)
    if behind is not None:
        return f" before node '{behind.name}'"
    before = next(_users(node, nodes, forwards=False), None)
    return f" after node '{before.name}'" if before is not None else ""


def _users(
    start: onnx.NodeProto, nodes: Sequence[onnx.NodeProto], *, forwards: bool
) -> Iterator[onnx.NodeProto]:
    """The user's nodes reached through generated nodes only, the nearest first."""
    front, seen = [start], {start.name}
    for _ in range(_FAR):
        ends = {name for node in front for name in (node.output if forwards else node.input) if name}
        front = []
        for node in nodes:
            if node.name in seen or ends.isdisjoint(node.input if forwards else node.output):
                continue
            seen.add(node.name)
            if is_made(node):
                front.append(node)
            elif node.name:
                yield node
