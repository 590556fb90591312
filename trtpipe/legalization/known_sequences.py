"""Replaces sequences of known length, which exporters write for `split`, `unbind` and `stack`, by tensors.

TensorRT has no sequences. Reading an element of a sequence, or joining all of them, needs none if the length and the
positions are constant. A node that makes a sequence stays as long as another node still reads it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

from trtpipe.canonical.edits import attribute_of, integer_of, keep_nodes, uses
from trtpipe.canonical.tensors import graphs_of

if TYPE_CHECKING:
    import onnx

    from trtpipe.legalization.rewrites import Rewriting, Rule

_MOST = 4096
"""Longer sequences are left: each element would be a node of its own."""
_UNPACKED_SINCE = 13
"""The opset from which Split, Squeeze and Unsqueeze take what they do as an input."""


def _input(node: onnx.NodeProto, index: int) -> str:
    return str(node.input[index]) if index < len(node.input) else ""


def _number(work: Rewriting, name: str) -> int | None:
    values = work.values(name) if name else None
    return int(values.reshape(-1)[0]) if values is not None and values.size == 1 else None


def _construct(work: Rewriting, node: onnx.NodeProto) -> bool:
    work.sequences[node.output[0]] = tuple(node.input)
    return False


def _empty(work: Rewriting, node: onnx.NodeProto) -> bool:
    work.sequences[node.output[0]] = ()
    return False


def _split(work: Rewriting, node: onnx.NodeProto) -> bool:
    """Parts of known sizes; if each has size 1 and the axis is not kept, the axis is removed."""
    import onnx

    sizes = _sizes(work, node)
    if sizes is None or work.opset < _UNPACKED_SINCE or not 0 < len(sizes) <= _MOST:
        return False
    axis, alone = integer_of(node, "axis"), not _input(node, 1) and not integer_of(node, "keepdims", 1)
    parts = work.add_split(node.input[0], sizes, axis) if len(sizes) > 1 else [node.input[0]]
    if alone:
        where = work.constant([axis], "axis")
        parts = [work.add("Squeeze", [part, where]) for part in parts]
    work.sequences[node.output[0]] = tuple(parts)
    kept = onnx.NodeProto()
    kept.CopyFrom(node)
    work.keep(kept)
    return True


def _sizes(work: Rewriting, node: onnx.NodeProto) -> list[int] | None:
    """The sizes of the parts: given, or the same for all but the last, or 1 each."""
    whole, given = work.types.size(node.input[0], integer_of(node, "axis")), _input(node, 1)
    if not given:
        return None if whole is None else [1] * whole
    values = work.values(given)
    if values is None:
        return None
    if values.ndim:
        return [int(value) for value in values.tolist()]
    step = int(values)
    if whole is None or step < 1:
        return None
    return [min(step, whole - at) for at in range(0, whole, step)]


def _at(work: Rewriting, node: onnx.NodeProto) -> bool:
    parts, place = work.sequences.get(node.input[0]), _number(work, node.input[1])
    if parts is None or place is None or not -len(parts) <= place < len(parts):
        return False
    work.add("Identity", [parts[place]], node.output[0], name=node.name)
    return True


def _length(work: Rewriting, node: onnx.NodeProto) -> bool:
    import numpy as np
    import onnx

    parts = work.sequences.get(node.input[0])
    if parts is None:
        return False
    value = onnx.numpy_helper.from_array(np.asarray(len(parts), np.int64))
    work.add("Constant", [], node.output[0], name=node.name, value=value)
    return True


def _insert(work: Rewriting, node: onnx.NodeProto) -> bool:
    parts, given = work.sequences.get(node.input[0]), _input(node, 2)
    place = _number(work, given) if given else len(parts or ())
    if parts is not None and place is not None and -len(parts) <= place <= len(parts):
        at = place if place >= 0 else place + len(parts)
        work.sequences[node.output[0]] = (*parts[:at], node.input[1], *parts[at:])
    return False


def _erase(work: Rewriting, node: onnx.NodeProto) -> bool:
    parts, given = work.sequences.get(node.input[0]), _input(node, 1)
    place = _number(work, given) if given else -1
    if parts and place is not None and -len(parts) <= place < len(parts):
        at = place % len(parts)
        work.sequences[node.output[0]] = (*parts[:at], *parts[at + 1 :])
    return False


def _joined(work: Rewriting, node: onnx.NodeProto) -> bool:
    """Concatenation along an axis, which may be a new one."""
    parts, axis = work.sequences.get(node.input[0]), attribute_of(node, "axis")
    new = integer_of(node, "new_axis")
    if not parts or not isinstance(axis, int) or (new and work.opset < _UNPACKED_SINCE):
        return False
    if new:
        where = work.constant([axis], "axis")
        parts = tuple(work.add("Unsqueeze", [part, where]) for part in parts)
    work.add("Concat", list(parts), node.output[0], name=node.name, axis=axis)
    return True


SEQUENCES: Mapping[tuple[str, str], Rule] = {
    ("", "ConcatFromSequence"): _joined,
    ("", "SequenceAt"): _at,
    ("", "SequenceConstruct"): _construct,
    ("", "SequenceEmpty"): _empty,
    ("", "SequenceErase"): _erase,
    ("", "SequenceInsert"): _insert,
    ("", "SequenceLength"): _length,
    ("", "SplitToSequence"): _split,
}
"""Domain and operator → the rule that does without the sequence."""


def hand_on(work: Rewriting, node: onnx.NodeProto) -> None:
    """Records that the Identity of a known sequence is known, too."""
    known = node.op_type == "Identity" and not node.domain and len(node.input) == len(node.output) == 1
    if known and node.input[0] in work.sequences:
        work.sequences[node.output[0]] = work.sequences[node.input[0]]


def drop_unread(model: onnx.ModelProto) -> None:
    """Removes nodes that make sequences which nothing reads any more, including chains of them."""
    while sum(_drop(graph, uses(model)) for graph in graphs_of(model)):
        pass


def _drop(graph: onnx.GraphProto, read: Counter[str]) -> int:
    about = {("", "Identity"), *SEQUENCES}
    return keep_nodes(graph, lambda node: _key(node) not in about or any(read[one] for one in node.output))


def _key(node: onnx.NodeProto) -> tuple[str, str]:
    return ("" if node.domain == "ai.onnx" else node.domain), node.op_type
