"""Shape inference at the corners of a profile: min, opt and max.

Uses ONNX's own rules, and adds checks that they lack (`windows`, `shape_rules`). Independent of how a profile was
written.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, TypeAlias

from trtpipe.canonical.inference import Inferred, infer_at
from trtpipe.canonical.summary import TensorInfo
from trtpipe.errors import Problem
from trtpipe.problem_codes import Code
from trtpipe.proofs.decided_branches import decide_by_shapes, without_branches
from trtpipe.proofs.shape_rules import broken_rules
from trtpipe.proofs.squeezes import open_squeezes, rank_lost
from trtpipe.proofs.windows import too_small, windows_of
from trtpipe.shapes import Shape, format_size
from trtpipe.spec.pipeline import Profile, ProfileInput

if TYPE_CHECKING:
    import onnx

Corner = Literal["min", "opt", "max"]
CORNERS: tuple[Corner, ...] = ("min", "opt", "max")

Infer = Callable[[Mapping[str, Shape], Mapping[str, Sequence[int]]], Inferred]
"""Shape inference at given input shapes and shape-tensor values."""

_OF_A_BODY = "inference error(s): "  # ONNX failed inside an operator's own definition, which proves nothing

_DEEPEST = 8
"""Branches within branches that are looked into."""

_Asked: TypeAlias = tuple[tuple[str, tuple[int, ...]], ...]
_KEPT = 6

LARGE_IO = 16 << 30
"""Bytes of inputs and outputs at a profile's max above which a note says so."""


def corner_of(entry: ProfileInput, corner: Corner) -> Shape | None:
    """An input's shape at one corner; None when the entry holds values only."""
    shape: Shape | None = getattr(entry, corner)
    return shape


def shapes_at(inputs: Iterable[TensorInfo], profile: Profile, corner: Corner) -> dict[str, Shape]:
    """Every input's shape at one corner; inputs without one in the profile keep their static dims."""
    shapes = {}
    for info in inputs:
        entry = profile.get(info.name)
        shape = corner_of(entry, corner) if entry else None
        if shape is None and info.dims is not None:
            sizes = tuple(dim for dim in info.dims if isinstance(dim, int))
            shape = sizes if len(sizes) == len(info.dims) else None
        if shape is not None:
            shapes[info.name] = shape
    return shapes


def values_at(profile: Profile, corner: Corner) -> dict[str, tuple[int, ...]]:
    """The values of the profile's shape tensors at one corner."""
    return {
        name: getattr(entry.values, corner) for name, entry in profile.items() if entry.values is not None
    }


def inference_of(proto: onnx.ModelProto) -> Infer:
    """Shape inference for one model or skeleton, which must not change meanwhile; see `infer_at`.

    Branches that the given shapes decide are resolved. The last few results are cached for other proofs.
    """
    windows = windows_of(proto)
    branches = any(node.op_type == "If" for node in proto.graph.node)
    squeezes = open_squeezes(proto)

    @lru_cache(maxsize=_KEPT)
    def kept(shapes: _Asked, values: _Asked) -> Inferred:
        return infer_anew(dict(shapes), dict(values))

    def infer(shapes: Mapping[str, Shape], values: Mapping[str, Sequence[int]]) -> Inferred:
        return kept(_asked(shapes), _asked(values))

    def infer_anew(shapes: Mapping[str, Shape], values: Mapping[str, Sequence[int]]) -> Inferred:
        model, inferred = proto, infer_at(proto, shapes, values)
        if branches:
            model, inferred = _with_branches_taken(proto, inferred, shapes, values)
        inferred = replace(inferred, problems=tuple(p for p in inferred.problems if _OF_A_BODY not in p.fact))
        if inferred.problems or any(0 in shape for shape in shapes.values()):
            return inferred
        own = windows if model is proto else windows_of(model)
        found = (*too_small(own, inferred), *broken_rules(model, inferred), *rank_lost(squeezes, inferred))
        return replace(inferred, problems=found)

    return infer


def _asked(sizes: Mapping[str, Sequence[int]]) -> _Asked:
    return tuple(sorted((name, tuple(numbers)) for name, numbers in sizes.items()))


def _with_branches_taken(
    proto: onnx.ModelProto,
    inferred: Inferred,
    shapes: Mapping[str, Shape],
    values: Mapping[str, Sequence[int]],
) -> tuple[onnx.ModelProto, Inferred]:
    """The model with the branches that shapes decide inlined, and its inferred shapes."""
    model = type(proto)()
    model.CopyFrom(proto)
    for _ in range(_DEEPEST):
        # first without branches, because the branch that is not taken may be inconsistent at these shapes
        known = infer_at(without_branches(model), shapes, values) if inferred.problems else inferred
        if known.problems or not decide_by_shapes(model, known):
            break
        inferred = infer_at(model, shapes, values)
    return model, inferred


def prove_corners(
    index: int, inputs: Sequence[TensorInfo], profile: Profile, infer: Infer, outputs: Sequence[str]
) -> list[Problem]:
    """The problems of shape inference at min, opt and max of profile `index`; each failing node is reported once."""
    found: dict[str, tuple[list[Corner], Problem]] = {}
    done: dict[str, Inferred] = {}
    for corner in CORNERS:
        shapes, values = shapes_at(inputs, profile, corner), values_at(profile, corner)
        key = repr((shapes, values))
        if key not in done:
            done[key] = infer(shapes, values)
        for problem in done[key].problems:
            found.setdefault(_what_stops(problem), ([], problem))[0].append(corner)
    problems = [
        Problem(
            Code.PROFILE_IMPOSSIBLE,
            f"profile {index} is impossible at {_listed(at)}: {p.fact}",
            p.remedy,
            path=("profiles", index),
        )
        for at, p in found.values()
    ]
    return problems or _large_io(index, [info.name for info in inputs], outputs, done[key])


def _what_stops(problem: Problem) -> str:
    """The node of a problem, without the sizes that differ between corners; the whole fact if it names none."""
    node, found, _ = problem.fact.partition(" does not accept these shapes: ")
    return node if found else problem.fact


def _listed(corners: Sequence[str]) -> str:
    return corners[0] if len(corners) == 1 else f"{', '.join(corners[:-1])} and {corners[-1]}"


def _large_io(index: int, inputs: Sequence[str], outputs: Sequence[str], at_max: Inferred) -> list[Problem]:
    total = sum(nbytes_of_info(at_max.values.get(name)) or 0 for name in (*inputs, *outputs))
    if total <= LARGE_IO:
        return []
    fact = f"at its max, the inputs and outputs of profile {index} take {format_size(total)}"
    return [
        Problem(
            Code.PROFILE_LARGE,
            fact,
            "a smaller max needs less GPU memory",
            path=("profiles", index),
            severity="note",
        )
    ]


def nbytes_of_info(info: TensorInfo | None) -> int | None:
    """The size in bytes of a tensor with known dims and dtype; None otherwise."""
    if info is None or info.dims is None:
        return None
    sizes = [dim for dim in info.dims if isinstance(dim, int)]
    bits = dtype_bits(info.dtype)
    if len(sizes) != len(info.dims) or bits is None:
        return None
    return (math.prod(sizes) * bits + 7) // 8


def dtype_bits(dtype: str) -> int | None:
    """The bits of one element: its name's first number (`float8_e4m3fn` is 8), 8 for bool, None for the rest."""
    number = re.search(r"\d+", dtype)
    return int(number[0]) if number else 8 if dtype == "bool" else None
