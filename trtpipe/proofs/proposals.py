"""Proposes a profile for a model: likely sizes, tried by shape inference until they pass at every corner.

First a point that works is looked for, then how far below and above it still works. Knows nothing of a spec's other
parts; what is proposed is a start for a person who knows which sizes are served.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from trtpipe.canonical.summary import TensorInfo
from trtpipe.errors import Problem
from trtpipe.proofs.corners import CORNERS, Corner, Infer, corner_of, shapes_at, values_at
from trtpipe.proofs.dim_names import shared_name
from trtpipe.proofs.dim_roles import Role, role_of
from trtpipe.proofs.profile_values import values_length
from trtpipe.proofs.value_inputs import ShapeUse
from trtpipe.shapes import Shape
from trtpipe.spec.pipeline import Profile, ProfileInput, ShapeValues

Sizes = Mapping[Role, int]
Values = Mapping[str, tuple[int, ...]]

_SPACE = (224, 256, 640, 320, 512, 416, 300, 299, 192, 128, 112, 96, 64, 48, 32, 28, 24, 16, 8, 4, 2, 1)
_SEQUENCE = (128, 256, 512, 576, 1024, 64, 77, 384, 80, 2048, 16000, 32, 16, 8, 4, 2, 1)
_OTHER = (16, 64, 3, 1, 32, 128, 256, 4, 8, 2)
_MOST_TRIES = 60


@dataclass(frozen=True, slots=True)
class Proposal:
    """A profile, and what shape inference still says against it (nothing, when it passed everywhere)."""

    profile: Profile
    problems: tuple[Problem, ...] = ()


def is_open(info: TensorInfo, value_inputs: Mapping[str, ShapeUse]) -> bool:
    """Whether a profile must name this input: it is dynamic, or its values set a shape."""
    return bool(info.dynamic_axes) or info.name in value_inputs


def propose_profile(
    inputs: Sequence[TensorInfo],
    *,
    infer: Infer,
    value_inputs: Mapping[str, ShapeUse],
    outputs: Sequence[TensorInfo] = (),
    given: Profile | None = None,
    narrow: bool = False,
) -> Proposal:
    """A profile that names every input that needs one; `given` entries are kept, and their named dims respected.

    Inputs without a rank are left out. `outputs` hint at shape tensors' values. A `narrow` one has one shape for all.
    """
    search = _Search(inputs, infer, value_inputs, given or {})
    opt, values, problems = search.first_point(_value_choices(inputs, value_inputs, outputs))
    if problems or narrow:
        return Proposal(search.profile(opt, opt, opt, values), problems)
    low = search.first_that_passes("min", _below(opt), values) or opt
    high = search.first_that_passes("max", _above(opt), values) or opt
    return Proposal(search.profile(low, opt, high, values))


@dataclass(frozen=True, slots=True)
class _Search:
    inputs: Sequence[TensorInfo]
    infer: Infer
    value_inputs: Mapping[str, ShapeUse]
    given: Profile

    def first_point(self, choices: Sequence[Values]) -> tuple[Sizes, Values, tuple[Problem, ...]]:
        """The first sizes and values at which the model works; else the first of all, with its problems."""
        first: tuple[Sizes, Values, tuple[Problem, ...]] | None = None
        tries = ((sizes, values) for sizes in self._ladder() for values in choices)
        for sizes, values in islice(tries, _MOST_TRIES):
            problems = self.problems("opt", sizes, values)
            if not problems:
                return sizes, values, ()
            first = first or (sizes, values, problems)
        assert first is not None
        return first

    def first_that_passes(self, corner: Corner, choices: Iterable[Sizes], values: Values) -> Sizes | None:
        for sizes in choices:
            if not self.problems(corner, sizes, values):
                return sizes
        return None

    def problems(self, corner: Corner, sizes: Sizes, values: Values) -> tuple[Problem, ...]:
        profile = self.profile(sizes, sizes, sizes, values)
        return self.infer(shapes_at(self.inputs, profile, corner), values_at(profile, corner)).problems

    def profile(self, low: Sizes, opt: Sizes, high: Sizes, values: Values) -> Profile:
        """Those inputs that need a range, at these sizes; entries that were given stay as they are."""
        profile: Profile = {}
        for info in self.inputs:
            if info.name in self.given and _fits(self.given[info.name], info):
                profile[info.name] = self.given[info.name]
            elif is_open(info, self.value_inputs):
                corners = zip(CORNERS, (low, opt, high), strict=True)
                shapes = [self._shape(info, corner, sizes) for corner, sizes in corners]
                profile[info.name] = _entry(info, shapes, values.get(info.name))
        return profile

    def _shape(self, info: TensorInfo, corner: Corner, sizes: Sizes) -> Shape:
        named = self._given_sizes(corner)
        return tuple(
            dim if isinstance(dim, int) else named.get(shared_name(dim), sizes[self._role(info, axis)])
            for axis, dim in enumerate(info.dims or ())
        )

    def _given_sizes(self, corner: Corner) -> dict[Hashable, int]:
        """The sizes that given entries set for named dims."""
        sizes: dict[Hashable, int] = {}
        for info in self.inputs:
            entry = self.given.get(info.name)
            if entry is not None and _fits(entry, info):
                shape = corner_of(entry, corner) or ()
                sizes |= {
                    name: s
                    for dim, s in zip(info.dims or (), shape, strict=False)
                    if (name := shared_name(dim))
                }
        return sizes

    def _role(self, info: TensorInfo, axis: int) -> Role:
        """The dimension's role; dims of one name have the role of the first that bears it."""
        assert info.dims is not None
        name = shared_name(info.dims[axis])
        bearers = ((i, a) for i in self.inputs for a, dim in enumerate(i.dims or ()) if name and dim == name)
        return role_of(*next(bearers, (info, axis)))

    def _ladder(self) -> Iterator[Sizes]:
        """Points to try, likely ones first."""
        space = (*self._static_extents(), *_SPACE)
        for step in range(max(len(space), len(_SEQUENCE))):
            sizes = (ladder[step % len(ladder)] for ladder in (space, _SEQUENCE, _OTHER))
            yield {"batch": 1, **dict(zip(("space", "sequence", "other"), sizes, strict=True))}
        for size in (2, 3, 4, 8, 16, 1):
            yield {"batch": size, "space": size, "sequence": size, "other": size}

    def _static_extents(self) -> list[int]:
        """Fixed sizes beside dynamic ones of an image: height 48 makes width 48 a good first guess."""
        return [
            dim
            for info in self.inputs
            for axis, dim in enumerate(info.dims or ())
            if isinstance(dim, int) and dim > 16 and info.dynamic_axes and role_of(info, axis) == "space"
        ]


def _fits(entry: ProfileInput, info: TensorInfo) -> bool:
    shapes = [corner_of(entry, corner) for corner in CORNERS]
    return all(shape is not None and len(shape) == len(info.dims or ()) for shape in shapes)


def _entry(info: TensorInfo, shapes: Sequence[Shape], values: tuple[int, ...] | None) -> ProfileInput:
    chosen = None if values is None else ShapeValues(min=values, opt=values, max=values)
    if not info.dynamic_axes:
        return ProfileInput(values=chosen)
    return ProfileInput(min=shapes[0], opt=shapes[1], max=shapes[2], values=chosen)


def _below(opt: Sizes) -> Iterator[Sizes]:
    for space, sequence, other in ((32, 1, 1), (64, 16, 1), (128, 64, 1), (opt["space"], 1, 1)):
        wanted: Sizes = {"batch": 1, "space": space, "sequence": sequence, "other": other}
        yield {role: min(size, opt[role]) for role, size in wanted.items()}
    yield {**opt, "batch": 1}


def _above(opt: Sizes) -> Iterator[Sizes]:
    for batch, factor in ((8, 2), (8, 1), (1, 2)):
        sizes = {role: size * factor for role, size in opt.items()}
        yield {**sizes, "batch": max(batch, opt["batch"])}


def _value_choices(
    inputs: Sequence[TensorInfo], value_inputs: Mapping[str, ShapeUse], outputs: Sequence[TensorInfo]
) -> list[Values]:
    """Values to try for all shape tensors at once: an output's declared dims, ones, an inferred first dim, …"""
    lengths = {info.name: values_length(info) for info in inputs if info.name in value_inputs}
    known = {name: length for name, length in lengths.items() if length is not None}
    if not known:
        return [{}]
    declared = [
        tuple(dim if isinstance(dim, int) else 1 for dim in info.dims)
        for info in outputs
        if info.dims and all(not isinstance(dim, int) or dim >= 0 for dim in info.dims)
    ]
    choices: list[Values] = [
        dict.fromkeys(known, dims)
        for dims in declared
        if all(len(dims) == length for length in known.values())
    ]
    choices += [
        {name: _usual(value_inputs[name], length) or (size,) * length for name, length in known.items()}
        for size in (1, 2, 3, 4, 8, 32, 224, 0)
    ]
    choices.append({name: (-1, *(1,) * (length - 1)) for name, length in known.items() if length})
    return choices


def _usual(use: ShapeUse, length: int) -> tuple[int, ...] | None:
    """What an operand usually holds, where one size is as good as any: a Slice from 0 over the first axes."""
    if use.op != "Slice":
        return None
    starts, ends, axes, steps = (0,) * length, (1,) * length, tuple(range(length)), (1,) * length
    return (starts, ends, axes, steps)[use.operand - 1]
