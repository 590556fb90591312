"""Finds nodes that read other values than before, unless inserted or removed nodes explain it."""

from __future__ import annotations

from collections.abc import Iterator

from trtpipe.inspection.diff.graphs import GraphView, Vertex
from trtpipe.inspection.diff.matches import Matching


def rewired_inputs(found: Matching, one: Vertex, other: Vertex) -> Iterator[tuple[int, str, str]]:
    """The inputs at which two paired nodes read different values, with the producers of these values."""
    for place in range(max(len(one.inputs), len(other.inputs))):
        old = one.inputs[place] if place < len(one.inputs) else ""
        new = other.inputs[place] if place < len(other.inputs) else ""
        if not found.agree(old, new) and not _explained(found, old, new):
            yield place, maker_of(found.a, old), maker_of(found.b, new)


def rewired_outputs(found: Matching, old: str, new: str) -> tuple[str, str] | None:
    """The producers of a graph's output on both sides, if they differ and nothing explains it."""
    if found.agree(old, new) or _explained(found, old, new):
        return None
    return maker_of(found.a, old), maker_of(found.b, new)


def maker_of(view: GraphView, value: str) -> str:
    """The producer of a value, in words."""
    if not value:
        return "nothing"
    if value in view.weights:
        return f"weight {value}"
    made = view.producers.get(value)
    if made is None:
        return f"input {value}"
    vertex = view.vertices[made[0]]
    port = f", output {made[1]}" if made[1] else ""
    return f"{vertex.called} ({vertex.op}){port}"


def _explained(found: Matching, old: str, new: str) -> bool:
    """Whether unpaired nodes lead back to the same value on both sides."""
    if not old or not new:
        return False
    before = _reached(found.a, old, found.partner)
    after = _reached(found.b, new, found.back)
    if before & after & found.a.weights.keys() & found.b.weights.keys():
        return True
    functions = {found.of_a.get(value) for value in before - found.a.weights.keys()} - {None}
    if functions & {found.of_b.get(value) for value in after - found.b.weights.keys()}:
        return True
    places = {found.in_b(value) for value in before - found.a.weights.keys()} - {None}
    return bool(places & {found.place_b(value) for value in after - found.b.weights.keys()})


def _reached(view: GraphView, value: str, paired: dict[int, int]) -> set[str]:
    """The value, and the earlier values that are connected to it by unpaired nodes only."""
    found, waiting = set[str](), [value]
    while waiting:
        name = waiting.pop()
        if name in found or not name:
            continue
        found.add(name)
        made = view.producers.get(name)
        if made is not None and made[0] not in paired:
            waiting += view.vertices[made[0]].inputs
    return found
