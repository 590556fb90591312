"""Candidate models to try, each with matching profiles: the whole, one with fixed shapes, parts of either.

In each profile, the new inputs of a part get the shapes that inference computes for them. Profiles have the form of a
build request's.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from trtpipe.canonical.folding import infer_values
from trtpipe.canonical.inference import infer_at
from trtpipe.canonical.summary import TensorInfo, summarize
from trtpipe.proofs.corners import CORNERS, shapes_at, values_at
from trtpipe.reduction.extraction import NotAModel, Parts
from trtpipe.spec.pipeline import Profile, ProfileInput

if TYPE_CHECKING:
    import onnx

    from trtpipe.json_values import JsonObject

Profiles: TypeAlias = "Sequence[Mapping[str, JsonObject]]"


@dataclass(frozen=True)
class Candidate:
    """A model and its profiles."""

    model: onnx.ModelProto
    profiles: Profiles = ()

    @property
    def nodes(self) -> int:
        """How many nodes the main graph has."""
        return len(self.model.graph.node)

    @property
    def is_static(self) -> bool:
        """Whether every input has a fixed shape."""
        return all(is_static(info) for info in summarize(self.model).inputs)


def is_static(info: TensorInfo) -> bool:
    """Whether every dim is a number."""
    return info.dims is not None and all(isinstance(dim, int) for dim in info.dims)


class Whole:
    """A model from which parts are taken as candidates."""

    def __init__(self, candidate: Candidate, may_be_inputs: Collection[str] | None = None) -> None:
        self.candidate = candidate
        self.parts = Parts(candidate.model, _known(candidate), may_be_inputs)
        self._corners: list[dict[str, Mapping[str, TensorInfo]]] | None = None

    def part(self, nodes: Collection[int], keep: Collection[str] = ()) -> Candidate:
        """The nodes, what they need, and profiles for what they read. Raises NotAModel."""
        taken = self.parts.with_needed(nodes)
        model = self.parts.take(taken, keep)
        return Candidate(model, self._profiles(summarize(model).inputs))

    def _profiles(self, inputs: Sequence[TensorInfo]) -> Profiles:
        if all(is_static(info) for info in inputs):
            return ()
        made = []
        for index, profile in enumerate(self.candidate.profiles):
            own = {info.name: profile[info.name] for info in inputs if info.name in profile}
            new = [info for info in inputs if info.name not in profile and not is_static(info)]
            made.append({**own, **{info.name: self._entry(index, info.name) for info in new}})
        return made

    def _entry(self, index: int, name: str) -> dict[str, list[int]]:
        entry = {}
        for corner, known in self._at_corners()[index].items():
            info = known.get(name)
            if info is None or not is_static(info):
                raise NotAModel(f"the shape of '{name}' at {corner} is not known")
            entry[corner] = [int(dim) for dim in info.dims or () if isinstance(dim, int)]
        return entry

    def _at_corners(self) -> list[dict[str, Mapping[str, TensorInfo]]]:
        if self._corners is None:
            model, inputs = self.candidate.model, summarize(self.candidate.model).inputs
            self._corners = [
                {
                    corner: infer_at(model, shapes_at(inputs, one, corner), values_at(one, corner)).values
                    for corner in CORNERS
                }
                for one in map(profile_of, self.candidate.profiles)
            ]
        return self._corners


def profile_of(record: Mapping[str, JsonObject]) -> Profile:
    """A request's profile as the spec's model of it."""
    return {name: ProfileInput.model_validate(dict(entry)) for name, entry in record.items()}


def _known(candidate: Candidate) -> Mapping[str, TensorInfo]:
    """The known types and shapes of each tensor: at the fixed shapes of a static model, else as declared."""
    known = infer_values(candidate.model)
    return {**known, **infer_at(candidate.model, {}).values} if candidate.is_static else known


def opt_of(candidate: Candidate) -> tuple[dict[str, tuple[int, ...]], dict[str, tuple[int, ...]]]:
    """The shapes of dynamic inputs, and the values of shape tensors, at the first profile's opt."""
    if not candidate.profiles:
        return {}, {}
    profile, inputs = profile_of(candidate.profiles[0]), summarize(candidate.model).inputs
    values = values_at(profile, "opt")
    dynamic = {info.name for info in inputs if not is_static(info)} - values.keys()
    shapes = shapes_at(inputs, profile, "opt")
    return {name: tuple(shape) for name, shape in shapes.items() if name in dynamic}, values
