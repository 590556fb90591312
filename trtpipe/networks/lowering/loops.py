"""A loop as ONNX's Loop.

A recurrence is a carried state; an iterator gathers by the iteration number; a limit by count is the trip count. A
while limit is tested before each iteration, but ONNX expects the condition at the end of an iteration, for the next
states. So the layers that compute it are emitted twice, before the loop with the first states and at the end of the
body with the next ones.

A last value is the final state. A concatenation has the length of the output layer's second input, whatever the number
of iterations: TensorRT does not define the elements after the last iteration; here they are zero.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from trtpipe.networks.lowering.graph import same, value_info
from trtpipe.networks.lowering.scope import dtype_of
from trtpipe.networks.lowering.subgraphs import Construct, Level, construct_of

if TYPE_CHECKING:
    import onnx

    from trtpipe.layers.values import Value
    from trtpipe.networks.lowering.emission import Emission
    from trtpipe.networks.lowering.scope import LayerScope
    from trtpipe.networks.network import Layer

_SCANNED = "/rounds"


def unreadable(emission: Emission, construct: Construct) -> tuple[Layer, str] | None:
    """A boundary layer of a loop that has no ONNX form, and the reason."""
    parts = _Parts(emission, construct)
    if parts.whiles and parts.copied is None:
        return parts.whiles[0], "a limit that an iterator or another loop stands before has no ONNX form"
    found = [
        *((layer, _endless(parts, layer)) for layer in parts.of("ITERATOR")),
        *((layer, _unstacked(emission, layer)) for layer in parts.of("LOOP_OUTPUT")),
        *((layer, _incomplete(layer)) for layer in parts.of("RECURRENCE")),
    ]
    return next(((layer, why) for layer, why in found if why), None)


def _endless(parts: _Parts, layer: Layer) -> str:
    backwards = layer.attributes.get("reverse") and not parts.counts
    return "it runs backwards, and the loop has no limit by count" if backwards else ""


def _unstacked(emission: Emission, layer: Layer) -> str:
    return "" if layer.attributes.get("kind") == "LAST_VALUE" else _unstackable(emission, layer)


def _incomplete(layer: Layer) -> str:
    return "it has no second input" if len(layer.inputs) < 2 or None in layer.inputs[:2] else ""


def _unstackable(emission: Emission, layer: Layer) -> str:
    """Why the results of a loop's iterations cannot be concatenated; empty if they can."""
    if len(layer.inputs) < 2 or layer.inputs[1] is None:
        return "it has no length"
    axis, shape = layer.attributes.get("axis"), emission.network.tensors[layer.outputs[0]].shape
    if shape is None or not isinstance(axis, int) or not 0 <= axis < len(shape):
        return f"it has no axis {axis}"
    return ""


class _Parts:
    """The boundary layers of a loop, and the layers that its while limit depends on."""

    def __init__(self, emission: Emission, construct: Construct) -> None:
        self.borders = emission.nesting.borders[construct]
        self.construct = construct
        self.emission = emission
        limits = self.of("TRIP_LIMIT")
        self.counts = [one for one in limits if one.attributes.get("kind") == "COUNT"]
        self.whiles = [one for one in limits if one.attributes.get("kind") != "COUNT"]
        self.recurrences = self.of("RECURRENCE")
        self.copied = self._copied() if self.whiles else []

    def of(self, kind: str) -> list[Layer]:
        """The boundary layers of a type."""
        return [one for one in self.borders if one.type == kind]

    def read(self, layer: Layer, index: int = 0) -> str:
        """An input of a boundary layer, which must exist."""
        name = layer.inputs[index]
        assert name is not None, f"{layer.type} has input {index}"
        return name

    def _copied(self) -> list[int] | None:
        """The inner layers that the while limit depends on; None if one is a boundary layer other than a state."""
        nesting, found = self.emission.nesting, []
        pending, seen = [self.read(self.whiles[0])], set[int]()
        while pending:
            maker = nesting.makers.get(pending.pop())
            if maker is None or self.construct not in nesting.levels[maker.number] or maker.number in seen:
                continue
            seen.add(maker.number)
            border = construct_of(maker)
            if border == self.construct and maker.type == "RECURRENCE":
                continue
            # These layers belong to a construct, and cannot be emitted a second time by themselves.
            if border is not None or maker.attention is not None:
                return None
            found.append(maker.number)
            pending += [name for name in maker.inputs if name is not None]
        return found


def add_loop(emission: Emission, construct: Construct, level: Level, into: list[onnx.NodeProto]) -> None:
    """Adds a loop to the graph that contains it, after its inputs."""
    import onnx

    parts = _Parts(emission, construct)
    label = f"loop {construct.number}"
    inner = level | {construct}
    body: list[onnx.NodeProto] = []
    count = _count(parts, label, into)
    for layer in parts.of("ITERATOR"):
        emission.add_layer(layer, body, lambda at: _iterator(at, f"{label}/round", count))
    emission.add_items(inner, body, emission.needed)
    first, condition = _limit(parts, label, into, body)
    scanned = _scanned(parts)
    results = [*(parts.read(one, 1) for one in parts.recurrences), *scanned]
    tensors = emission.network.tensors
    outputs = [onnx.helper.make_tensor_value_info(f"{label}/go on", onnx.TensorProto.BOOL, None)]
    body.append(same(condition, f"{label}/go on"))
    for index, name in enumerate(results):
        body.append(same(name, f"{label}/{index}"))
        # the loop may have no iterations, so the shape of the results is declared
        collected = index >= len(parts.recurrences)
        outputs.append(value_info(tensors[name], f"{label}/{index}", shaped=collected))
    inputs = [
        onnx.helper.make_tensor_value_info(f"{label}/round", onnx.TensorProto.INT64, []),
        onnx.helper.make_tensor_value_info(f"{label}/went on", onnx.TensorProto.BOOL, []),
        *(value_info(tensors[one.outputs[0]]) for one in parts.recurrences),
    ]
    graph = onnx.helper.make_graph(body, label, inputs, outputs)
    initial = [parts.read(one) for one in parts.recurrences]
    last = {one.outputs[0]: f"{label}/last {one.outputs[0]}" for one in parts.recurrences}
    made = [*last.values(), *(f"{label}/{name}{_SCANNED}" for name in scanned)]
    into.append(onnx.helper.make_node("Loop", [count, first, *initial], made, name=label, body=graph))
    for layer in parts.of("LOOP_OUTPUT"):
        _add_output(emission, layer, last, label, into)


def _count(parts: _Parts, label: str, into: list[onnx.NodeProto]) -> str:
    """The trip count as int64; empty if there is no count limit."""
    import onnx

    if not parts.counts:
        return ""
    to = onnx.TensorProto.INT64
    into.append(
        onnx.helper.make_node(
            "Cast", [parts.read(parts.counts[0])], [f"{label}/count"], f"{label}/count", to=to
        )
    )
    return f"{label}/count"


def _limit(
    parts: _Parts, label: str, into: list[onnx.NodeProto], body: list[onnx.NodeProto]
) -> tuple[str, str]:
    """The condition for the first iteration, and inside the body the one for the next."""
    if not parts.whiles:
        return "", f"{label}/went on"
    before = {one.outputs[0]: parts.read(one) for one in parts.recurrences}
    after = {one.outputs[0]: parts.read(one, 1) for one in parts.recurrences}
    return (
        _copy(parts, before, f"{label}/first/", into),
        _copy(parts, after, f"{label}/next/", body),
    )


def _copy(parts: _Parts, states: Mapping[str, str], prefix: str, into: list[onnx.NodeProto]) -> str:
    """The while limit for given states: the layers that compute it, emitted once more."""
    emission, wanted = parts.emission, parts.read(parts.whiles[0])
    names = dict(states)
    level = emission.nesting.levels[parts.whiles[0].number]
    order = [one for one in emission.nesting.items(level, set(parts.copied or ())) if isinstance(one, int)]
    for number in order:
        piece = emission.pieces[number]
        emission.graph.add(piece, into, names, prefix)
        names |= {output: f"{prefix}{output}" for output in piece.outputs}
    return names.get(wanted, wanted)


def _iterator(at: LayerScope, number: str, count: str) -> list[str]:
    """The slice of a tensor for an iteration; in reverse, counted from the trip count."""
    index = number
    if at.flag("reverse"):
        index = at.emit("Sub", at.emit("Sub", count, at.constant(1, "one")), number)
    return [at.emit("Gather", at.read(0).name, index, axis=at.whole("axis"))]


def _scanned(parts: _Parts) -> list[str]:
    """The tensors whose value in each iteration is needed; also the last value of a tensor that is not a state."""
    states = {one.outputs[0] for one in parts.recurrences}
    found: dict[str, None] = {}
    for layer in parts.of("LOOP_OUTPUT"):
        name = parts.read(layer)
        if layer.attributes.get("kind") != "LAST_VALUE" or name not in states:
            found[name] = None
    return list(found)


def _add_output(
    emission: Emission, layer: Layer, last: Mapping[str, str], label: str, into: list[onnx.NodeProto]
) -> None:
    name = layer.inputs[0] or ""
    if layer.attributes.get("kind") == "LAST_VALUE" and name in last:
        into.append(same(last[name], layer.outputs[0]))
        return
    emission.add_layer(layer, into, lambda at: _gathered(at, f"{label}/{name}{_SCANNED}"))


def _gathered(at: LayerScope, rounds: str) -> list[str]:
    """The results of all iterations concatenated, brought to their length and axis."""
    kind = at.member("kind")
    if kind == "last_value":
        return [at.emit("Gather", rounds, at.constant(-1, "last"), axis=0)]
    made = rounds
    first, axis = at.constant([0], "first"), at.axis(at.whole("axis"), at.rank_made, "axis")
    if kind == "reverse":
        ends = at.constant([-(2**62)], "before_all"), at.constant([-1], "back")
        made = at.emit("Slice", made, ends[1], ends[0], first, ends[1])
    made = _of_length(at, made, at.read(1), first)
    rank = at.rank_made
    if not axis:
        return [made]
    order = list(range(1, rank))
    order.insert(axis, 0)
    return [at.emit("Transpose", made, perm=order)]


def _of_length(at: LayerScope, made: str, length: Value, first: str) -> str:
    """Pads with zeros after the last iteration up to the length, and cuts off anything beyond."""
    wanted = at.emit("Reshape", at.int64(length), at.constant([1], "one"))
    lacking = at.emit("Sub", wanted, at.emit("Shape", made, start=0, end=1))
    zero = at.constant([0], "zero")
    rank = at.rank_made
    rest = [at.constant([0] * (2 * rank - 1 - rank), "others")] if rank > 1 else []
    pads: Sequence[str] = [at.constant([0] * rank, "before"), at.emit("Max", lacking, zero), *rest]
    dtype = dtype_of(at.made[0].dtype)
    nothing = at.constant(0, "nothing", dtype)
    padded = at.emit("Pad", made, at.emit("Concat", *pads, axis=0), nothing)
    return at.emit("Slice", padded, zero, wanted, first)
