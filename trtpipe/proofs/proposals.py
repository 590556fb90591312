"""Proposes a profile for a model: likely sizes, tried with shape inference until they pass at every corner.

The search looks for one working point first, then for the range around it that works. If no likely sizes work, it tries
dimensions whose sizes depend on each other (`tied_dims`). Independent of a spec's other parts; the proposal is a
starting point for somebody who knows which sizes will be served.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, islice

from trtpipe.canonical.summary import TensorInfo
from trtpipe.errors import Problem
from trtpipe.proofs.corners import CORNERS, Corner, Infer, corner_of, shapes_at, values_at
from trtpipe.proofs.dim_names import shared_name
from trtpipe.proofs.dim_roles import Role, role_of
from trtpipe.proofs.proposed_values import Values, value_choices
from trtpipe.proofs.tied_dims import (
    Point,
    Tie,
    applied,
    equal_ties,
    is_sum,
    pairs_of_ties,
    sum_ties,
    ties_that_hold,
)
from trtpipe.proofs.value_inputs import ShapeUse
from trtpipe.shapes import Shape
from trtpipe.spec.pipeline import Profile, ProfileInput, ShapeValues

Ranges = Mapping[str, tuple[int | None, int | None]]
"""The least and largest size that a model's author allows, by dimension; None where there is no end."""

_SPACE = (224, 256, 640, 320, 512, 416, 300, 299, 192, 128, 112, 96, 64, 48, 32, 28, 24, 16, 8, 4, 2, 1)
_SEQUENCE = (128, 256, 512, 576, 1024, 64, 77, 384, 80, 2048, 16000, 32, 16, 8, 4, 2, 1)
_OTHER = (16, 64, 3, 1, 32, 128, 256, 4, 8, 2)
_LIKELY = 3
"""So many points are tried before ties are."""
_MOST_TRIES = 160
_MOST_TIES = 32
"""Of each kind."""


@dataclass(frozen=True, slots=True)
class Hints:
    """What is known about a model's sizes besides its graph."""

    ranges: Ranges = field(default_factory=dict)
    same: Mapping[str, str] = field(default_factory=dict)
    """Dimension → a common name, for those that get one guess."""
    failed: tuple[Profile, ...] = ()
    """Profiles at whose opt the model was seen not to run."""
    given: Profile = field(default_factory=dict)
    """Entries that are decided."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """A profile, and the remaining problems of shape inference (none if it passed at every corner)."""

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
    narrow: bool = False,
    hints: Hints | None = None,
) -> Proposal:
    """A profile that names every input that needs one.

    Entries of `hints.given` are kept, and their named dims respected. Inputs without a rank are left out.
    `outputs` hint at shape tensors' values. A `narrow` one has one shape for all.
    """
    search = _Search(inputs, infer, value_inputs, hints or Hints())
    opt, values, problems = search.first_point(value_choices(inputs, value_inputs, outputs))
    if problems or narrow:
        return Proposal(search.profile(opt, opt, opt, values), problems)
    high, tie = search.above(opt, values)
    sums = [one for one in ties_that_hold(opt) if applied(one, high) == high and is_sum(one)]
    whole = {**tie, **{key: parts for one in sums for key, parts in one.items()}}
    low = search.first_that_passes(chain(search.below(opt, whole), search.below(opt, tie)), values) or opt
    return Proposal(search.profile(low, opt, high, values))


@dataclass(frozen=True)
class _Search:
    inputs: Sequence[TensorInfo]
    infer: Infer
    value_inputs: Mapping[str, ShapeUse]
    hints: Hints
    roles: dict[str, Role] = field(default_factory=dict)
    """Dimension that is to be chosen → its role: that of the first that bears its name."""

    def __post_init__(self) -> None:
        for info in self.inputs:
            for axis, dim in enumerate(info.dims or ()):
                if not isinstance(dim, int):
                    self.roles.setdefault(self._key(info, axis), role_of(info, axis))

    def first_point(self, choices: Sequence[Values]) -> tuple[Point, Values, tuple[Problem, ...]]:
        """The first sizes and values at which the model works, or the first candidate with its problems."""
        first: tuple[Point, Values, tuple[Problem, ...]] | None = None
        tries = ((sizes, values) for sizes in self._points() for values in choices)
        known = [self._at_opt(profile) for profile in self.hints.failed]
        for sizes, values in islice(tries, _MOST_TRIES):
            if known and self._at_opt(self.profile(sizes, sizes, sizes, values)) in known:
                continue
            problems = self.problems(sizes, values)
            if not problems:
                return sizes, values, ()
            first = first or (sizes, values, problems)
        assert first is not None
        return first

    def _at_opt(self, profile: Profile) -> tuple[Mapping[str, Shape], Mapping[str, tuple[int, ...]]]:
        return shapes_at(self.inputs, profile, "opt"), values_at(profile, "opt")

    def above(self, opt: Point, values: Values) -> tuple[Point, Tie]:
        """The largest candidate above opt that passes, and the tie that it needed; opt itself when none does.

        A relation that holds at opt by chance may be required above it, so ties that hold at opt are tried.
        """
        for point in self._above(opt):
            for tie in ({}, *islice(ties_that_hold(opt), _MOST_TIES // 2)):
                tied = applied(tie, point)
                if tied != opt and not self.problems(tied, values):
                    return tied, tie
        return opt, {}

    def first_that_passes(self, choices: Iterable[Point], values: Values) -> Point | None:
        return next((point for point in choices if not self.problems(point, values)), None)

    def problems(self, sizes: Point, values: Values) -> tuple[Problem, ...]:
        profile = self.profile(sizes, sizes, sizes, values)
        return self.infer(shapes_at(self.inputs, profile, "opt"), values_at(profile, "opt")).problems

    def profile(self, low: Point, opt: Point, high: Point, values: Values) -> Profile:
        """The inputs that need a range, at these sizes; given entries stay unchanged."""
        profile: Profile = {}
        for info in self.inputs:
            if info.name in self.hints.given and _fits(self.hints.given[info.name], info):
                profile[info.name] = self.hints.given[info.name]
            elif is_open(info, self.value_inputs):
                corners = zip(CORNERS, (low, opt, high), strict=True)
                shapes = [self._shape(info, corner, sizes) for corner, sizes in corners]
                profile[info.name] = _entry(info, shapes, values.get(info.name))
        return profile

    def below(self, opt: Point, tie: Tie) -> Iterator[Point]:
        """Smaller sizes: first those that the author allows, then likely ones, never larger than opt's."""
        least = {key: low for key, (low, _) in self.hints.ranges.items() if low and key in opt}
        for kept in (least, {}) if least else ({},):
            for sizes in _below():
                wanted = {key: kept.get(key, sizes.get(role, opt[key])) for key, role in self.roles.items()}
                lowered = {key: min(size, opt[key]) for key, size in wanted.items()}
                yield {key: min(size, opt[key]) for key, size in applied(tie, lowered).items()}
        yield {key: 1 if role == "batch" else opt[key] for key, role in self.roles.items()}

    def _above(self, opt: Point) -> Iterator[Point]:
        most = {key: high for key, (_, high) in self.hints.ranges.items() if high and key in opt}
        for kept in (most, {}) if most else ({},):
            for batch, factor in ((8, 2), (8, 1), (1, 2)):
                yield {
                    key: kept.get(
                        key, self._clamped(key, max(batch, size) if role == "batch" else size * factor)
                    )
                    for key, (role, size) in ((key, (self.roles[key], opt[key])) for key in opt)
                }

    def _points(self) -> Iterator[Point]:
        """Points to try: a few likely ones, then points with tied sizes, then all others.

        When a likely point fails, the usual cause is that sizes must be tied to each other.
        """
        ladder = [self._at(sizes) for sizes in self._ladder()]
        likely = ladder[:_LIKELY]
        if not self.hints.failed:
            yield from likely
        yield from self._tied(likely, equal_ties)
        yield from self._tied(likely[:1], sum_ties)
        yield from self._tied(likely, partial(equal_ties, to_one=True))
        yield from ladder[0 if self.hints.failed else _LIKELY :]
        yield from self._tied(likely[:1], pairs_of_ties)

    @staticmethod
    def _tied(points: Sequence[Point], ties: Callable[[Point], Iterator[Tie]]) -> Iterator[Point]:
        """The points with each of these ties applied; a tie is tried at every point before the next one."""
        found: list[Point] = []
        for tie in islice(ties(points[0]), _MOST_TIES):
            tied = [applied(tie, point) for point in points]
            found += [point for point in tied if point not in points and point not in found]
        yield from found

    def _at(self, sizes: Mapping[Role, int]) -> Point:
        return {key: self._clamped(key, sizes[role]) for key, role in self.roles.items()}

    def _clamped(self, key: str, size: int) -> int:
        low, high = self.hints.ranges.get(key, (None, None))
        return max(low or 1, min(size, high or size))

    def _shape(self, info: TensorInfo, corner: Corner, sizes: Point) -> Shape:
        named = self._given_sizes(corner)
        return tuple(
            dim if isinstance(dim, int) else named.get(key := self._key(info, axis), sizes[key])
            for axis, dim in enumerate(info.dims or ())
        )

    def _key(self, info: TensorInfo, axis: int) -> str:
        """The key of a dimension that is to be chosen."""
        assert info.dims is not None
        name = shared_name(info.dims[axis]) or f"{info.name}_{axis}"
        return self.hints.same.get(name, name)

    def _given_sizes(self, corner: Corner) -> dict[str, int]:
        """The sizes that given entries set for named dims."""
        sizes: dict[str, int] = {}
        for info in self.inputs:
            entry = self.hints.given.get(info.name)
            if entry is not None and _fits(entry, info):
                for axis, size in enumerate(corner_of(entry, corner) or ()):
                    if info.dims is not None and shared_name(info.dims[axis]):
                        sizes[self._key(info, axis)] = size
        return sizes

    def _ladder(self) -> Iterator[Mapping[Role, int]]:
        """Candidate sizes by role, likely ones first."""
        space = (*self._static_extents(), *_SPACE)
        roles: tuple[Role, Role, Role] = ("space", "sequence", "other")
        for step in range(max(len(space), len(_SEQUENCE))):
            sizes = (ladder[step % len(ladder)] for ladder in (space, _SEQUENCE, _OTHER))
            usual: dict[Role, int] = {"batch": 1, **dict(zip(roles, sizes, strict=True))}
            yield usual
        for extent in (*self._static_extents()[:1], *_SPACE[:2]):
            yield {"batch": 2, "space": extent, "sequence": _SEQUENCE[0], "other": _OTHER[0]}
        for size in (2, 3, 4, 8, 16, 1):
            yield {"batch": size, "space": size, "sequence": size, "other": size}

    def _static_extents(self) -> list[int]:
        """Fixed sizes next to dynamic ones of an image: height 48 makes width 48 a good first guess."""
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


def _below() -> Iterator[Mapping[Role, int]]:
    """Smaller sizes by role; roles that are missing keep opt's sizes."""
    yield {"batch": 1, "space": 32, "sequence": 1, "other": 1}
    yield {"batch": 1, "space": 64, "sequence": 16, "other": 1}
    yield {"batch": 1, "space": 128, "sequence": 64, "other": 1}
    yield {"batch": 1, "sequence": 1, "other": 1}
