"""Helpers that the rules for ONNX Runtime's operators share: optional inputs, and small groups of nodes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from trtpipe.canonical.edits import attribute_of

if TYPE_CHECKING:
    import onnx

    from trtpipe.canonical.builder import Attribute
    from trtpipe.legalization.rewrites import Rewriting, Rule

MICROSOFT = "com.microsoft"


def since(opset: int, rule: Rule) -> Rule:
    """A rule that applies from an opset on, because earlier ones define its nodes differently."""

    def held(work: Rewriting, node: onnx.NodeProto) -> bool:
        return work.opset >= opset and rule(work, node)

    return held


def input_of(node: onnx.NodeProto, index: int) -> str:
    """An input's name; empty where it is left out."""
    return str(node.input[index]) if index < len(node.input) else ""


def other_outputs(node: onnx.NodeProto, wanted: Iterable[int]) -> bool:
    """Whether the node has outputs other than these."""
    return any(name and index not in set(wanted) for index, name in enumerate(node.output))


def attributes_of(node: onnx.NodeProto, left_out: Iterable[str] = ()) -> dict[str, Attribute]:
    """A node's attributes except some."""
    import onnx

    gone = set(left_out)
    return {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute if one.name not in gone}


def real_of(node: onnx.NodeProto, name: str, default: float) -> float:
    """An attribute that is a real number."""
    found = attribute_of(node, name)
    return found if isinstance(found, float) else default


def text_of(node: onnx.NodeProto, name: str, default: str = "") -> str:
    """An attribute that is text."""
    found = attribute_of(node, name)
    return found.decode(errors="replace") if isinstance(found, bytes) else default


def transposed(work: Rewriting, value: str, perm: Sequence[int], output: str = "") -> str:
    """A value with permuted axes."""
    return work.add("Transpose", [value], output, perm=list(perm))


def unsqueezed(work: Rewriting, value: str, *axes: int) -> str:
    """A value with more axes of size 1; opset 13 or later."""
    return work.add("Unsqueeze", [value, work.constant(list(axes), "axes")])


def squeezed(work: Rewriting, value: str, *axes: int) -> str:
    """A value without these axes of size 1; opset 13 or later."""
    return work.add("Squeeze", [value, work.constant(list(axes), "axes")])


def picked(work: Rewriting, value: str, index: int, axis: int = 0) -> str:
    """The part of a value at an index along an axis, which is removed."""
    return work.add("Gather", [value, work.constant(index, "index")], axis=axis)


def size_of(work: Rewriting, value: str, axis: int) -> str:
    """The size of a value along an axis, as a vector of one element."""
    return work.add("Gather", [work.add("Shape", [value]), work.constant([axis], "axis")])


def reduced(
    work: Rewriting, operator: str, value: str, axes: Sequence[int] | None, *, keepdims: bool = True
) -> str:
    """A reduction over axes, which are an attribute before opset 18; over all of them when None."""
    if axes is None:
        return work.add(operator, [value], keepdims=int(keepdims))
    if work.opset < 18 and operator != "ReduceSum":
        return work.add(operator, [value], axes=list(axes), keepdims=int(keepdims))
    return work.add(operator, [value, work.constant(list(axes), "axes")], keepdims=int(keepdims))


def summed(work: Rewriting, *values: str) -> str:
    """The sum of the values that are present."""
    total, *more = [value for value in values if value]
    for value in more:
        total = work.add("Add", [total, value])
    return total


def cast(work: Rewriting, value: str, number: int, output: str = "") -> str:
    """A value cast to the type of this number."""
    return work.add("Cast", [value], output, to=number)
