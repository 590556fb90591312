"""TensorRT's errors as sentences that name the node and whose limitation it is, without most of TensorRT's wording.

The original messages contain C++ conditions, source positions, and node names that trtpipe generated. The log keeps
them unchanged.
"""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import TYPE_CHECKING

from trtpipe.errors import ModelError
from trtpipe.json_values import JsonObject, texts_in

if TYPE_CHECKING:
    import onnx

_LONGEST = 300
_SAID = re.compile(r'&& "(?P<words>[^"]+)"\s*$')
_WRAPPED = re.compile(
    r"^(?:\w+::\w+: )?Error Code \d+: [\w ]+ \((?P<words>.*?)(?:\.?\s+In \w+ at \S+)?\)$", re.DOTALL
)
_PLACE = re.compile(
    r"^(?:Assertion failed: |\w+Exception: |\S+\.(?:cpp|h):\d+: |CHECK\([^)]*\) failed\.? ?)+"
)
_TAIL = re.compile(r"\.?\s+In \w+ at \S+$")
_FIRST_LINE = re.compile(r"^Invalid Node - .*\n")


def plain_words(text: str) -> str:
    """TensorRT's message without C++ conditions and source positions; `…` marks omitted text."""
    words = _FIRST_LINE.sub("", text.strip())
    wrapped = _WRAPPED.match(words)
    words = wrapped["words"] if wrapped is not None else words
    said = _SAID.search(words)
    words = said["words"] if said is not None else _TAIL.sub("", _PLACE.sub("", words))
    words = " ".join(words.split()).rstrip(".!") or " ".join(text.split())
    words = words.replace("TensorRT's parser has no importer", "it has no importer")
    return words if len(words) <= _LONGEST else words[:_LONGEST] + "…"


def parser_fact(detail: JsonObject, model: Path) -> str:
    """One error of the parser about the typed `model`: the user's node, and the reason."""
    reason = plain_words(str(detail["reason"]))
    if detail["node"] is None and not detail["name"]:
        return f"the parser of TensorRT refuses the model: {reason}"
    functions = texts_in(detail, "functions")
    inside = f" in {', '.join(functions)}" if functions else ""
    name, op = str(detail["name"]), str(detail["op"])
    words = _called(name, op, model) if name else f"node number {detail['node']} ({op})"
    return f"the parser of TensorRT refuses {words}{inside}: {reason}"


def builder_fact(said: str, model: Path) -> str:
    """An error of the builder about the typed `model`; generated nodes that it names are explained."""
    from trtpipe.canonical.made_nodes import Caller

    more = Caller(_nodes_of(model)).explained(said)
    fact = f"the builder of TensorRT refuses the model: {plain_words(said)}"
    return f"{fact} ({more})" if more else fact


def _called(name: str, op: str, model: Path) -> str:
    from trtpipe.canonical.made_nodes import called

    return called(name, op, _nodes_of(model))


def _nodes_of(model: Path) -> list[onnx.NodeProto]:
    from trtpipe.canonical.reader import read_skeleton

    # an unreadable model is reported elsewhere; TensorRT's own node name is used
    with contextlib.suppress(ModelError):
        return list(read_skeleton(model).proto.graph.node)
    return []


def shown_log(log: str) -> str:
    """A worker's log to show with an error: warnings and errors, without those that every model causes."""
    kept = [line for line in log.splitlines() if not line.startswith(("[INFO]", "[VERBOSE]"))]
    return "\n".join(kept)
