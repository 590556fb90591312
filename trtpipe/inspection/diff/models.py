"""Compares two models: graph, weights, inputs and outputs, types, costs.

New names, another order of nodes, and defaults that were written explicitly are reported, but are not changes. A node
that was inserted or removed explains that its neighbours read something else; only nodes for which this does not
explain it count as rewired.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING

from trtpipe.canonical.edits import sort_nodes
from trtpipe.canonical.names import make_values_unique
from trtpipe.canonical.summary import TensorInfo, summarize
from trtpipe.inspection.diff.graphs import Vertex, shared, view_graph
from trtpipe.inspection.diff.matches import Matching, match
from trtpipe.inspection.diff.numeric_types import TypeChanges, type_changes
from trtpipe.inspection.diff.rewires import rewired_inputs, rewired_outputs
from trtpipe.inspection.diff.tensors import WeightChange, compare_tensors
from trtpipe.json_values import Json

if TYPE_CHECKING:
    import onnx


@dataclass(frozen=True, slots=True)
class NodeChange:
    """A node on both sides, by its names; `what` is `operator`, `attribute NAME` or `input N`, from old to new."""

    a: str
    b: str
    op: str
    what: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class GraphChanges:
    """What changed in a graph and its nested graphs. Nodes are (name, operator)."""

    added: tuple[tuple[str, str], ...] = ()
    removed: tuple[tuple[str, str], ...] = ()
    changed: tuple[NodeChange, ...] = ()
    weights: tuple[WeightChange, ...] = ()
    added_weights: tuple[str, ...] = ()
    removed_weights: tuple[str, ...] = ()
    renamed_nodes: int = 0
    renamed_weights: int = 0
    reordered: bool = False

    @property
    def any(self) -> bool:
        """Whether the graph may compute something different."""
        return any(
            (
                self.added, self.removed, self.changed, self.weights, self.added_weights, self.removed_weights,
            )
        )  # fmt: skip

    def joined(self, inner: GraphChanges, prefix: str) -> GraphChanges:
        """Merged with the changes of a nested graph, whose names get a prefix."""
        return replace(
            self,
            added=(*self.added, *((prefix + name, op) for name, op in inner.added)),
            removed=(*self.removed, *((prefix + name, op) for name, op in inner.removed)),
            changed=(*self.changed, *(replace(c, a=prefix + c.a, b=prefix + c.b) for c in inner.changed)),
            weights=(*self.weights, *(replace(c, a=prefix + c.a, b=prefix + c.b) for c in inner.weights)),
            added_weights=(*self.added_weights, *(prefix + name for name in inner.added_weights)),
            removed_weights=(*self.removed_weights, *(prefix + name for name in inner.removed_weights)),
        )


@dataclass(frozen=True, slots=True)
class InterfaceChange:
    """An input or output: (old, new) as text `NAME dtype dims`, empty on the side where it is missing."""

    mode: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class ModelChanges:
    """Everything that differs between two models."""

    graph: GraphChanges
    interface: tuple[InterfaceChange, ...]
    opsets: tuple[tuple[str, int | None, int | None], ...]
    """Domain, old and new version."""
    functions: tuple[str, ...]
    """Local functions that were added, removed or changed."""
    types: TypeChanges
    size: dict[str, tuple[Json, Json]] = field(default_factory=dict)
    """What it costs, old and new, where that differs."""

    @property
    def any(self) -> bool:
        """Whether there is a relevant difference; names, order, file sizes and the producer do not count."""
        return bool(self.graph.any or self.interface or self.opsets or self.functions)

    def to_json(self) -> dict[str, Json]:
        """These changes as plain JSON values."""
        return {"differs": self.any, **asdict(self)}


def diff_models(a: onnx.ModelProto, b: onnx.ModelProto) -> ModelChanges:
    """What changed from A to B, two skeletons whose weights are read. Raises ModelError."""
    a, b = _in_order(a), _in_order(b)
    views = [view_graph(one.graph, summarize(one).opset or 1) for one in (a, b)]
    found = match(*views)
    graph = replace(_graph_changes(found), reordered=_reordered(found))
    of_a, of_b = summarize(a), summarize(b)
    return ModelChanges(
        graph=graph,
        interface=(
            *_interface("input", of_a.inputs, of_b.inputs),
            *_interface("output", of_a.outputs, of_b.outputs),
        ),
        opsets=tuple(_opsets(dict(of_a.opsets), dict(of_b.opsets))),
        functions=tuple(_functions(a, b)),
        types=type_changes(a, b, found),
    )


def _in_order(proto: onnx.ModelProto) -> onnx.ModelProto:
    model = type(proto)()
    model.CopyFrom(proto)
    make_values_unique(model)
    sort_nodes(model)
    return model


def _graph_changes(found: Matching) -> GraphChanges:
    weights, added, removed, renamed = _weights(found)
    changes = GraphChanges(
        added=tuple((one.called, one.op) for one in found.free_b()),
        removed=tuple((one.called, one.op) for one in found.free_a()),
        changed=(*_of_nodes(found), *_of_outputs(found)),
        weights=weights,
        added_weights=added,
        removed_weights=removed,
        renamed_nodes=sum(one.name != other.name for one, other in found.pairs()),
        renamed_weights=renamed,
    )
    for one, other in found.pairs():
        if one.index not in found.same and one.op == other.op:
            changes = _with_bodies(changes, one, other)
    return changes


def _with_bodies(changes: GraphChanges, one: Vertex, other: Vertex) -> GraphChanges:
    for name in sorted(one.bodies.keys() & other.bodies.keys()):
        inner = _graph_changes(match(one.bodies[name], other.bodies[name]))
        changes = changes.joined(inner, f"{one.called}/{name}/")
    return changes


def _of_nodes(found: Matching) -> Iterator[NodeChange]:
    for one, other in found.pairs():
        if one.index in found.same:
            continue
        if one.op != other.op:
            yield NodeChange(one.called, other.called, one.op, "operator", one.op, other.op)
        else:
            for name in sorted(one.attributes.keys() | other.attributes.keys()):
                old, new = (side.attributes.get(name, "left out") for side in (one, other))
                if old != new:
                    yield NodeChange(one.called, other.called, one.op, f"attribute {name}", old, new)
            for name in sorted(one.bodies.keys() ^ other.bodies.keys()):
                old, new = ("a graph" if name in side.bodies else "left out" for side in (one, other))
                yield NodeChange(one.called, other.called, one.op, f"attribute {name}", old, new)
        for place, old, new in rewired_inputs(found, one, other):
            yield NodeChange(one.called, other.called, one.op, f"input {place}", old, new)


def _of_outputs(found: Matching) -> Iterator[NodeChange]:
    for info, other in shared(found.a.outputs, found.b.outputs):
        ends = rewired_outputs(found, info.name, other.name)
        if ends is not None:
            yield NodeChange(info.name, other.name, "output", "made by", *ends)


def _reordered(found: Matching) -> bool:
    partners = [found.partner[index] for index in sorted(found.partner)]
    return partners != sorted(partners)


def _weights(found: Matching) -> tuple[tuple[WeightChange, ...], tuple[str, ...], tuple[str, ...], int]:
    """Weights that changed; names of those only in B or only in A; the number of renamed ones."""
    partner = _weight_pairs(found)
    changes = []
    for one, other in partner.items():
        if found.a.weight_key(one) != found.b.weight_key(other):
            change = compare_tensors(found.a.weights[one], found.b.weights[other])
            if change is not None:
                changes.append(change)
    taken = set(partner.values())
    return (
        tuple(changes),
        tuple(name for name in found.b.weights if name not in taken),
        tuple(name for name in found.a.weights if name not in partner),
        sum(one != other for one, other in partner.items()),
    )


def _read_at_one_place(found: Matching) -> Iterator[tuple[str, str]]:
    for vertex, mate in found.pairs():
        for one, other in zip(vertex.inputs, mate.inputs, strict=False):
            if one in found.a.weights and other in found.b.weights and vertex.op == mate.op:
                yield one, other


def _weight_pairs(found: Matching) -> dict[str, str]:
    """Weights that the same node reads at the same place, then those with one name, then equal ones."""
    partner: dict[str, str] = {}
    taken: set[str] = set()

    def pair(one: str, other: str) -> None:
        if one not in partner and other not in taken:
            partner[one] = other
            taken.add(other)

    for one, other in _read_at_one_place(found):
        pair(one, other)
    for one in (name for name in found.a.weights if name in found.b.weights):
        pair(one, one)
    equal = {found.b.weight_key(name): name for name in reversed(found.b.weights) if name not in taken}
    for one in found.a.weights:
        alike = None if one in partner else equal.get(found.a.weight_key(one))
        if alike is not None:
            pair(one, alike)
    return partner


def _interface(mode: str, a: tuple[TensorInfo, ...], b: tuple[TensorInfo, ...]) -> Iterator[InterfaceChange]:
    pairs = shared(a, b)
    here, there = {one.name for one, _ in pairs}, {other.name for _, other in pairs}
    for one, other in pairs:
        if _shown(one) != _shown(other):
            yield InterfaceChange(mode, _shown(one), _shown(other))
    yield from (InterfaceChange(mode, _shown(one), "") for one in a if one.name not in here)
    yield from (InterfaceChange(mode, "", _shown(one)) for one in b if one.name not in there)


def _shown(info: TensorInfo) -> str:
    if info.dims is None:
        return f"{info.name} {info.dtype} of unknown rank"
    dims = "x".join("?" if dim is None else str(dim) for dim in info.dims) or "scalar"
    return f"{info.name} {info.dtype} {dims}"


def _opsets(a: dict[str, int], b: dict[str, int]) -> Iterator[tuple[str, int | None, int | None]]:
    for domain in sorted(a.keys() | b.keys()):
        if a.get(domain) != b.get(domain):
            yield domain or "ai.onnx", a.get(domain), b.get(domain)


def _functions(a: onnx.ModelProto, b: onnx.ModelProto) -> Iterator[str]:
    sides = [
        {f"{one.domain}::{one.name}": one.SerializeToString(deterministic=True) for one in model.functions}
        for model in (a, b)
    ]
    for name in sorted(sides[0].keys() | sides[1].keys()):
        if sides[0].get(name) != sides[1].get(name):
            yield name
