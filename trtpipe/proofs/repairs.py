"""Suggests a replacement for a profile with a failing corner: corners that work, verified by shape inference.

A failing corner first gets the batch size of a working one, then all of its sizes; if no corner works, a profile is
proposed from scratch. Every suggestion passed at all its corners. It serves fewer shapes than the original, which the
user must judge.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from trtpipe.canonical.summary import TensorInfo
from trtpipe.proofs.corners import CORNERS, Corner, Infer, corner_of, shapes_at, values_at
from trtpipe.proofs.proposals import propose_profile
from trtpipe.proofs.value_inputs import ShapeUse
from trtpipe.shapes import Shape
from trtpipe.spec.pipeline import Profile


def working_profile(
    profile: Profile, inputs: Sequence[TensorInfo], infer: Infer, value_inputs: Mapping[str, ShapeUse]
) -> Profile | None:
    """A similar profile that works at every corner; None if none was found."""
    works = [corner for corner in CORNERS if _works(profile, corner, inputs, infer)]
    if not works:
        proposal = propose_profile(inputs, infer=infer, value_inputs=value_inputs)
        return None if proposal.problems or proposal.profile == profile else proposal.profile
    sound = "opt" if "opt" in works else works[0]
    repaired = profile
    for corner in CORNERS:
        tried = (one for one in _instead(repaired, corner, sound) if _works(one, corner, inputs, infer))
        repaired = repaired if corner in works else next(tried, repaired)
    return repaired if _ordered(repaired) else _all_at(profile, sound)


def _works(profile: Profile, corner: Corner, inputs: Sequence[TensorInfo], infer: Infer) -> bool:
    return not infer(shapes_at(inputs, profile, corner), values_at(profile, corner)).problems


def _instead(profile: Profile, corner: Corner, sound: Corner) -> Iterator[Profile]:
    """Replacements of a corner: with the batch of a working one, then the working one itself."""
    for axes in (1, None):
        made: Profile = {}
        for name, entry in profile.items():
            here, there = corner_of(entry, corner), corner_of(entry, sound)
            shape = here if here is None or there is None else _mixed(there, here, axes)
            made[name] = entry.model_copy(update={corner: shape})
        yield made


def _mixed(first: Shape, rest: Shape, axes: int | None) -> Shape:
    return first if axes is None else (*first[:axes], *rest[axes:])


def _ordered(profile: Profile) -> bool:
    """Whether min ≤ opt ≤ max still holds on every axis."""
    for entry in profile.values():
        least, usual, most = entry.min, entry.opt, entry.max
        if least is None or usual is None or most is None:
            continue
        if not all(a <= b <= c for a, b, c in zip(least, usual, most, strict=True)):
            return False
    return True


def _all_at(profile: Profile, corner: Corner) -> Profile:
    return {
        name: entry.model_copy(update=dict.fromkeys(CORNERS, corner_of(entry, corner)))
        for name, entry in profile.items()
    }
