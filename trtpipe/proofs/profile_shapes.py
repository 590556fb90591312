"""Checks a profile's shapes: ranks, static dims, min ≤ opt ≤ max, and dims that must be equal.

Pure arithmetic on declared dims; independent of graphs.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from itertools import pairwise

from trtpipe.canonical.summary import TensorInfo
from trtpipe.errors import Problem, SpecPath
from trtpipe.problem_codes import Code
from trtpipe.proofs.corners import CORNERS, Corner, corner_of
from trtpipe.proofs.dim_names import describe_dims, shared_name
from trtpipe.shapes import Shape, format_shape
from trtpipe.spec.pipeline import Profile, ProfileInput


def prove_shapes(info: TensorInfo, entry: ProfileInput, path: SpecPath) -> Iterator[Problem]:
    """The problems of one input's shapes, against the model and against each other."""
    corners = _distinct(entry)
    if not corners and info.dynamic_axes:
        yield Problem(
            Code.PROFILE_LEAVES_OUT,
            f"no shapes are given for '{info.name}', which is {describe_dims(info)}",
            "give min, opt and max", path=path,
        )  # fmt: skip
    for corner, shape in corners:
        alone = len(corners) == 1
        yield from _against_model(
            info, "the profile" if alone else corner, shape, path if alone else (*path, corner)
        )
    yield from _ordered(info, corners, path)


def _distinct(entry: ProfileInput) -> list[tuple[Corner, Shape]]:
    """The shapes by corner; only the first when all are the same."""
    known = [(corner, shape) for corner in CORNERS if (shape := corner_of(entry, corner)) is not None]
    return known[:1] if len({shape for _, shape in known}) == 1 else known


def _against_model(info: TensorInfo, what: str, shape: Shape, path: SpecPath) -> Iterator[Problem]:
    assert info.dims is not None
    declared = f"the model declares {describe_dims(info)}"
    if len(shape) != len(info.dims):
        yield Problem(
            Code.PROFILE_MISFIT,
            f"'{info.name}' has rank {len(info.dims)}, but {what} {format_shape(shape)} has rank {len(shape)}",
            declared, path=path,
        )  # fmt: skip
        return
    for axis, (size, dim) in enumerate(zip(shape, info.dims, strict=True)):
        where = f"axis {axis} of '{info.name}' is"
        if isinstance(dim, int) and dim != size:
            yield Problem(
                Code.PROFILE_MISFIT,
                f"{where} {dim} in the model, but {size} in {what}",
                f"{declared}; transform.set_shapes can change it", path=path,
            )  # fmt: skip
        elif size == 0 and dim != 0:
            yield Problem(
                Code.PROFILE_EMPTY_TENSORS,
                f"{where} 0 in {what}, so empty tensors are allowed",
                "start at 1 unless you serve them", path=path, severity="warning",
            )  # fmt: skip


def _ordered(info: TensorInfo, corners: list[tuple[Corner, Shape]], path: SpecPath) -> Iterator[Problem]:
    """min ≤ opt ≤ max on every axis; a rank that differs was reported already."""
    for (low, smaller), (high, larger) in pairwise(corners):
        pairs = zip(smaller, larger, strict=True) if len(smaller) == len(larger) else ()
        for axis, (a, b) in enumerate(pairs):
            if a > b:
                yield Problem(
                    Code.PROFILE_ORDER,
                    f"axis {axis} of '{info.name}' is {a} in {low}, more than {b} in {high}",
                    "every axis needs min ≤ opt ≤ max", path=(*path, high),
                )  # fmt: skip


def prove_shared(inputs: Mapping[str, TensorInfo], profile: Profile, path: SpecPath) -> Iterator[Problem]:
    """Checks that dims with the same meaningful name have the same size, across inputs and within one."""
    for corner in CORNERS:
        first: dict[str, tuple[int, str, int]] = {}
        reported: dict[str, set[str]] = defaultdict(set)
        for name, axis, dim, size in _named_sizes(inputs, profile, corner):
            known, other, other_axis = first.setdefault(dim, (size, name, axis))
            if size != known and name not in reported[dim]:
                reported[dim].add(name)
                yield Problem(
                    Code.SHARED_DIMENSION,
                    f"dimension '{dim}' is {known} on axis {other_axis} of '{other}', but {size} on axis {axis}"
                    f" of '{name}', in {corner}",
                    "dims of one name are one size to TensorRT: make them equal", path=(*path, name, corner),
                )  # fmt: skip


def _named_sizes(
    inputs: Mapping[str, TensorInfo], profile: Profile, corner: Corner
) -> Iterator[tuple[str, int, str, int]]:
    """(input, axis, dimension's name, size) of every dim whose name is shared on purpose."""
    for name, entry in profile.items():
        dims = inputs[name].dims if name in inputs else None
        shape = corner_of(entry, corner)
        if dims is None or shape is None or len(shape) != len(dims):
            continue
        for axis, (dim, size) in enumerate(zip(dims, shape, strict=True)):
            shared = shared_name(dim)
            if shared is not None:
                yield name, axis, shared, size
