"""The types in which the nodes of two models compute, and the nodes whose type changed; by ONNX's own inference."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trtpipe.canonical.inference import infer_at
from trtpipe.canonical.tensors import dtype_name
from trtpipe.inspection.diff.graphs import Vertex
from trtpipe.inspection.diff.matches import Matching

if TYPE_CHECKING:
    import onnx


@dataclass(frozen=True, slots=True)
class TypeChanges:
    """Nodes per type on both sides, and the nodes (by A's names) that changed: (old, new) → names.

    Empty when the types are equal; `unknown` says whether some could not be inferred.
    """

    old: tuple[tuple[str, int], ...] = ()
    new: tuple[tuple[str, int], ...] = ()
    changed: tuple[tuple[str, str, tuple[str, ...]], ...] = ()
    unknown: bool = False


def type_changes(a: onnx.ModelProto, b: onnx.ModelProto, found: Matching) -> TypeChanges:
    """The types of two models whose nodes were paired."""
    known_a, known_b = _types(a), _types(b)
    if not known_a or not known_b:
        return TypeChanges(unknown=True)
    of_a = {one.index: _computes_in(one, known_a) for one in found.a.vertices}
    of_b = {one.index: _computes_in(one, known_b) for one in found.b.vertices}
    changed: dict[tuple[str, str], list[str]] = {}
    for one, other in found.pairs():
        if of_a[one.index] != of_b[other.index]:
            changed.setdefault((of_a[one.index], of_b[other.index]), []).append(one.called)
    old, new = (tuple(sorted(Counter(side.values()).items())) for side in (of_a, of_b))
    if old == new and not changed:
        return TypeChanges()
    return TypeChanges(old, new, tuple((*key, tuple(names)) for key, names in sorted(changed.items())))


def _types(proto: onnx.ModelProto) -> dict[str, str]:
    inferred = infer_at(proto, {}, {})
    if inferred.problems:
        return {}
    known = {name: info.dtype for name, info in inferred.values.items()}
    return known | {tensor.name: dtype_name(tensor.data_type) for tensor in proto.graph.initializer}


def _computes_in(one: Vertex, known: dict[str, str]) -> str:
    """The first floating-point type that a node reads, or the type of its first output."""
    read = [known[name] for name in one.inputs if name in known]
    made = [known[name] for name in one.outputs if name in known]
    floats = [dtype for dtype in read if "float" in dtype]
    return next(iter([*floats, *made, *read]), "unknown")
